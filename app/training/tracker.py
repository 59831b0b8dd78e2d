"""The sharpness along a run: measured on the whole measurement set, or estimated from a sample of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, as_nested_tensors, count_of, take
from sharpness_phases.curvature.gradient_differences import OPERATORS, Products, with_doubt
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.lanczos import NOISE, Lanczos
from sharpness_phases.curvature.operator import Aim, EigenResult, Operator, Scalar, Solver, Vector
from sharpness_phases.curvature.preconditioned import Diagonal, PreconditionedOperator
from sharpness_phases.curvature.starts import RandomStarts, least_overlap, length
from sharpness_phases.training.tracing import traced

LossAndAccuracy: TypeAlias = Callable[[Nested, Nested], tuple[Scalar, Scalar]]
"""Function (x, y) -> (mean loss, another scalar mean, such as the accuracy)."""

SAMPLE_SHARE = 16
"""M examples have a sample of M / 16, if these are enough. The sample's vectors are as long as the whole set's, so that
a smaller share saves little: with 64 or 256 examples instead of 128 of 2048 the whole grid took as long, within 10%."""

SAMPLE_ENOUGH = 64
"""Examples that are enough for a sample: a measurement set of fewer than 16 times as many gives this number, but never
more than a quarter of its own. With 128 of 1024 the quickstart takes a tenth more products and has the same
constants."""

SAMPLE_FEWEST = 32
"""Examples below which there is no sample. Chosen, not measured: of fewer, the top eigenvector is that of a few
examples, and M < 128 is cheap to measure without a sample."""

SAMPLE_TOLERANCE = 0.03
"""Relative residual to which the sample's sharpness is solved, from its last eigenvector. With 0.1 the solver stayed
with that one where another had overtaken it: estimates of 0.64 where 1.1 was true (`docs/performance.md`). Chosen so:
the quickstart takes 667 products with it, 660 with 0.05, which let one of three such runs go by, and 663 with 0.1."""

SAMPLE_RANDOM_SHARE = 0.3
"""Length of the random part beside the sample's last top eigenvector of length 1, where its measurement starts. Chosen
so: 3 products each in configs/quickstart.yaml."""

GRADIENT_SHARE = 0.1
"""Length of the gradient's part beside the random vector of length 1, where a decision starts without a sample's
eigenvector; with one it is 1 / sqrt(n), as much as the random vector has along any direction. The gradient of a network
lies mostly along the top eigenvectors (Gur-Ari, Roberts & Dyer 2018), of which the random vector of n entries holds
some 1 / sqrt(n). Chosen so: with 0, 0.1, 0.3 and 1 one, none, none and none of some 400 decisions were wrong with MSE,
and 1,334, 1,077, 1,123 and 1,206 products taken (`docs/performance.md`)."""

NO_THRESHOLD = float("nan")


class Measurement(NamedTuple):
    """Loss, accuracy and sharpness on the measurement set.

    Attributes:
        loss: Loss L.
        accuracy: Accuracy in [0, 1], NaN where the outputs are not class scores.
        sharpness: The solver's result.
    """

    loss: Scalar
    accuracy: Scalar
    sharpness: EigenResult


class SharpnessTracker:
    """Measures the sharpness at the present weights, or estimates it.

    Every measurement starts from a random vector of its own. The last top eigenvector would be a nearer start, but
    where another one has overtaken it the old one hides the new; and a start of which nothing is known proves nothing.
    To prove what a measurement says takes as many products from the old eigenvector as from a random vector
    (`docs/performance.md`), so that there is nothing to be saved.

    The sharpness on a sample of the measurement set costs a fraction. Times the quotient of both at the last
    measurement it is an *estimate*, without a bound: it says where to measure, and answers nothing.

    Where only the side of a threshold is asked for, the random vector has companions: the gradient, which lies along
    the direction in which training has just become unstable, and the eigenvector of the sample, if there is one. The
    answer is wrong only if all miss the top eigenvector.

    Args:
        loss_and_accuracy: Function (x, y) -> (mean loss, another scalar mean).
        variables: TensorFlow variables that the loss is differentiated by.
        x: Inputs of the measurement set, shape (M, ...): one array, or lists, tuples and dicts of arrays.
        y: Targets, likewise.
        solver: Eigenvalue solver.
        chunk_size: Number of examples differentiated at once; None for all.
        seed: Fixes the start vectors.
        compiled: Whether the two solvers are compiled by XLA.
        of_chunks: The same function of the whole set, where it is a mean over chunks and not over examples, as with
            the statistics of batch normalisation; None otherwise.
        diagonal: P of an optimizer's preconditioner, from the gradient: measured is P^-1/2 H P^-1/2 in the place of the
            Hessian H. None for H.
        products: "exact" products with H, or "differences" of the gradient; of these the error is measured at the
            eigenvector that was found, and counts for `converged` (`with_doubt`).

    Attributes:
        hessian: The Hessian on the measurement set.
        operator: What is measured: the Hessian, or the preconditioned one.
        tolerance: Relative error up to which what is not exact, products or weights, may count as converged: the
            solver's, but at least `NOISE`.
        sample: The Hessian on the sample; None where there are too few examples, the solver is not `Lanczos`, products
            are differences, or there is a preconditioner, which would have to be put back with the weights to confirm
            what was estimated.
    """

    def __init__(
        self,
        loss_and_accuracy: LossAndAccuracy,
        variables: Sequence[tf.Variable],
        x: Nested,
        y: Nested,
        solver: Solver,
        chunk_size: int | None = None,
        seed: int = 0,
        compiled: bool = False,
        of_chunks: LossAndAccuracy | None = None,
        diagonal: Diagonal | None = None,
        products: Products = "exact",
    ) -> None:
        x, y = as_nested_tensors(x), as_nested_tensors(y)
        examples = count_of((x, y))
        self.hessian = OPERATORS[products](
            loss_and_accuracy, variables, x, y, chunk_size, with_accuracy=True, mean_of_chunks=of_chunks is not None
        )
        self.operator: Operator = self.hessian
        if diagonal is not None:
            self.operator = PreconditionedOperator(self.hessian, diagonal)
        self._solver = solver
        self.tolerance = max(getattr(solver, "tolerance", None) or NOISE, NOISE)
        self._starts = RandomStarts(self.operator.size, self.operator.dtype, seed)
        self._overlap = least_overlap(self.operator.size)
        self._gradient_share = GRADIENT_SHARE
        self._solve = traced(self._solve_at, jit_compile=compiled)
        self._evaluate = traced(lambda: (of_chunks or loss_and_accuracy)(x, y), jit_compile=compiled)
        self.sample: HessianOperator | None = None
        self.sample_share = 0.0
        few = sample_size(examples)
        if few and isinstance(solver, Lanczos) and diagonal is None and products == "exact":
            apart = examples // few  # examples may be sorted by class
            few_x, few_y = (take(take(part, slice(None, None, apart)), slice(few)) for part in (x, y))
            self.sample = HessianOperator(
                lambda x, y: loss_and_accuracy(x, y)[0],
                variables,
                few_x,
                few_y,
                chunk_size,
                mean_of_chunks=of_chunks is not None,
            )
            self.sample_share = few / examples
            self._gradient_share = 1 / math.sqrt(self.operator.size)
            self._sample_solver = Lanczos(SAMPLE_TOLERANCE, basis_size=solver.basis_size)
            self._solve_sample = traced(self._solve_sample_at, jit_compile=compiled)

    def measure(
        self, index: Scalar | int = 0, threshold: Scalar | float = NO_THRESHOLD, towards: Vector | None = None
    ) -> Measurement:
        """Measure at the present weights; callable inside a `tf.function`.

        Args:
            index: Which random start z to take, such as the number of the step.
            threshold: The solver may stop once it is proved on which side of it the sharpness lies; NaN: never.
            towards: A unit vector v, shape (n,): the start is (z + v) / ||z + v||, which meets an eigenvector near v at
                once, and any other as z does, but for the length; None for z.

        Returns:
            Loss, accuracy and sharpness, of scalar tensors.
        """
        index, threshold = tf.cast(index, tf.int64), tf.cast(threshold, self.operator.dtype)
        nowhere = tf.zeros([self.operator.size], self.operator.dtype)  # one trace serves both
        return self._solve(index, threshold, nowhere if towards is None else towards)

    def measure_sample(self, index: Scalar | int, before: Vector) -> EigenResult:
        """Measure on the sample, to `SAMPLE_TOLERANCE`; callable inside a `tf.function`.

        Args:
            index: Which random start to take.
            before: The sample's last top eigenvector, shape (n,), or zero.

        Returns:
            The sample's sharpness and top eigenvector, with products on the sample.
        """
        return self._solve_sample(tf.cast(index, tf.int64), before)

    def evaluate(self) -> tuple[Scalar, Scalar]:
        """Loss and accuracy on the whole set at the present weights; callable inside a `tf.function`."""
        loss, accuracy = self._evaluate()
        return loss, tf.cast(accuracy, self.operator.dtype)

    def _solve_at(self, index: Scalar, threshold: Scalar, towards: Vector) -> Measurement:
        here = self.operator.linearize()
        start = self._starts[index] + towards + self._towards_gradient(here.gradient, threshold)
        # (z + v).u is near 0 no more often than z.u, the density of which is largest there
        result = self._solver.solve(here.matvec, start, Aim(threshold, self._overlap / length(start)))
        if here.doubt is not None:
            result = with_doubt(result, here.doubt(result.eigenvector), self.tolerance)
        return Measurement(here.loss, here.accuracy, _where_finite(here.loss, result))

    def _towards_gradient(self, gradient: Vector, threshold: Scalar) -> Vector:
        """What a start gets of the gradient: nothing where the eigenvalue itself is asked for."""
        return tf.cond(
            tf.math.is_nan(threshold),
            lambda: tf.zeros_like(gradient),
            lambda: tf.math.divide_no_nan(self._gradient_share * gradient, length(gradient)),
        )

    def _solve_sample_at(self, index: Scalar, before: Vector) -> EigenResult:
        here = self.sample.linearize()  # type: ignore[union-attr]
        return self._sample_solver.solve(here.matvec, before + SAMPLE_RANDOM_SHARE * self._starts[index])


def _where_finite(loss: Scalar, result: EigenResult) -> EigenResult:
    """The result, with NaN for the eigenvalue if the loss is not finite; a Hessian may be finite even then."""
    known, value = tf.math.is_finite(loss), tf.convert_to_tensor(result.eigenvalue)
    unknown = tf.constant(float("nan"), value.dtype)
    return result._replace(
        eigenvalue=tf.where(known, value, unknown), converged=tf.logical_and(result.converged, known)
    )


def sample_size(examples: int) -> int:
    """Number of examples in the sample of a measurement set.

    Args:
        examples: Their number M in the measurement set.

    Returns:
        M / `SAMPLE_SHARE`, but at least the smaller of `SAMPLE_ENOUGH` and M / 4; 0 if that is below `SAMPLE_FEWEST`.
    """
    few = max(examples // SAMPLE_SHARE, min(SAMPLE_ENOUGH, examples // 4))
    return few if few >= SAMPLE_FEWEST else 0

"""The sharpness along a run: where a measurement starts, and what it leaves for the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Aim, EigenResult, Scalar, Solver, Vector
from sharpness_phases.training.measurement_set import Examples

LossAndAccuracy: TypeAlias = Callable[[Examples, Examples], tuple[Scalar, Scalar]]
"""Function (x, y) -> (mean loss, another scalar mean, such as the accuracy)."""

SAMPLE_SHARE = 16
"""M examples have a sample of M / 16, if these are enough. The sample's vectors are as long as the whole set's, so that
a smaller share saves little: with 64 or 256 examples instead of 128 the whole grid took as long, within 10%."""

SAMPLE_ENOUGH = 128
"""Examples that are enough for a sample: a measurement set of fewer than 16 times as many gives this number, but never
more than a quarter of its own. Measured with M = 1024 and 2048 (`docs/performance.md`)."""

SAMPLE_FEWEST = 32
"""Examples below which there is no sample. Chosen, not measured: of fewer, the top eigenvector is that of a few
examples, and M < 128 is cheap to measure without a sample."""

SAMPLE_TOLERANCE = 1e-2
"""Relative residual to which the sample's eigenvector is solved. At 3e-2 it stayed with the old eigenvector where
another had taken over (w = 512: 66 where 75.6 is right)."""

RANDOM_SHARE = 0.01
"""Length of the random part of a start vector of length 1: no direction is absent from the start, and it costs no
product. Chosen, not measured; a larger one would cost products."""

GRADIENT_SHARE = 0.05
"""Length of the gradient's part in the sample's start vector, which lets it change to another eigenvector. Chosen with
`SAMPLE_TOLERANCE`: together they left no second eigenvalue taken for the first in 1459 decisions."""

ALIKE = 0.7
"""Cosine of the sample's and the whole set's top eigenvectors above which the two are taken to move alike. Chosen, not
measured: at 0.7 = cos 45 degrees, the sample's step still points to the whole set's side."""

ESTIMATE_ERROR = 0.6
"""Relative uncertainty that an estimate of the sharpness from the sample is given. With 1.6 times the estimate below
the threshold, and `FITTED_SHARE`, 1876 decisions along runs had no wrong one; 1.6 alone gave three wrong ones, 1.25
four (`docs/performance.md`)."""

FITTED_SHARE = 0.1
"""Share of the threshold below which an estimate is not believed: the sample is fitted, the rest perhaps not. Measured
with `ESTIMATE_ERROR`."""

CLEARLY_BELOW = 1.1
"""A loose measurement below the threshold is believed if 1.1 times the estimate lies below, too. Without this a second
eigenvalue was taken for the first at w = 512, after the two had changed places; with it, of 1459 decisions none was
wrong."""


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


class Memory(NamedTuple):
    """What a measurement leaves for the next one, as tensors, or as the variables that hold them.

    Attributes:
        top: The whole set's top eigenvector v, shape (n,); zero if there is none.
        sample_top: The sample's top eigenvector s, shape (n,); shape (0,) without a sample.
        scale: The whole set's sharpness over the sample's, when both were measured last.
        rest: Products of the sample that are not yet counted, in examples.
    """

    top: Vector | tf.Variable
    sample_top: Vector | tf.Variable
    scale: Scalar | tf.Variable
    rest: Scalar | tf.Variable


class SampleResult(NamedTuple):
    """The sample's largest eigenvalue.

    Attributes:
        value: The eigenvalue.
        vector: Its eigenvector s, shape (n,); zero where the eigenvalue is not finite.
        products: Products on the sample.
    """

    value: Scalar
    vector: Vector
    products: Scalar


class Sample:
    """A few examples of the measurement set, and the largest eigenvalue of the loss' Hessian on them.

    Args:
        loss_and_accuracy: Function (x, y) -> (mean loss, another scalar mean).
        variables: TensorFlow variables that the loss is differentiated by.
        x: The sample's inputs.
        y: The sample's targets.
        chunk_size: Number of examples differentiated at once; None for all.
        basis_size: Basis vectors kept by the solver.
        noise: Random part of start vectors, shape (n,).

    Attributes:
        x: As given.
        y: As given.
    """

    def __init__(
        self,
        loss_and_accuracy: LossAndAccuracy,
        variables: Sequence[tf.Variable],
        x: Examples,
        y: Examples,
        chunk_size: int | None,
        basis_size: int,
        noise: Vector,
    ) -> None:
        self.x, self.y = x, y
        self._operator = HessianOperator(lambda x, y: loss_and_accuracy(x, y)[0], variables, x, y, chunk_size)
        self._solver = Lanczos(SAMPLE_TOLERANCE, basis_size=basis_size)
        self._noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def solve(self, before: Vector) -> SampleResult:
        """Measure at the present weights; callable inside a `tf.function`.

        Args:
            before: The sample's last top eigenvector, or zero: then the solver starts from the gradient.

        Returns:
            The eigenvalue, its eigenvector and the products that they took.
        """
        here = self._operator.linearize()
        gradient = _unit(here.gradient)
        turned = tf.where(_dot(gradient, before) < 0, -GRADIENT_SHARE, GRADIENT_SHARE)
        start = tf.cond(
            _dot(before, before) > 0, lambda: before + tf.cast(turned, before.dtype) * gradient, lambda: gradient
        )
        result = self._solver.solve(here.matvec, start + self._noise)
        return SampleResult(result.eigenvalue, _if_finite(result), result.hvps)


class SharpnessTracker:
    """Measures the sharpness at the present weights, again and again, each time starting from what is known.

    The top eigenvector of a sample of the measurement set costs a fraction of a product. It moves as the whole set's
    does: v_{t-1} + (s_t - s_{t-1}), with s the sample's, is where the whole set's measurement starts. The first one
    starts from s_0 alone. Where there are too few examples for a sample, a measurement starts from v_{t-1}, and the
    first one from the gradient.

    So does the sharpness: the sample's, scaled by the ratio at the last measurement on the whole set, is an estimate.
    Where only the side of a threshold is asked for, and the estimate lies below it by more than `ESTIMATE_ERROR`, it is
    the answer. Where the estimate is about as large as the threshold, or larger, a loose measurement below it is not
    believed: it may have met the second eigenvector only.

    Args:
        loss_and_accuracy: Function (x, y) -> (mean loss, another scalar mean).
        variables: TensorFlow variables that the loss is differentiated by.
        x: Inputs of the measurement set, shape (M, ...).
        y: Targets, shape (M, ...).
        solver: Eigenvalue solver.
        chunk_size: Number of examples differentiated at once; None for all.
        seed: Fixes the random part of start vectors.
        compiled: Whether the two solvers are compiled by XLA.

    Attributes:
        operator: The Hessian on the measurement set.
        sample: The sample; None where there are too few examples.
    """

    def __init__(
        self,
        loss_and_accuracy: LossAndAccuracy,
        variables: Sequence[tf.Variable],
        x: Examples,
        y: Examples,
        solver: Solver,
        chunk_size: int | None = None,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        self.operator = HessianOperator(loss_and_accuracy, variables, x, y, chunk_size, with_accuracy=True)
        self._examples, self._solver = len(x), solver
        size, dtype = self.operator.size, self.operator.dtype
        noise = tf.random.stateless_normal([size], [seed, 0], dtype=dtype)
        self._noise = RANDOM_SHARE * tf.math.l2_normalize(noise)
        self.sample: Sample | None = None
        if few := sample_size(len(x)):
            apart = len(x) // few  # examples may be sorted by class
            few_x, few_y = (part[::apart][:few] for part in (x, y))
            basis_size = getattr(solver, "basis_size", Lanczos().basis_size)
            self.sample = Sample(loss_and_accuracy, variables, few_x, few_y, chunk_size, basis_size, self._noise)
            self._solve_sample = tf.function(self.sample.solve, jit_compile=compiled)
        self._memory = Memory(
            tf.Variable(tf.zeros([size], dtype), trainable=False),
            tf.Variable(tf.zeros([size if self.sample else 0], dtype), trainable=False),
            tf.Variable(tf.zeros([], dtype), trainable=False),
            tf.Variable(0, trainable=False),
        )
        self._evaluate = tf.function(lambda: loss_and_accuracy(x, y), jit_compile=compiled)
        self._solve = tf.function(self._solve_from, jit_compile=compiled)

    def measure(self, warm: Scalar, threshold: Scalar) -> Measurement:
        """Measure at the present weights; callable inside a `tf.function`.

        Args:
            warm: Boolean tensor: whether to start from the last measurement.
            threshold: Scalar: the solver may stop once it is known on which side of it the sharpness lies; NaN: never.

        Returns:
            Loss, accuracy and sharpness, of scalar tensors. The sharpness' products count the sample's by their share.
            The residual of an estimate from the sample alone is its uncertainty.
        """
        before = self._remembered(warm)
        if self.sample is None:
            found = self._solve(before.top, threshold, tf.constant(True))
            self._memory.top.assign(_if_finite(found.sharpness))
            return found
        return self._measure_with(self.sample, before, threshold)

    def _measure_with(self, sample: Sample, before: Memory, threshold: Scalar) -> Measurement:
        """Measure the sample first; it says where to start, and perhaps the answer."""
        value, moved, products = self._solve_sample(before.sample_top)
        moved = _facing(moved, before.top)
        start = _expected_top(before, moved)
        estimate = before.scale * value
        found, scale = tf.cond(
            _answers(estimate, threshold),
            lambda: (self._estimated(estimate, start), before.scale),
            lambda: self._solved(start, threshold, CLEARLY_BELOW * estimate < threshold, value),
        )
        worked = before.rest + products * len(sample)  # in examples; a product on the whole set is worth all of them
        self._remember(Memory(_facing(_if_finite(found.sharpness), moved), moved, scale, worked % self._examples))
        hvps = found.sharpness.hvps + worked // self._examples
        return found._replace(sharpness=found.sharpness._replace(hvps=hvps))

    @property
    def has_measured(self) -> Scalar:
        """Boolean tensor: whether there is a last measurement to start from."""
        return tf.reduce_any(self._memory.top != 0)

    @property
    def state(self) -> list[np.ndarray]:
        """What the last measurement left, as in `Memory`: where a run from these weights goes on."""
        return [variable.numpy() for variable in self._memory]

    @state.setter
    def state(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._memory, values, strict=True):
            variable.assign(value)

    def _remembered(self, warm: Scalar) -> Memory:
        """What the last measurement left, or zeros."""
        return Memory(
            *tf.cond(
                warm,
                lambda: tuple(variable.value() for variable in self._memory),
                lambda: tuple(tf.zeros_like(variable) for variable in self._memory),
            )
        )

    def _remember(self, memory: Memory) -> None:
        for variable, value in zip(self._memory, memory, strict=True):
            variable.assign(value)

    def _solved(self, start: Vector, threshold: Scalar, below: Scalar, value: Scalar) -> tuple[Measurement, Scalar]:
        """Measured on the whole set, and its sharpness over the sample's `value`."""
        found = self._solve(start, threshold, below)
        return found, found.sharpness.eigenvalue / value

    def _estimated(self, estimate: Scalar, start: Vector) -> Measurement:
        """Loss and accuracy on the whole set, with an estimate of the sharpness."""
        loss, accuracy = self._evaluate()
        uncertainty = ESTIMATE_ERROR * estimate
        no, none = tf.constant(False), tf.constant(0)
        result = EigenResult(estimate, _unit(start), uncertainty, uncertainty, no, none)
        return Measurement(loss, tf.cast(accuracy, start.dtype), result)

    def _solve_from(self, start: Vector, threshold: Scalar, below: Scalar) -> Measurement:
        """Solve from a start vector, or the gradient if it is zero; `below`: whether that may be believed early."""
        here, near = self.operator.linearize(), self.sample is not None
        if not near:  # else the gradient is not needed, and not computed
            start = tf.cond(_dot(start, start) > 0, lambda: start, lambda: here.gradient)
        start = _unit(start) + self._noise
        result = self._solver.solve(here.matvec, start, Aim(threshold, near, below))
        return Measurement(here.loss, here.accuracy, result)


def sample_size(examples: int) -> int:
    """Number of examples in the sample of a measurement set.

    Args:
        examples: Their number M in the measurement set.

    Returns:
        M / `SAMPLE_SHARE`, but at least the smaller of `SAMPLE_ENOUGH` and M / 4; 0 if that is below `SAMPLE_FEWEST`.
    """
    few = max(examples // SAMPLE_SHARE, min(SAMPLE_ENOUGH, examples // 4))
    return few if few >= SAMPLE_FEWEST else 0


def _expected_top(before: Memory, moved: Vector) -> Vector:
    """Where the whole set's top eigenvector is expected: v_{t-1} + (s_t - s_{t-1}), or s_t where they are not alike."""
    alike = tf.cast(_dot(before.sample_top, before.top) > ALIKE, before.top.dtype)
    return moved + alike * (before.top - before.sample_top)


def _answers(estimate: Scalar, threshold: Scalar) -> Scalar:
    """Whether an estimate is clearly below the threshold, and the sample not yet fitted."""
    below = (1 + ESTIMATE_ERROR) * estimate < threshold
    return tf.logical_and(below, estimate > FITTED_SHARE * threshold)


def _dot(a: Vector, b: Vector) -> Scalar:
    return tf.reduce_sum(a * b)


def _unit(vector: Vector) -> Vector:
    return vector * tf.math.reciprocal_no_nan(tf.norm(vector))


def _facing(vector: Vector, other: Vector) -> Vector:
    """The vector or its negative: the one whose product with the other is not negative."""
    return tf.cond(_dot(vector, other) < 0, lambda: -vector, lambda: vector)


def _if_finite(result: EigenResult) -> Vector:
    """The eigenvector, or zero if the eigenvalue is not finite."""
    vector = result.eigenvector
    return tf.cond(tf.math.is_finite(result.eigenvalue), lambda: vector, lambda: tf.zeros_like(vector))

"""The sharpness along a run: where a measurement starts, and what it leaves for the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Aim, EigenResult

_SAMPLE_SHARE = 16  # one of so many measurement examples is in the sample
_ENOUGH = 128  # examples, of which there are as many in the sample if they are no more than a quarter
_FEWEST = 32  # examples of a sample that tells anything
_SAMPLE_TOLERANCE = 1e-2  # relative residual of the sample's eigenvector; at 3e-2 it may miss that another took over
_RANDOM_SHARE = 0.01  # of a start vector: no direction is absent from it, at no cost in products
_GRADIENT_SHARE = 0.05  # of the sample's start vector: lets it change to another eigenvector
_SIMILAR = 0.7  # cosine of the two top eigenvectors from which on they are taken to move alike

ESTIMATE_ERROR = 0.6
"""Relative uncertainty that an estimate of the sharpness from the sample is given (see `docs/performance.md`)."""

_CLEAR = 1.1  # times an estimate: if that lies below the threshold, a loose measurement below it is believed
_COLLAPSED = 0.1  # of the threshold; a sample whose sharpness falls below this is fitted already and tells nothing


class Measurement(NamedTuple):
    """Loss, accuracy and sharpness on the measurement set.

    Attributes:
        loss: Loss L.
        accuracy: Accuracy in [0, 1], NaN where the outputs are not class scores.
        sharpness: The solver's result.
    """

    loss: Any
    accuracy: Any
    sharpness: EigenResult


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
        loss_and_report: Function (x, y) -> (mean loss, another scalar mean).
        variables: TensorFlow variables that the loss is differentiated by.
        x: Inputs of the measurement set, shape (M, ...).
        y: Targets, shape (M, ...).
        solver: Eigenvalue solver.
        chunk_size: Number of examples differentiated at once; None for all.
        seed: Fixes the random part of start vectors.
        compiled: Whether the two solvers are compiled by XLA.
    """

    def __init__(
        self,
        loss_and_report: Callable[[Any, Any], tuple[Any, Any]],
        variables: Sequence[Any],
        x: Any,
        y: Any,
        solver: Any,
        chunk_size: int | None = None,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        self.operator = HessianOperator(loss_and_report, variables, x, y, chunk_size, with_accuracy=True)
        self._few = sample_size(len(x))
        apart = len(x) // max(1, self._few)  # examples may be sorted by class
        few_x, few_y = (part[::apart][: self._few] for part in (x, y))
        self._sample = (
            HessianOperator(lambda x, y: loss_and_report(x, y)[0], variables, few_x, few_y, chunk_size)
            if self._few
            else None
        )
        self._examples = len(x)
        self._solver = solver
        basis_size = getattr(solver, "basis_size", Lanczos().basis_size)
        self._sample_solver = Lanczos(_SAMPLE_TOLERANCE, basis_size=basis_size)
        size, dtype = self.operator.size, self.operator.dtype
        noise = tf.random.stateless_normal([size], [seed, 0], dtype=dtype)
        self._noise = _RANDOM_SHARE * tf.math.l2_normalize(noise)
        self._top = tf.Variable(tf.zeros([size], dtype), trainable=False)
        self._sample_top = tf.Variable(tf.zeros([size if self._sample else 0], dtype), trainable=False)
        self._scale = tf.Variable(tf.zeros([], dtype), trainable=False)
        self._rest = tf.Variable(0, trainable=False)
        self._evaluate = tf.function(lambda: loss_and_report(x, y), jit_compile=compiled)
        self._solve = tf.function(self._solve_from, jit_compile=compiled)
        self._solve_sample = tf.function(self._solve_sample_from, jit_compile=compiled)

    def measure(self, warm: Any, threshold: Any) -> Measurement:
        """Measure at the present weights; callable inside a `tf.function`.

        Args:
            warm: Boolean tensor: whether to start from the last measurement.
            threshold: Scalar: the solver may stop once it is known on which side of it the sharpness lies; NaN: never.

        Returns:
            Loss, report and sharpness, of scalar tensors. The sharpness' products count the sample's by their share.
            The residual of an estimate from the sample alone is its uncertainty.
        """
        top, sample_top, scale, rest = self._left_by_the_last(warm)
        if self._sample is None:
            found = self._solve(top, threshold, tf.constant(True))
            self._top.assign(_if_finite(found.sharpness))
            return found
        value, moved, products = self._solve_sample(sample_top)
        moved = _facing(moved, top)
        alike = tf.cast(_dot(sample_top, top) > _SIMILAR, top.dtype)
        start = moved + alike * (top - sample_top)
        estimate = scale * value
        below = (1 + ESTIMATE_ERROR) * estimate < threshold
        found, scale = tf.cond(
            tf.logical_and(below, estimate > _COLLAPSED * threshold),
            lambda: (self._estimated(estimate, start), scale),
            lambda: self._solved(start, threshold, _CLEAR * estimate < threshold, value),
        )
        self._top.assign(_facing(_if_finite(found.sharpness), moved))
        self._sample_top.assign(moved)
        self._scale.assign(scale)
        worked = rest + products * self._few  # in examples; a product on the whole set is worth all of them
        self._rest.assign(worked % self._examples)
        hvps = found.sharpness.hvps + worked // self._examples
        return found._replace(sharpness=found.sharpness._replace(hvps=hvps))

    @property
    def has_measured(self) -> Any:
        """Boolean tensor: whether there is a last measurement to start from."""
        return tf.reduce_any(self._top != 0)

    @property
    def state(self) -> list[np.ndarray]:
        """What the last measurement left: where a run from these weights goes on."""
        return [variable.numpy() for variable in self._variables]

    @state.setter
    def state(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    @property
    def _variables(self) -> tuple[Any, ...]:
        return self._top, self._sample_top, self._scale, self._rest

    def _left_by_the_last(self, warm: Any) -> tuple[Any, ...]:
        """The state of the last measurement, or zeros."""
        variables = self._variables
        return tf.cond(
            warm,
            lambda: tuple(variable.value() for variable in variables),
            lambda: tuple(tf.zeros_like(variable) for variable in variables),
        )

    def _solved(self, start: Any, threshold: Any, below: Any, sample_value: Any) -> tuple[Measurement, Any]:
        """Measured on the whole set, and its sharpness over the sample's."""
        found = self._solve(start, threshold, below)
        return found, found.sharpness.eigenvalue / sample_value

    def _estimated(self, estimate: Any, start: Any) -> Measurement:
        """Loss and report on the whole set, with an estimate of the sharpness."""
        loss, report = self._evaluate()
        uncertainty = ESTIMATE_ERROR * estimate
        no, none = tf.constant(False), tf.constant(0)
        result = EigenResult(estimate, _unit(start), uncertainty, uncertainty, no, none)
        return Measurement(loss, tf.cast(report, start.dtype), result)

    def _solve_from(self, start: Any, threshold: Any, below: Any) -> Measurement:
        """Solve from a start vector, or the gradient if it is zero; `below`: whether that may be believed early."""
        at, near = self.operator.linearize(), self._sample is not None
        if not near:  # else the gradient is not needed, and not computed
            start = tf.cond(_dot(start, start) > 0, lambda: start, lambda: at.gradient)
        start = _unit(start) + self._noise
        result = self._solver.solve(at.matvec, start, Aim(threshold, near, below))
        return Measurement(at.loss, at.accuracy, result)

    def _solve_sample_from(self, start: Any) -> tuple[Any, Any, Any]:
        """The sample's largest eigenvalue, its eigenvector and the products that they took."""
        at = self._sample.linearize()  # type: ignore[union-attr]  # only called where there is one
        gradient = _unit(at.gradient)
        turned = tf.where(_dot(gradient, start) < 0, -_GRADIENT_SHARE, _GRADIENT_SHARE)
        start = tf.cond(
            _dot(start, start) > 0, lambda: start + tf.cast(turned, start.dtype) * gradient, lambda: gradient
        )
        result = self._sample_solver.solve(at.matvec, start + self._noise)
        return result.eigenvalue, _if_finite(result), result.hvps


def sample_size(examples: int) -> int:
    """Number of examples in the sample of a measurement set; 0 if they are too few for one."""
    few = max(examples // _SAMPLE_SHARE, min(_ENOUGH, examples // 4))
    return few if few >= _FEWEST else 0


def _dot(a: Any, b: Any) -> Any:
    return tf.reduce_sum(a * b)


def _unit(vector: Any) -> Any:
    return vector * tf.math.reciprocal_no_nan(tf.norm(vector))


def _facing(vector: Any, other: Any) -> Any:
    """The vector or its negative: the one whose product with the other is not negative."""
    return tf.cond(_dot(vector, other) < 0, lambda: -vector, lambda: vector)


def _if_finite(result: EigenResult) -> Any:
    """The eigenvector, or zero if the eigenvalue is not finite."""
    vector = result.eigenvector
    return tf.cond(tf.math.is_finite(result.eigenvalue), lambda: vector, lambda: tf.zeros_like(vector))

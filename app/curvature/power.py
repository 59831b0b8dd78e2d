"""Power iteration, the reference protocol of the published measurements."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from sharpness_phases.curvature.iteration import iterate
from sharpness_phases.curvature.operator import TO_TOLERANCE, Aim, EigenResult, Matvec, Scalar, Vector
from sharpness_phases.curvature.starts import length

UNSET_TOLERANCE = 1e-3
"""Relative residual at which a result counts as converged where no tolerance is set: that of `Lanczos`."""


class PowerIteration:
    """Largest algebraic eigenvalue by power iteration.

    Power iteration finds the eigenvalue of largest *modulus*. Where that one is negative, a second pass iterates
    with H + |theta| I, whose dominant eigenvector is that of H's largest eigenvalue. The reference protocol is 20
    iterations and one product for the value, from a random start, without a tolerance (Kalra & Barkeshli 2023, App. A).

    Args:
        iterations: Largest number of iterations of a pass.
        tolerance: Relative residual ||Hv - theta v|| / |theta| at which a pass ends early; None for never.

    Raises:
        ValueError: If an argument is out of its range.
    """

    which = "largest algebraic"

    def __init__(self, iterations: int = 20, tolerance: float | None = None) -> None:
        if iterations < 1:
            raise ValueError(f"`iterations` must be at least 1. Received: {iterations!r}.")
        if tolerance is not None and not 0 < tolerance < 1:
            raise ValueError(f"`tolerance` must lie in (0, 1) or be None. Received: {tolerance!r}.")
        self.iterations = iterations
        self.tolerance = tolerance

    def solve(self, matvec: Matvec, start: Vector, aim: Aim = TO_TOLERANCE) -> EigenResult:
        """Find the largest eigenvalue; callable inside a `tf.function`.

        Args:
            matvec: The symmetric operator, v -> H v on tensors of shape (n,).
            start: Start vector of shape (n,), not zero; it need not have unit length.
            aim: Whatever it is, the iteration runs to its end, as the reference protocol does.

        Returns:
            The result; `converged` tells whether the residual is within the tolerance (1e-3 where none is set).
        """
        zero = tf.zeros([], start.dtype)
        unit = start / length(start)
        first = self._pass(matvec, unit, shift=zero, needed=True)

        # One compiled loop serves both passes: the first one's result passes through it untouched if theta >= 0.
        negative = first.eigenvalue < 0
        second = self._pass(matvec, unit, shift=tf.maximum(-first.eigenvalue, zero), needed=negative)
        theta, vector, residual = (
            tf.where(negative, shifted, plain) for shifted, plain in zip(second[:3], first[:3], strict=True)
        )
        tolerance = UNSET_TOLERANCE if self.tolerance is None else self.tolerance
        converged = residual <= tolerance * tf.abs(theta)
        return EigenResult(theta, vector, residual, residual, converged, first.hvps + second.hvps)

    def _pass(self, matvec: Matvec, start: Vector, shift: Scalar, needed: Scalar | bool) -> EigenResult:
        """One pass with H + shift I, for nothing if it is not needed."""
        iteration = _PowerPass(matvec, shift, self.tolerance or 0.0, needed)
        return iteration.result(iterate(iteration, start, self.iterations + 1))


class _State(NamedTuple):
    """A pass between two products.

    Attributes:
        products: Products so far.
        vector: Unit vector v of the last product, shape (n,).
        following: That of the next one.
        theta: v.Hv.
        residual: ||Hv - theta v||.
    """

    products: Scalar
    vector: Vector
    following: Vector
    theta: Scalar
    residual: Scalar


class _PowerPass:
    """Iteration with H + shift I that knows the Rayleigh quotient of H.

    Args:
        matvec: v -> H v.
        shift: What is added to all eigenvalues.
        tolerance: Relative residual at which the pass ends.
        needed: Boolean: whether to iterate at all.
    """

    def __init__(self, matvec: Matvec, shift: Scalar, tolerance: float, needed: Scalar | bool) -> None:
        self._matvec = matvec
        self._shift = shift
        self._tolerance = tolerance
        self._needed = needed

    def init(self, start: Vector) -> _State:
        zero = tf.zeros([], start.dtype)
        return _State(tf.constant(0), start, start, zero, zero)

    def step(self, state: _State) -> _State:
        vector = state.following
        product = self._matvec(vector)
        theta = tf.tensordot(vector, product, 1)
        residual = length(product - theta * vector)
        shifted = product + self._shift * vector
        return _State(state.products + 1, vector, tf.math.divide_no_nan(shifted, length(shifted)), theta, residual)

    def done(self, state: _State) -> Scalar:
        met = state.residual <= self._tolerance * tf.abs(state.theta)
        going_on = tf.logical_and(tf.math.is_finite(state.theta), tf.logical_not(met))
        return tf.logical_not(tf.logical_and(self._needed, tf.logical_or(state.products == 0, going_on)))

    def result(self, state: _State) -> EigenResult:
        theta = tf.where(tf.math.is_finite(state.theta), state.theta, tf.constant(float("nan"), state.theta.dtype))
        met = state.residual <= self._tolerance * tf.abs(theta)
        return EigenResult(theta, state.vector, state.residual, state.residual, met, state.products)

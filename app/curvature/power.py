"""Power iteration, the reference protocol of the published measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sharpness_phases.curvature.operator import EigenResult


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

    def solve(
        self,
        matvec: Callable[[Any], Any],
        start: Any,
        threshold: Any = float("nan"),
        near: bool = False,
        trusts_below: Any = True,
    ) -> EigenResult:
        """Find the largest eigenvalue; callable inside a `tf.function`.

        Args:
            matvec: The symmetric operator, v -> H v on tensors of shape (n,).
            start: Start vector of shape (n,), not zero; it need not have unit length.
            threshold: Ignored: the reference protocol always runs to its end.
            near: Ignored.
            trusts_below: Ignored.

        Returns:
            The result; `converged` tells whether the residual is within the tolerance (1e-3 where none is set).
        """
        zero = tf.zeros([], start.dtype)
        unit = start / tf.norm(start)
        theta, vector, residual, hvps = self._iterate(matvec, unit, zero)

        # One compiled loop serves both passes: the first one's result passes through it untouched if theta >= 0.
        shift = tf.maximum(-theta, zero)
        again = self._iterate(matvec, unit, shift, needed=theta < 0)
        theta, vector, residual = (
            tf.where(theta < 0, second, first)
            for first, second in zip((theta, vector, residual), again[:3], strict=True)
        )
        tolerance = 1e-3 if self.tolerance is None else self.tolerance
        return EigenResult(theta, vector, residual, residual, residual <= tolerance * tf.abs(theta), hvps + again[3])

    def _iterate(
        self, matvec: Callable[[Any], Any], start: Any, shift: Any, needed: Any = True
    ) -> tuple[Any, Any, Any, Any]:
        def unfinished(products: Any, vector: Any, following: Any, theta: Any, residual: Any) -> Any:
            met = residual <= (self.tolerance or 0.0) * tf.abs(theta)
            return tf.logical_and(
                needed,
                tf.logical_or(products == 0, tf.logical_and(tf.math.is_finite(theta), tf.logical_not(met))),
            )

        def iterate(products: Any, vector: Any, following: Any, theta: Any, residual: Any) -> tuple[Any, ...]:
            vector = following
            product = matvec(vector)
            theta = tf.tensordot(vector, product, 1)
            residual = tf.norm(product - theta * vector)
            shifted = product + shift * vector
            return products + 1, vector, tf.math.divide_no_nan(shifted, tf.norm(shifted)), theta, residual

        zero = tf.zeros([], start.dtype)
        products, vector, _, theta, residual = tf.while_loop(
            unfinished,
            iterate,
            (tf.constant(0), start, start, zero, zero),
            maximum_iterations=self.iterations + 1,
            parallel_iterations=1,
        )
        finite = tf.math.is_finite(theta)
        return tf.where(finite, theta, tf.constant(float("nan"), theta.dtype)), vector, residual, products

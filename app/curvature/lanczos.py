"""Lanczos iteration for the largest eigenvalue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import EigenResult

CLEARLY = 0.1
MARGIN = 3.0
SAFETY = 30.0
NEARLY = 0.01
BASIS_BYTES = 2**31


class Lanczos:
    """Largest algebraic eigenvalue by Lanczos iteration, reorthogonalised where it matters.

    After k products the basis spans the Krylov space of the start vector, and the largest Ritz value theta never
    exceeds the largest eigenvalue. The iteration stops when the residual ||Hv - theta v|| = beta_k |s_k| is at most
    `tolerance` |theta| (Parlett 1998, Sec. 13.2); the error of theta is then of order residual^2 / gap, far smaller.
    From a start near the top eigenvector it stops as soon as that estimate of the error is `SAFETY` times below
    `tolerance` |theta|, with the distance to the second Ritz value for the gap and a residual of at most
    `NEARLY` |theta|; from anywhere else that would not be safe: the basis may not have met the top eigenvector yet.
    Rounding spoils the orthogonality of the basis in proportion to eps |theta| / residual, and only along Ritz vectors
    that have converged; their Ritz values stay right to within rounding (Paige 1980). What has to be kept away is a
    second copy of the top eigenvalue. As long as the residual exceeds sqrt(eps) |theta|, the three-term recurrence is
    left alone, which saves most of the vector work; after that every vector is made orthogonal to all before it.
    When the basis is full, it is replaced by its Ritz vector and the iteration goes on, so memory is bounded by
    `basis_size` vectors, and by `BASIS_BYTES` (2 GiB).

    Args:
        tolerance: Relative residual to reach, or `SAFETY` times the relative error; in (0, 1).
        max_products: Number of products after which it gives up (`converged` is then False).
        basis_size: Largest number of basis vectors kept, at least 2.

    Raises:
        ValueError: If an argument is out of its range.
    """

    which = "largest algebraic"

    def __init__(self, tolerance: float = 1e-3, max_products: int = 100, basis_size: int = 32) -> None:
        if not 0 < tolerance < 1:
            raise ValueError(f"`tolerance` must lie in (0, 1). Received: {tolerance!r}.")
        if max_products < 1:
            raise ValueError(f"`max_products` must be at least 1. Received: {max_products!r}.")
        if basis_size < 2:
            raise ValueError(f"`basis_size` must be at least 2. Received: {basis_size!r}.")
        self.tolerance = tolerance
        self.max_products = max_products
        self.basis_size = basis_size

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
            threshold: Scalar: stop early once it is clear on which side of it the eigenvalue lies. Above is proved by a
                Ritz value above it; below is taken for granted once the residual is at most `CLEARLY` |theta| and
                theta is `MARGIN` residuals below it. NaN for never.
            near: Whether `start` is known to lie near the top eigenvector, and not only near some eigenvector.
            trusts_below: Boolean: whether below is taken for granted like that. A start near another eigenvector can
                hide a larger eigenvalue.

        Returns:
            The result, with NaN where the operator gives NaN or infinity.
        """
        n, dtype = int(start.shape[0]), start.dtype
        size = min(self.basis_size, self.max_products, n, max(2, BASIS_BYTES // (n * dtype.size)))
        zero = tf.zeros([], dtype)
        close = float(np.sqrt(np.finfo(dtype.as_numpy_dtype).eps))

        def converged(theta: Any, residual: Any, error: Any) -> Any:
            met = residual <= self.tolerance * tf.abs(theta)
            if not near:
                return met
            close_by = residual <= NEARLY * tf.abs(theta)
            return tf.logical_or(met, tf.logical_and(close_by, SAFETY * error <= self.tolerance * tf.abs(theta)))

        def unfinished(products: Any, filled: Any, recurrence: Any, basis: Any, krylov: Any, ritz: Any) -> Any:
            theta, _, residual, error = ritz
            settled = residual <= CLEARLY * tf.abs(theta)
            below = tf.reduce_all([trusts_below, settled, theta + MARGIN * residual < threshold])
            done = tf.reduce_any([converged(theta, residual, error), theta > threshold, below])
            return tf.logical_or(products == 0, tf.logical_and(tf.math.is_finite(theta), tf.logical_not(done)))

        def iterate(products: Any, filled: Any, recurrence: Any, basis: Any, krylov: Any, ritz: Any) -> tuple[Any, ...]:
            q, previous, beta = recurrence
            full = filled == size
            q = tf.cond(full, lambda: tf.math.l2_normalize(_combination(basis, ritz[1], filled)), lambda: q)
            at = tf.where(full, 0, filled)
            basis = basis.write(at, q)

            w = matvec(q)
            alpha = tf.reduce_sum(q * w)  # faster than a matrix product of a row and a column
            w -= alpha * q + tf.where(full, zero, beta) * previous
            spoils = tf.logical_and(products > 0, ritz[2] <= close * tf.abs(ritz[0]))
            w = tf.cond(spoils, lambda: _orthogonal(basis, w, at + 1), lambda: w)
            beta = tf.norm(w)
            here = tf.one_hot(at, size, dtype=dtype)
            alphas, betas = (old * (1 - here) for old in krylov)
            alphas, betas = alphas + alpha * here, betas + beta * here
            theta, second, weights = _largest_ritz_pair(alphas, betas, at + 1)
            residual = beta * tf.abs(weights[at])
            gap = theta - second - residual
            error = tf.where(gap > residual, tf.math.divide_no_nan(residual**2, gap), residual)
            recurrence = (w * tf.math.reciprocal_no_nan(beta), q, beta)
            return products + 1, at + 1, recurrence, basis, (alphas, betas), (theta, weights, residual, error)

        basis = tf.TensorArray(dtype, size=size, element_shape=[n], clear_after_read=False)
        products, filled, _, basis, _, (theta, weights, residual, error) = tf.while_loop(
            unfinished,
            iterate,
            (
                tf.constant(0),
                tf.constant(0),
                (start / tf.norm(start), tf.zeros_like(start), zero),
                basis,
                (tf.zeros([size], dtype), tf.zeros([size], dtype)),
                (zero, tf.zeros([size], dtype), zero, zero),
            ),
            maximum_iterations=self.max_products,
            parallel_iterations=1,
        )
        vector = _combination(basis, weights, filled)
        return EigenResult(
            eigenvalue=theta,
            eigenvector=vector / tf.norm(vector),
            residual=residual,
            error=error,
            converged=converged(theta, residual, error),
            hvps=products,
        )


def _combination(basis: Any, weights: Any, count: Any) -> Any:
    """Sum of the first `count` vectors of the basis, each times its weight; none of them is copied."""
    return _over_vectors(basis, count, lambda i, q, total: total + weights[i] * q, tf.zeros_like(basis.read(0)))


def _orthogonal(basis: Any, vector: Any, count: Any) -> Any:
    """The vector without its parts along the first `count` vectors of the basis, by modified Gram-Schmidt."""
    return _over_vectors(basis, count, lambda i, q, rest: rest - tf.reduce_sum(q * rest) * q, vector)


def _over_vectors(basis: Any, count: Any, step: Callable[[Any, Any, Any], Any], start: Any) -> Any:
    return tf.while_loop(
        lambda i, value: i < count,
        lambda i, value: (i + 1, step(i, basis.read(i), value)),
        (tf.constant(0), start),
        parallel_iterations=1,
    )[1]


def _largest_ritz_pair(alphas: Any, betas: Any, count: Any) -> tuple[Any, Any, Any]:
    """Largest eigenvalue of the leading (count, count) block of the tridiagonal matrix, the second one, and the vector.

    The matrix keeps its full static shape; the unused diagonal is put below the spectrum of the used block. Of a block
    of size 1 the second eigenvalue is not known; the first one stands in for it.
    """
    size = int(alphas.shape[0])
    used = tf.range(size) < count
    coupled = tf.range(size - 1) < count - 1
    below = -2 * (tf.reduce_max(tf.abs(alphas)) + 2 * tf.reduce_max(tf.abs(betas))) - 1
    diagonal = tf.where(used, alphas, below)
    off_diagonal = tf.where(coupled, betas[:-1], tf.zeros_like(betas[:-1]))
    matrix = tf.linalg.diag(diagonal) + tf.linalg.diag(off_diagonal, k=1, num_rows=size, num_cols=size)
    matrix += tf.linalg.diag(off_diagonal, k=-1, num_rows=size, num_cols=size)
    finite = tf.reduce_all(tf.math.is_finite(matrix))
    values, vectors = tf.linalg.eigh(tf.where(finite, matrix, tf.zeros_like(matrix)))
    first = tf.where(finite, values[-1], tf.constant(float("nan"), values.dtype))
    return first, tf.where(count > 1, values[-min(2, size)], values[-1]), vectors[:, -1]

"""Lanczos iteration for the largest eigenvalue."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.iteration import iterate
from sharpness_phases.curvature.krylov import KrylovBasis, RitzPair, largest_size
from sharpness_phases.curvature.operator import TO_TOLERANCE, Aim, EigenResult, Matvec, Scalar, Vector

SETTLED_RESIDUAL = 0.1
"""Relative residual r/|theta| up to which theta may be taken to lie below a threshold.

Together with `RESIDUALS_BELOW` and the sample's word for it (`training/tracker.py`) no decision of 1459 along runs was
wrong (`docs/performance.md`). Larger, and an iteration that has hardly begun decides; smaller, and a "below" costs as
many products as the eigenvalue itself."""

RESIDUALS_BELOW = 3.0
"""Residuals r by which theta must lie below a threshold to be taken to lie below: theta + 3 r < threshold.

Tried instead: 30 r^2 / gap. It saves a product here and there, but at w = 512, where two eigenvalues lie close
together, the second was taken for the first and c_sharp came out two grid steps too large (`docs/performance.md`)."""

ERROR_SAFETY = 30.0
"""How many times the estimated error r^2 / gap must lie below `tolerance` |theta| to end an iteration near the top.

With `NEAR_RESIDUAL`, on 4347 measurements along runs: 4.6 to 5.8 products, 4 measurements off by over 1%; the residual
alone takes 5.6 to 6.5 products, with 3 off. With 10 in place of 30 and a residual of 5e-2: 3.3 to 5.3 products, but 14
off, one of them by 14% (`docs/performance.md`)."""

NEAR_RESIDUAL = 0.01
"""Relative residual r/|theta| above which the estimated error is not believed; measured with `ERROR_SAFETY`."""


class Lanczos:
    """Largest algebraic eigenvalue by Lanczos iteration, reorthogonalised where it matters.

    After k products the basis spans the Krylov space of the start vector, and the largest Ritz value theta never
    exceeds the largest eigenvalue. The iteration stops when the residual r = ||Hv - theta v|| = beta_k |s_k| is at most
    `tolerance` |theta| (Parlett 1998, Sec. 13.2); the error of theta is then of order r^2 / gap, far smaller.
    From a start near the top eigenvector it stops as soon as that estimate of the error is `ERROR_SAFETY` times below
    `tolerance` |theta|, with the distance to the second Ritz value for the gap and r at most `NEAR_RESIDUAL` |theta|;
    from anywhere else that would not be safe: the basis may not have met the top eigenvector yet.

    Where only the side of a threshold is asked for, it stops earlier. Above is proved by a Ritz value above it. Below
    is assumed, unless the aim forbids it, once r <= `SETTLED_RESIDUAL` |theta| and theta + `RESIDUALS_BELOW` r lies
    below the threshold.

    Rounding spoils the orthogonality of the basis in proportion to eps |theta| / r, and only along Ritz vectors
    that have converged; their Ritz values stay right to within rounding (Paige 1980). What has to be kept away is a
    second copy of the top eigenvalue. As long as r exceeds sqrt(eps) |theta|, the three-term recurrence is
    left alone, which saves most of the vector work; after that every vector is made orthogonal to all before it.
    When the basis is full, it is replaced by its Ritz vector and the iteration goes on, so memory is bounded by
    `basis_size` vectors, and by `krylov.BASIS_BYTES` (2 GiB).

    Args:
        tolerance: Relative residual to reach, or `ERROR_SAFETY` times the relative error; in (0, 1).
        max_products: Number of products after which it gives up (`converged` is then False).
        basis_size: Largest number of basis vectors kept, at least 2.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> matrix = tf.linalg.diag([3.0, 1.0, -5.0])
        >>> result = Lanczos().solve(lambda v: tf.linalg.matvec(matrix, v), tf.ones(3)).to_python()
        >>> round(result.eigenvalue, 4), result.converged, result.hvps
        (3.0, True, 3)
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

    def solve(self, matvec: Matvec, start: Vector, aim: Aim = TO_TOLERANCE) -> EigenResult:
        """Find the largest eigenvalue; callable inside a `tf.function`.

        Args:
            matvec: The symmetric operator, v -> H v on tensors of shape (n,).
            start: Start vector of shape (n,), not zero; it need not have unit length.
            aim: How early it may stop.

        Returns:
            The result, with NaN where the operator gives NaN or infinity.
        """
        size = largest_size(start, min(self.basis_size, self.max_products))
        iteration = _LanczosIteration(matvec, aim, self.tolerance, size)
        return iteration.result(iterate(iteration, start, self.max_products))


class _State(NamedTuple):
    """A Lanczos iteration between two products.

    Attributes:
        products: Products so far.
        basis: The basis since the last restart.
        ritz: Its largest Ritz pair; zeros before the first product.
    """

    products: Scalar
    basis: KrylovBasis
    ritz: RitzPair


class _LanczosIteration:
    """The iteration of one `solve`.

    Args:
        matvec: The symmetric operator, v -> H v on tensors of shape (n,).
        aim: How early it may stop.
        tolerance: Relative residual to reach.
        size: Largest number of basis vectors.
    """

    def __init__(self, matvec: Matvec, aim: Aim, tolerance: float, size: int) -> None:
        self._matvec = matvec
        self._aim = aim
        self._tolerance = tolerance
        self._size = size

    def init(self, start: Vector) -> _State:
        zero = tf.zeros([], start.dtype)
        ritz = RitzPair(zero, tf.zeros([self._size], start.dtype), zero, zero)
        return _State(tf.constant(0), KrylovBasis.begin(start, self._size), ritz)

    def step(self, state: _State) -> _State:
        """One product; where the basis is full, from its Ritz vector alone."""
        products, basis, ritz = state
        sqrt_eps = float(np.sqrt(np.finfo(basis.alphas.dtype.as_numpy_dtype).eps))
        basis = basis.restarted_when_full(ritz.weights)
        rounding_spoils = tf.logical_and(products > 0, ritz.residual <= sqrt_eps * tf.abs(ritz.value))
        basis = basis.extended(self._matvec, rounding_spoils)
        return _State(products + 1, basis, basis.largest_ritz_pair())

    def done(self, state: _State) -> Scalar:
        ritz = state.ritz
        answered = tf.reduce_any([self._converged(ritz), ritz.value > self._aim.threshold, self._lies_below(ritz)])
        going_on = tf.logical_and(tf.math.is_finite(ritz.value), tf.logical_not(answered))
        return tf.logical_not(tf.logical_or(state.products == 0, going_on))

    def result(self, state: _State) -> EigenResult:
        ritz = state.ritz
        vector = state.basis.combination(ritz.weights)
        return EigenResult(
            eigenvalue=ritz.value,
            eigenvector=vector / tf.norm(vector),
            residual=ritz.residual,
            error=ritz.error,
            converged=self._converged(ritz),
            hvps=state.products,
        )

    def _converged(self, ritz: RitzPair) -> Scalar:
        size = tf.abs(ritz.value)
        by_residual = ritz.residual <= self._tolerance * size
        if not self._aim.start_is_near_top:
            return by_residual
        close_by = ritz.residual <= NEAR_RESIDUAL * size
        by_error = tf.logical_and(close_by, ERROR_SAFETY * ritz.error <= self._tolerance * size)
        return tf.logical_or(by_residual, by_error)

    def _lies_below(self, ritz: RitzPair) -> Scalar:
        """Whether the eigenvalue is taken to lie below the threshold."""
        settled = ritz.residual <= SETTLED_RESIDUAL * tf.abs(ritz.value)
        clearly = ritz.value + RESIDUALS_BELOW * ritz.residual < self._aim.threshold
        return tf.reduce_all([self._aim.may_stop_below, settled, clearly])

"""Lanczos iteration for the largest eigenvalue."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.iteration import iterate
from sharpness_phases.curvature.krylov import KrylovBasis, RitzPair, largest_size
from sharpness_phases.curvature.operator import TO_TOLERANCE, Aim, EigenResult, Matvec, Scalar, Vector

NOISE = 1e-3
"""Share of the eigenvalue up to which products may contradict each other, |u.Hv - v.Hu|, where the tolerance is finer.

Rounding in float32, and the basis that it spoils (see `Lanczos`), make up to 2e-4; a loss of 27,000 with saturated
cross-entropy made over 1e-1, and another eigenvalue from every start."""


class Lanczos:
    """Largest algebraic eigenvalue by Lanczos iteration, reorthogonalised where it matters.

    After k products the basis spans the Krylov space of the start vector, and the largest Ritz value theta never
    exceeds the largest eigenvalue lambda. A small residual r = ||Hv - theta v|| = beta_k |s_k| says that theta is near
    *an* eigenvalue (Parlett 1998, Sec. 13.2), not which. What says that none lies above x is the growth of the Lanczos
    polynomial, p_k(x), from a start that holds at least `Aim.least_overlap` of every eigenvector, as a random one does:
    p_k(x) >= 1 / least_overlap (van Dorsselaer, Hochstenbach & van der Vorst 2000; `KrylovBasis.log_growth`).
    The iteration stops when that is so at x = theta + `tolerance` |theta|: then theta <= lambda <= x. From a start of
    which nothing is known it stops when r <= `tolerance` |theta|.

    Where only the side of a threshold is asked for, it stops as soon as that is proved: above, by theta > threshold;
    below, by the growth at x = threshold.

    Products that contradict each other, |q_(k-1).H q_k - beta_(k-1)| > `tolerance` |theta|, are those of no symmetric
    matrix: the result is then not `converged`.

    Rounding spoils the orthogonality of the basis in proportion to eps |theta| / r, and only along Ritz vectors
    that have converged; their Ritz values stay right to within rounding (Paige 1980). What has to be kept away is a
    second copy of the top eigenvalue. As long as r exceeds sqrt(eps) |theta|, the three-term recurrence is
    left alone, which saves most of the vector work; after that every vector is made orthogonal to all before it.
    When the basis is full, it is replaced by its Ritz vector and the iteration goes on, so memory is bounded by
    `basis_size` vectors, and by `krylov.BASIS_BYTES` (2 GiB).

    Args:
        tolerance: Relative error to reach; from a start of which nothing is known, relative residual; in (0, 1).
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
    """A Lanczos iteration between two products, in units of `scale`.

    Attributes:
        products: Products so far.
        scale: Largest entry of the first product in modulus, by which all products are divided.
        basis: The basis since the last restart.
        ritz: Its largest Ritz pair; zeros before the first product.
        carried: log of what the bases before the last restart have made of the share of an eigenvector beyond x in the
            start, for x just above theta and at the threshold, shape (2,).
    """

    products: Scalar
    scale: Scalar
    basis: KrylovBasis
    ritz: RitzPair
    carried: Vector


class _LanczosIteration:
    """The iteration of one `solve`.

    Args:
        matvec: The symmetric operator, v -> H v on tensors of shape (n,).
        aim: How early it may stop.
        tolerance: Relative error, or residual, to reach.
        size: Largest number of basis vectors.
    """

    def __init__(self, matvec: Matvec, aim: Aim, tolerance: float, size: int) -> None:
        self._matvec = matvec
        self._aim = aim
        self._tolerance = tolerance
        self._size = size
        self._enough_growth = tuple(
            [
                -math.log(share * overlap) if overlap > 0 else math.inf
                for overlap in (aim.least_overlap, aim.side_overlap)
            ]
            for share in (0.5, 1.0)
        )

    def init(self, start: Vector) -> _State:
        zero, none, nothing = (tf.zeros(shape, start.dtype) for shape in ([], [self._size], [2]))
        basis = KrylovBasis.begin(start, self._size)
        return _State(tf.constant(0), tf.ones_like(zero), basis, RitzPair(zero, none, zero, zero, none), nothing)

    def step(self, state: _State) -> _State:
        """One product; where the basis is full, from its Ritz vector alone."""
        basis, ritz = state.basis, state.ritz
        sqrt_eps = float(np.sqrt(np.finfo(basis.alphas.dtype.as_numpy_dtype).eps))
        restarts = basis.count == basis.size
        carried = tf.cond(restarts, lambda: state.carried + self._left_by_restart(state), lambda: state.carried)
        basis = basis.restarted_when_full(ritz.weights)
        rounding_spoils = tf.logical_and(state.products > 0, ritz.residual <= sqrt_eps * tf.abs(ritz.value))
        product = self._matvec(basis.following)
        scale = tf.where(state.products == 0, _largest_entry(product), state.scale)
        basis = basis.extended(product / scale, rounding_spoils)
        return _State(state.products + 1, scale, basis, basis.largest_ritz_pair(), carried)

    def done(self, state: _State) -> Scalar:
        above = state.ritz.value > self._threshold(state)
        below = self._excludes(state)[1]
        answered = tf.reduce_any([self._is_exact(state), above, below])
        going_on = tf.logical_and(tf.math.is_finite(state.ritz.value), tf.logical_not(answered))
        return tf.logical_not(tf.logical_or(state.products == 0, going_on))

    def result(self, state: _State) -> EigenResult:
        ritz, scale = state.ritz, state.scale
        vector = state.basis.combination(ritz.weights)
        noise = max(self._tolerance, NOISE) * tf.abs(ritz.value)
        return EigenResult(
            eigenvalue=scale * ritz.value,
            eigenvector=vector / tf.norm(vector),
            residual=scale * ritz.residual,
            error=scale * ritz.error,
            converged=tf.logical_and(self._is_exact(state), state.basis.asymmetry <= noise),
            hvps=state.products,
        )

    def _is_exact(self, state: _State) -> Scalar:
        """Whether the eigenvalue is as exact as was asked for; a residual of 0 leaves nothing to find."""
        if not self._aim.least_overlap:
            return state.ritz.residual <= self._tolerance * tf.abs(state.ritz.value)
        return tf.logical_or(self._excludes(state)[0], state.ritz.residual == 0)

    def _excludes(self, state: _State) -> Vector:
        """Whether no eigenvalue lies above each of the two bounds."""
        growth = state.carried + state.basis.log_growth(state.ritz, self._bounds(state))
        half, whole = (tf.constant(enough, growth.dtype) for enough in self._enough_growth)
        return growth >= tf.where(self._aim.halved, half, whole)

    def _bounds(self, state: _State) -> Vector:
        """The two bounds x, shape (2,): just above theta, and the threshold."""
        theta = state.ritz.value
        return tf.stack([theta + self._tolerance * tf.abs(theta), self._threshold(state)])

    def _threshold(self, state: _State) -> Scalar:
        return tf.cast(self._aim.threshold, state.scale.dtype) / state.scale

    def _left_by_restart(self, state: _State) -> Vector:
        """How the Ritz vector's share of an eigenvector beyond x compares to that of the basis' first vector, as a log.

        The Ritz vector is sum_i s_i p_(i-1)(H) q_1, and sum_i s_i p_(i-1)(x) = r p_k(x) / (x - theta), as
        (H - theta) v = r q_(k+1) up to the sign. What is beyond the next x is beyond this one, too, as theta grows.

        Returns:
            log of the quotient of both shares for the two bounds x, shape (2,).
        """
        x, ritz = self._bounds(state), state.ritz
        return state.basis.log_growth(ritz, x) + tf.math.log(ritz.residual) - tf.math.log(x - ritz.value)


def _largest_entry(vector: Vector) -> Scalar:
    """In modulus; 1 for a vector of zeros, or with an entry that is not finite."""
    largest = tf.reduce_max(tf.abs(vector))
    usable = tf.logical_and(tf.math.is_finite(largest), largest > 0)
    return tf.where(usable, largest, tf.ones_like(largest))

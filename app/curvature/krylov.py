"""The Krylov basis: orthonormal vectors and the tridiagonal matrix of an operator, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sharpness_phases.curvature.operator import Scalar, Vector
from sharpness_phases.curvature.starts import length

BASIS_BYTES = 2**31
"""Largest size of a basis. At d = 8, w = 2048 on CIFAR-10 a vector has 126 MB: the basis then holds 17 of the usual 32
vectors, and the whole process peaks at 7.8 GB (see `docs/performance.md`). With less, restarts cost products."""


class RitzPair(NamedTuple):
    """The largest Ritz value of a Krylov basis q_1, ..., q_k, with its vector v = sum_i s_i q_i.

    Attributes:
        value: Largest eigenvalue theta of the tridiagonal matrix T.
        weights: Its unit eigenvector s, shape (basis size,), zero from k on.
        residual: ||Hv - theta v|| = beta_k |s_k| (Parlett 1998, Sec. 13.2).
        error: Estimate of the distance of theta to an eigenvalue of H: residual^2 / gap with gap the distance to the
            second Ritz value less the residual, or the residual where the gap is not larger (Parlett 1998, Sec. 11.7).
        values: All k Ritz values theta_i, shape (basis size,), in any order; what is not used is below all others.
    """

    value: Scalar
    weights: Vector
    residual: Scalar
    error: Scalar
    values: Vector


class KrylovBasis(NamedTuple):
    """Orthonormal basis q_1, ..., q_k of span(q_1, H q_1, ..., H^(k-1) q_1) and T = Q^T H Q, tridiagonal.

    The three-term recurrence H q_k = beta_(k-1) q_(k-1) + alpha_k q_k + beta_k q_(k+1) makes one vector of one
    product. All tensors have the static shapes of a full basis, so that it can be the variable of a compiled loop.

    Attributes:
        vectors: q_1, ..., q_k, in an array of `size` vectors of shape (n,).
        count: k.
        alphas: Diagonal of T, shape (size,).
        betas: beta_1, ..., beta_k, shape (size,): the off-diagonal of T, and the norm of what lies outside the basis.
        following: q_(k+1), shape (n,).
        previous: q_k, shape (n,).
        beta: beta_k.
        asymmetry: Largest |q_(k-1).H q_k - beta_(k-1)| so far: 0 for a symmetric H, but for rounding.
    """

    vectors: tf.TensorArray
    count: Scalar
    alphas: Vector
    betas: Vector
    following: Vector
    previous: Vector
    beta: Scalar
    asymmetry: Scalar

    @classmethod
    def begin(cls, start: Vector, size: int) -> KrylovBasis:
        """An empty basis of at most `size` vectors (see `largest_size`), whose first one will be start / ||start||."""
        n, dtype = int(start.shape[0]), start.dtype
        return cls(
            vectors=tf.TensorArray(dtype, size=size, element_shape=[n], clear_after_read=False),
            count=tf.constant(0),
            alphas=tf.zeros([size], dtype),
            betas=tf.zeros([size], dtype),
            following=start / length(start),
            previous=tf.zeros_like(start),
            beta=tf.zeros([], dtype),
            asymmetry=tf.zeros([], dtype),
        )

    @property
    def size(self) -> int:
        """Largest number of vectors."""
        return int(self.alphas.shape[0])

    def extended(self, product: Vector, reorthogonalise: Scalar) -> KrylovBasis:
        """The basis with one vector more.

        Args:
            product: H q_(k+1), the product with `following`.
            reorthogonalise: Boolean: whether to make q_(k+2) orthogonal to all vectors before it, and not only to the
                last two.

        Returns:
            The basis of k + 1 vectors; k must be below `size`.
        """
        index, q = self.count, self.following
        vectors = self.vectors.write(index, q)
        alpha = tf.reduce_sum(q * product)  # faster than a matrix product of a row and a column
        back = tf.where(index > 0, tf.reduce_sum(self.previous * product), self.beta)  # beta_k, where H is symmetric
        w = product - alpha * q - self.beta * self.previous
        w = tf.cond(reorthogonalise, lambda: _orthogonal(vectors, w, index + 1), lambda: w)
        beta = tf.norm(w)
        here = tf.one_hot(index, self.size, dtype=w.dtype)
        alphas, betas = (old * (1 - here) for old in (self.alphas, self.betas))
        return KrylovBasis(
            vectors,
            count=index + 1,
            alphas=alphas + alpha * here,
            betas=betas + beta * here,
            following=w * tf.math.reciprocal_no_nan(beta),
            previous=q,
            beta=beta,
            asymmetry=tf.maximum(self.asymmetry, tf.abs(back - self.beta)),
        )

    def restarted_when_full(self, weights: Vector) -> KrylovBasis:
        """The basis as it is, or where it is full an empty one that begins with the vector sum_i weights_i q_i."""
        full = self.count == self.size
        following = tf.cond(full, lambda: tf.math.l2_normalize(self.combination(weights)), lambda: self.following)
        return self._replace(
            count=tf.where(full, 0, self.count),
            following=following,
            beta=tf.where(full, tf.zeros([], self.beta.dtype), self.beta),
        )

    def combination(self, weights: Vector) -> Vector:
        """sum_i weights_i q_i over the k vectors of the basis; none of them is copied."""
        zero = tf.zeros_like(self.vectors.read(0))
        return _over_vectors(self.vectors, self.count, lambda i, q, total: total + weights[i] * q, zero)

    def largest_ritz_pair(self) -> RitzPair:
        """The largest Ritz value and its vector; NaN where T holds NaN or infinity."""
        values, weights = _spectrum_of_tridiagonal(self.alphas, self.betas, self.count)
        theta = values[-1]
        second = tf.where(self.count > 1, values[-min(2, self.size)], theta)  # not known of a block of size 1
        residual = self.beta * tf.abs(weights[self.count - 1])
        gap = theta - second - residual
        error = tf.where(gap > residual, tf.math.divide_no_nan(residual**2, gap), residual)
        return RitzPair(theta, weights, residual, error, values)

    def log_growth(self, ritz: RitzPair, x: Vector) -> Vector:
        """Log p_k(x) of the Lanczos polynomial, by which the basis amplifies what lies beyond its Ritz values.

        q_(k+1) = p_k(H) q_1 with p_k(x) = prod_i (x - theta_i) / beta_i, and has length 1: an eigenvector u of the
        eigenvalue lambda has |q_1.u| p_k(lambda) <= 1. Where q_1 is known to hold more of u than 1 / p_k(x), lambda
        lies below x (van Dorsselaer, Hochstenbach & van der Vorst 2000, Sec. 3).

        Args:
            ritz: The largest Ritz pair of this basis.
            x: Where, shape (m,).

        Returns:
            Shape (m,); -infinity up to the largest Ritz value, infinity where the basis holds all of its space.
        """
        used = tf.range(self.size) < self.count
        above = x[:, None] - ritz.values
        factors = tf.where(tf.range(self.size) >= self.size - self.count, above, tf.ones_like(above))
        shrunk = tf.reduce_sum(tf.math.log(tf.where(used, self.betas, tf.ones_like(self.betas))))
        grown = tf.reduce_sum(tf.math.log(tf.maximum(factors, tf.zeros_like(factors))), axis=1) - shrunk
        return tf.where(x > ritz.value, grown, -float("inf"))


def largest_size(start: Vector, wanted: int) -> int:
    """Number of vectors that a basis may have: `wanted`, but no more than n and than fit into `BASIS_BYTES`."""
    n = int(start.shape[0])
    return min(wanted, n, max(2, BASIS_BYTES // (n * start.dtype.size)))


def _orthogonal(vectors: tf.TensorArray, vector: Vector, count: Scalar) -> Vector:
    """The vector without its parts along the first `count` vectors, by modified Gram-Schmidt."""
    return _over_vectors(vectors, count, lambda i, q, rest: rest - tf.reduce_sum(q * rest) * q, vector)


def _over_vectors(
    vectors: tf.TensorArray, count: Scalar, step: Callable[[Scalar, Vector, Vector], Vector], start: Vector
) -> Vector:
    return tf.while_loop(
        lambda i, value: i < count,
        lambda i, value: (i + 1, step(i, vectors.read(i), value)),
        (tf.constant(0), start),
        parallel_iterations=1,
    )[1]


def _spectrum_of_tridiagonal(alphas: Vector, betas: Vector, count: Scalar) -> tuple[Vector, Vector]:
    """The eigenvalues of the leading (count, count) block of a tridiagonal matrix.

    The matrix keeps its full static shape, and is brought to entries of at most 1; the unused diagonal is put below the
    spectrum of the used block, which then reaches no lower than -3.

    Returns:
        Increasing eigenvalues, of which the last `count` are the block's, and the unit eigenvector of the last. NaN
        where the block holds NaN or infinity.
    """
    size = int(alphas.shape[0])
    used = tf.range(size) < count
    coupled = tf.range(size - 1) < count - 1
    diagonal = tf.where(used, alphas, tf.zeros_like(alphas))
    off_diagonal = tf.where(coupled, betas[:-1], tf.zeros_like(betas[:-1]))
    scale = tf.maximum(
        tf.reduce_max(tf.abs(diagonal)), tf.reduce_max(off_diagonal, keepdims=False) if size > 1 else 0.0
    )
    finite = tf.logical_and(tf.reduce_all(tf.math.is_finite(diagonal)), tf.reduce_all(tf.math.is_finite(off_diagonal)))
    diagonal = tf.where(used, tf.math.divide_no_nan(diagonal, scale), -7.0)
    off_diagonal = tf.math.divide_no_nan(off_diagonal, scale)
    matrix = tf.linalg.diag(diagonal) + tf.linalg.diag(off_diagonal, k=1, num_rows=size, num_cols=size)
    matrix += tf.linalg.diag(off_diagonal, k=-1, num_rows=size, num_cols=size)
    values, vectors = tf.linalg.eigh(tf.where(finite, matrix, tf.zeros_like(matrix)))
    return tf.where(finite, scale * values, tf.constant(float("nan"), values.dtype)), vectors[:, -1]

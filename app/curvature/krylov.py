"""The Krylov basis: orthonormal vectors and the tridiagonal matrix of an operator, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sharpness_phases.curvature.operator import Matvec, Scalar, Vector

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
    """

    value: Scalar
    weights: Vector
    residual: Scalar
    error: Scalar


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
    """

    vectors: tf.TensorArray
    count: Scalar
    alphas: Vector
    betas: Vector
    following: Vector
    previous: Vector
    beta: Scalar

    @classmethod
    def begin(cls, start: Vector, size: int) -> KrylovBasis:
        """An empty basis of at most `size` vectors (see `largest_size`), whose first one will be start / ||start||."""
        n, dtype = int(start.shape[0]), start.dtype
        return cls(
            vectors=tf.TensorArray(dtype, size=size, element_shape=[n], clear_after_read=False),
            count=tf.constant(0),
            alphas=tf.zeros([size], dtype),
            betas=tf.zeros([size], dtype),
            following=start / tf.norm(start),
            previous=tf.zeros_like(start),
            beta=tf.zeros([], dtype),
        )

    @property
    def size(self) -> int:
        """Largest number of vectors."""
        return int(self.alphas.shape[0])

    def extended(self, matvec: Matvec, reorthogonalise: Scalar) -> KrylovBasis:
        """The basis with one vector more, at the price of one product.

        Args:
            matvec: The operator, v -> H v.
            reorthogonalise: Boolean: whether to make q_(k+2) orthogonal to all vectors before it, and not only to the
                last two.

        Returns:
            The basis of k + 1 vectors; k must be below `size`.
        """
        index, q = self.count, self.following
        vectors = self.vectors.write(index, q)
        w = matvec(q)
        alpha = tf.reduce_sum(q * w)  # faster than a matrix product of a row and a column
        w -= alpha * q + self.beta * self.previous
        w = tf.cond(reorthogonalise, lambda: _orthogonal(vectors, w, index + 1), lambda: w)
        beta = tf.norm(w)
        here = tf.one_hot(index, self.size, dtype=w.dtype)
        alphas, betas = (old * (1 - here) for old in (self.alphas, self.betas))
        alphas, betas = alphas + alpha * here, betas + beta * here
        return KrylovBasis(vectors, index + 1, alphas, betas, w * tf.math.reciprocal_no_nan(beta), q, beta)

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
        theta, second, weights = _largest_of_tridiagonal(self.alphas, self.betas, self.count)
        residual = self.beta * tf.abs(weights[self.count - 1])
        gap = theta - second - residual
        error = tf.where(gap > residual, tf.math.divide_no_nan(residual**2, gap), residual)
        return RitzPair(theta, weights, residual, error)


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


def _largest_of_tridiagonal(alphas: Vector, betas: Vector, count: Scalar) -> tuple[Scalar, Scalar, Vector]:
    """The largest eigenvalue of the leading (count, count) block of a tridiagonal matrix.

    The matrix keeps its full static shape; the unused diagonal is put below the spectrum of the used block.

    Returns:
        The eigenvalue, the second one, and the unit eigenvector of the first. Of a block of size 1 the second
        eigenvalue is not known; the first one stands in for it.
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

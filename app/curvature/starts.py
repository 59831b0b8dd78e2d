"""Start vectors that cannot miss: random ones, whose share along any direction has a known distribution."""

from __future__ import annotations

import math

import tensorflow as tf

from sharpness_phases.curvature.operator import Scalar, Vector

FAILURE = 0.02
"""Probability with which a random start may lack the top eigenvector, so that a larger eigenvalue stays hidden.

Chosen so. It is a bound for the worst spectrum, one with an eigenvalue just above what is proved; of 1,747 measurements
to the tolerance none was too low for that reason (`docs/reliability.md`). A decision, which ends after half as many
products, comes near the bound: one of 452 on networks of w = 16 without a sample was wrong. So decisions do not begin
from the random vector alone: see `sharpness_phases.training.tracker.GRADIENT_SHARE`.
"""

_STRIDE = 7919  # a prime: the places from which the numbers of one start after the other are read are far apart


class RandomStarts:
    """Random unit vectors z_0, z_1, ... of one seed: entries of one standard normal vector, read from other places.

    Args:
        size: Number n of entries.
        dtype: Of the entries.
        seed: Fixes the numbers.
    """

    def __init__(self, size: int, dtype: tf.DType, seed: int) -> None:
        numbers = tf.random.stateless_normal([size], [seed, 0], dtype=dtype, alg="philox")
        self._numbers = tf.math.l2_normalize(numbers)
        self._size = size

    def __getitem__(self, index: Scalar | int) -> Vector:
        """z_index, shape (n,); callable inside a `tf.function`."""
        shift = tf.cast(tf.cast(index, tf.int64) * _STRIDE % self._size, tf.int32)
        return tf.roll(self._numbers, shift, axis=0)


def least_overlap(size: int, failure: float = FAILURE) -> float:
    """Share |z.u| of a random unit vector z that any fixed unit vector u has, but for a small probability.

    The density of z.u at 0 is at most sqrt(n / 2 pi), so that P(|z.u| < delta) <= delta sqrt(2 n / pi) (Kuczynski &
    Wozniakowski 1992, Sec. 3, rest on the same distribution).

    Args:
        size: Number n of entries.
        failure: The probability, in (0, 1).

    Returns:
        delta = failure sqrt(pi / (2 n)).
    """
    return failure * math.sqrt(math.pi / (2 * size))


def length(vector: Vector) -> Scalar:
    """||v||, also where the squares of the entries overflow or vanish, as those of 1e30 and 1e-30 do in float32."""
    largest = tf.reduce_max(tf.abs(vector))
    return largest * tf.norm(tf.math.divide_no_nan(vector, largest))

"""Smooth functions in place of kinked ones, where a network's derivatives are checked by differences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from sharpness_phases.training.substitution import Substitution, substituted


@contextmanager
def without_kinks() -> Iterator[None]:
    """Let this thread compute softplus for ReLU and its relatives, and means for the maxima of pooling.

    Their own second derivatives are right; only differences of the gradient are spoilt by a kink between two points.

    Yields:
        Nothing.
    """
    with substituted(_SMOOTH):
        yield


def _relu(features: tf.Tensor, name: str | None = None) -> tf.Tensor:
    return tf.math.softplus(features, name=name)


def _relu6(features: tf.Tensor, name: str | None = None) -> tf.Tensor:
    return tf.math.multiply(tf.constant(6, features.dtype), tf.sigmoid(features), name=name)


def _leaky_relu(features: tf.Tensor, alpha: float = 0.2, name: str | None = None) -> tf.Tensor:
    return tf.math.add(alpha * features, (1 - alpha) * tf.math.softplus(features), name=name)


_SMOOTH = (
    Substitution(tf.nn, "relu", _relu),
    Substitution(tf.nn, "relu6", _relu6),
    Substitution(tf.nn, "leaky_relu", _leaky_relu),
    Substitution(tf.nn, "max_pool", tf.nn.avg_pool),
)

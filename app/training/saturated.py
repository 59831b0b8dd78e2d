"""Functions that saturate, with derivatives that rounding leaves alone.

TensorFlow takes the derivatives of tanh and of the logistic function from their values t and s, as 1 - t^2 and
s (1 - s). In float32 nothing is left of these where the value is near 1: at x = 8 tanh' = 4.5e-7 comes out as 4.8e-7,
and at x = 10 as 0. A network driven into saturation, as shortly before it diverges, has a sharpness made of nothing
else: of a tanh network with a loss of 177 it came out 8.4% too low (`docs/reliability.md`).

The functions here are made of operations of which no derivative cancels. A gradient written out (`tf.custom_gradient`)
would not do: TensorFlow does not differentiate it twice in a loop, such as that of a recurrent layer.
"""

from __future__ import annotations

import tensorflow as tf

from sharpness_phases.training.substitution import Substitution

_tanh = tf.tanh
_sigmoid = tf.sigmoid


def _accurate_tanh(x: tf.Tensor, name: str | None = None) -> tf.Tensor:
    """The hyperbolic tangent: -m / (2 + m) with m = exp(-2 x) - 1 for x >= 0, and the opposite of that of -x below."""
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return _tanh(x, name=name)
    with tf.name_scope(name or "tanh"):
        return tf.where(x >= 0, _tanh_of_positive(tf.maximum(x, 0)), -_tanh_of_positive(tf.maximum(-x, 0)))


def _tanh_of_positive(x: tf.Tensor) -> tf.Tensor:
    m = tf.math.expm1(-2 * x)
    return -m / (2 + m)


def _accurate_sigmoid(x: tf.Tensor, name: str | None = None) -> tf.Tensor:
    """The logistic function: 1 / (1 + e) with e = exp(-x) for x >= 0, and e / (1 + e) with e = exp(x) below."""
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return _sigmoid(x, name=name)
    with tf.name_scope(name or "sigmoid"):
        above, below = tf.exp(-tf.maximum(x, 0)), tf.exp(-tf.maximum(-x, 0))
        output = tf.where(x >= 0, 1 / (1 + above), below / (1 + below))
    if not tf.executing_eagerly():
        output._keras_logits = x  # Keras' cross-entropy takes what a Sigmoid came from, which it would no longer see
    return output


ACCURATE = (
    *(Substitution(module, "tanh", _accurate_tanh) for module in (tf, tf.math, tf.nn)),
    *(Substitution(module, "sigmoid", _accurate_sigmoid) for module in (tf, tf.math, tf.nn)),
)
"""In place of TensorFlow's, wherever these are looked up in its public modules, as Keras does."""

"""Functions that saturate, with derivatives that rounding leaves alone.

TensorFlow takes the derivatives of tanh and of the logistic function from their values t and s, as 1 - t^2 and
s (1 - s). In float32 nothing is left of these where the value is near 1: at x = 8 tanh' = 4.5e-7 comes out as 4.8e-7,
and at x = 10 as 0. A network driven into saturation, as shortly before it diverges, has a sharpness made of nothing
else: of a tanh network with a loss of 177 it came out 8.4% too low (`docs/reliability.md`).
"""

from __future__ import annotations

import tensorflow as tf

from sharpness_phases.training.substitution import Substitution

_tanh = tf.tanh
_sigmoid = tf.sigmoid


def _accurate_tanh(x: tf.Tensor, name: str | None = None) -> tf.Tensor:
    """The hyperbolic tangent, with tanh'(x) = 4 s'(2 x), where s is the logistic function."""

    @tf.custom_gradient
    def tanh(x: tf.Tensor) -> tuple[tf.Tensor, object]:
        return _tanh(x, name=name), lambda gradient: gradient * (4 * _logistic_slope(2 * x))

    x = tf.convert_to_tensor(x)
    return tanh(x) if x.dtype.is_floating else _tanh(x, name=name)


def _accurate_sigmoid(x: tf.Tensor, name: str | None = None) -> tf.Tensor:
    """The logistic function s(x) = 1 / (1 + exp(-x))."""

    @tf.custom_gradient
    def sigmoid(x: tf.Tensor) -> tuple[tf.Tensor, object]:
        return _sigmoid(x, name=name), lambda gradient: gradient * _logistic_slope(x)

    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return _sigmoid(x, name=name)
    output = sigmoid(x)
    if not tf.executing_eagerly():
        output._keras_logits = x  # Keras' cross-entropy takes what a Sigmoid came from, which it would no longer see
    return output


@tf.custom_gradient
def _logistic_slope(x: tf.Tensor) -> tuple[tf.Tensor, object]:
    """s'(x) = e / (1 + e)^2 with e = exp(-|x|); its derivative is -s'(x) tanh(x / 2)."""
    e = tf.exp(-tf.abs(x))
    return e / tf.square(1 + e), lambda gradient: -gradient * _logistic_slope(x) * _accurate_tanh(x / 2)


ACCURATE = (
    *(Substitution(module, "tanh", _accurate_tanh) for module in (tf, tf.math, tf.nn)),
    *(Substitution(module, "sigmoid", _accurate_sigmoid) for module in (tf, tf.math, tf.nn)),
)
"""In place of TensorFlow's, wherever these are looked up in its public modules, as Keras does."""

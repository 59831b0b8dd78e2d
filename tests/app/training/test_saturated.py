"""Saturated functions in float32 beside the same functions in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import HalfMeanSquaredError, SharpnessModel
from sharpness_phases.training.right_derivatives import measured
from sharpness_phases.training.saturated import _sigmoid, _tanh

SATURATED = np.array([-12.0, -8.0, -3.0, -1e-3, 0.0, 0.5, 4.0, 8.0, 10.0, 14.0])
SLOPES = {
    "tanh": lambda x: 1 / np.cosh(x) ** 2,
    "sigmoid": lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2,
}
CURVATURES = {
    "tanh": lambda x: -2 * np.tanh(x) * SLOPES["tanh"](x),
    "sigmoid": lambda x: -np.tanh(x / 2) * SLOPES["sigmoid"](x),
}


def first_and_second(function, x):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        slope = inner.gradient(y, x)
    return y, slope, outer.gradient(slope, x)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_derivatives_of_what_is_saturated_have_all_their_digits(name, compiled):
    x = tf.constant(SATURATED, tf.float32)
    with measured():
        traced = tf.function(lambda: first_and_second(getattr(keras.ops, name), x), jit_compile=compiled)
        y, slope, curvature = (part.numpy() for part in traced())
    np.testing.assert_allclose(slope, SLOPES[name](SATURATED), rtol=3e-6)
    exact, far = CURVATURES[name](SATURATED), np.abs(SATURATED) >= 3
    np.testing.assert_allclose(curvature[far], exact[far], rtol=3e-6)
    np.testing.assert_allclose(curvature[~far], exact[~far], atol=1e-6)
    np.testing.assert_allclose(y, {"tanh": _tanh, "sigmoid": _sigmoid}[name](x).numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_nothing_stays_replaced(name):
    original = getattr(tf, name)
    with measured():
        assert getattr(tf, name) is not original
    assert getattr(tf, name) is getattr(tf.nn, name) is getattr(tf.math, name) is original


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_a_loop_is_differentiated_twice(name):
    x = tf.constant([0.0, 0.5, -2.0])

    def twice(start):
        function = getattr(keras.ops, name)
        return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, function(y)), (0, start))[1]

    with measured():
        *_, ours = tf.function(lambda: first_and_second(twice, x))()
    *_, plain = first_and_second(lambda y: getattr(tf, name)(getattr(tf, name)(y)), x)
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-7)


def test_other_types_of_numbers_are_those_of_tensorflow():
    z = tf.constant([0.5 + 1j])
    with measured():
        assert tf.tanh(z).numpy() == _tanh(z).numpy() and tf.sigmoid(z).numpy() == _sigmoid(z).numpy()
        assert tf.tanh(tf.constant([2.0], tf.float16)).dtype == tf.float16


def test_cross_entropy_takes_the_logits_of_a_sigmoid_written_in_tensorflow():
    x, y = tf.constant([[40.0], [-40.0]]), tf.constant([[0.0], [1.0]])

    @tf.function
    def loss():
        return keras.losses.binary_crossentropy(y, tf.sigmoid(x))

    with measured():
        np.testing.assert_allclose(loss(), [40, 40], rtol=1e-6)


def test_the_sharpness_of_a_saturated_network_is_that_of_its_formula():
    """L = (tanh(w.x) - 2)^2 / 2 has the Hessian L'' x x^T; at w.x = 9 float32 leaves one digit of 1 - tanh^2."""
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "tanh", use_bias=False)])
    network.layers[0].set_weights([np.full((3, 1), 3.0, np.float32)])
    model = SharpnessModel(network, measurement=(np.ones((1, 3), np.float32), np.full((1, 1), 2, np.float32)))
    model.compile("sgd", HalfMeanSquaredError())
    second = SLOPES["tanh"](9.0) ** 2 + (np.tanh(9.0) - 2) * CURVATURES["tanh"](9.0)
    assert model.sharpness().to_python().eigenvalue == pytest.approx(3 * second, rel=1e-5)

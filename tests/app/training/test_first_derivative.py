"""Gradients that are the derivative of no loss are told apart from those that are."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from exact import WrittenOut

from sharpness_phases import SharpnessModel
from sharpness_phases.training.first_derivative import slopes_along_gradient
from sharpness_phases.training.second_derivatives import SecondDerivativeError

layers = keras.layers
X = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
Z = np.random.default_rng(1).standard_normal((8, 4)).astype("float32")


class Siamese(keras.Model):
    """Two views, of which each predicts the other; the other's gradient may be stopped."""

    def __init__(self, stops):
        super().__init__()
        self.stops, self.embed, self.predict_ = stops, layers.Dense(3, "tanh"), layers.Dense(3)

    def call(self, views):
        one, two = (self.embed(view) for view in views)
        kept = tf.stop_gradient if self.stops else tf.identity
        return self.predict_(one), self.predict_(two), kept(one), kept(two)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        p1, p2, z1, z2 = y_pred
        return tf.reduce_mean((p1 - z2) ** 2) + tf.reduce_mean((p2 - z1) ** 2)


def siamese(stops):
    keras.utils.set_random_seed(0)
    network = Siamese(stops)
    network((X, Z))
    model = SharpnessModel(network, measurement=((X, Z),))
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model


def test_a_loss_whose_gradient_is_stopped_in_the_model_itself_is_refused_and_its_weights_stay():
    model = siamese(stops=True)
    before = model.network.get_weights()
    with pytest.raises(SecondDerivativeError, match=r"gradient of the loss is not its derivative.*stop_gradient"):
        model.sharpness()
    for old, new in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_same_without_a_stop_is_measured():
    model = siamese(stops=False)

    def loss(embed, bias, predict, other):
        one, two = (tf.tanh(tf.constant(view, tf.float64) @ embed + bias) for view in (X, Z))
        return tf.reduce_mean((one @ predict + other - two) ** 2) + tf.reduce_mean((two @ predict + other - one) ** 2)

    exact = WrittenOut(loss, model.network.get_weights())
    assert model.sharpness().eigenvalue == pytest.approx(exact.sharpness(), rel=1e-3)


class ShiftedSoftmax(layers.Layer):
    """Stops the gradient of a shift that changes nothing."""

    def call(self, x):
        powers = tf.exp(x - tf.stop_gradient(tf.reduce_max(x, axis=-1, keepdims=True)))
        return powers / tf.reduce_sum(powers, axis=-1, keepdims=True)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_stop_that_changes_no_derivative_is_measured_whatever_the_size_of_the_loss(scale):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), layers.Dense(3), ShiftedSoftmax()])
    model = SharpnessModel(network, measurement=(X, Z[:, :3]))
    model.compile(
        keras.optimizers.SGD(0.1), lambda y, p: scale * tf.reduce_mean((y - p) ** 2, axis=-1), jit_compile=False
    )
    targets = tf.constant(Z[:, :3], tf.float64)
    exact = WrittenOut(
        lambda w, b: scale * tf.reduce_mean((targets - tf.nn.softmax(X @ w + b)) ** 2), network.get_weights()
    )
    assert model.sharpness().eigenvalue == pytest.approx(exact.sharpness(), rel=1e-3)


class OfOneWeight:
    """A loss of one weight."""

    def __init__(self, weight, loss):
        self.variables, self._loss = [tf.Variable([weight])], loss

    def loss(self, x, y):
        return tf.reduce_sum(self._loss(self.variables[0]))


@pytest.mark.parametrize("distance", [1e-7, 1e-6, 1e-5, -1e-5])
def test_a_kink_nearer_than_every_step_is_not_a_stopped_gradient(distance):
    kinked = OfOneWeight(1 + distance, lambda weight: weight + 0.3 * tf.nn.relu(weight - 1))
    assert slopes_along_gradient(kinked, None, None) in ([], [1.0])
    stopped = OfOneWeight(1 + distance, lambda weight: weight + 0.1 * tf.stop_gradient(weight))
    assert slopes_along_gradient(stopped, None, None) == pytest.approx([1.1], abs=0.01)

"""Functions and distributions: losses of one's own, and networks of one's own shape."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, labels, logits_loss, numbers, one_hot, own
from keras import layers, ops


@architecture()
def quantile_regression():
    def pinball(y_true, y_pred):
        error = y_true - y_pred
        levels = ops.convert_to_tensor(np.array([0.1, 0.5, 0.9]), dtype=error.dtype)
        return ops.mean(ops.maximum(levels * error, (levels - 1) * error), axis=-1)

    network = keras.Sequential([keras.Input((6,)), layers.Dense(10, activation="elu"), layers.Dense(3)])
    return Problem(network, numbers(12, 6), numbers(12, 1, seed=3), pinball)


@architecture()
def mixture_density_network():
    def negative_log_likelihood(y_true, y_pred):
        logits, mean, log_scale = ops.split(y_pred, 3, axis=-1)
        parts = ops.log_softmax(logits) - 0.5 * ops.square((y_true - mean) * ops.exp(-log_scale)) - log_scale
        return -ops.logsumexp(parts, axis=-1)

    network = keras.Sequential([keras.Input((3,)), layers.Dense(10, activation="tanh"), layers.Dense(9)])
    return Problem(network, numbers(12, 3), numbers(12, 1, seed=3), negative_log_likelihood)


@architecture()
def proportional_hazards():
    def partial_likelihood(y_true, risk):
        time, event = y_true[:, :1], y_true[:, 1:]
        at_risk = ops.cast(ops.transpose(time) >= time, risk.dtype)
        total = ops.logsumexp(ops.transpose(risk) + ops.log(at_risk + 1e-30), axis=1, keepdims=True)
        return -ops.sum(event * (risk - total)) / ops.sum(event)

    network = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, activation="selu"), layers.AlphaDropout(0.1), layers.Dense(1)]
    )
    y = np.stack([np.random.default_rng(4).exponential(size=12), labels(2, examples=12)], axis=1).astype("float32")
    return Problem(network, numbers(12, 6), y, partial_likelihood)


@architecture()
def sinusoidal_representation_network():
    inputs = keras.Input((2,))
    x = inputs
    for _ in range(2):
        bound = keras.initializers.RandomUniform(-0.2, 0.2, seed=3)
        x = ops.sin(5.0 * layers.Dense(10, kernel_initializer=bound)(x))
    return Problem(keras.Model(inputs, layers.Dense(3)(x)), numbers(16, 2), numbers(16, 3, seed=2), "mse")


@own
class RadialBasis(layers.Layer):
    """A Kolmogorov-Arnold layer of Gaussian bumps on a grid."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.grid = self.add_weight(
            shape=(6,), initializer=lambda s, dtype: ops.linspace(-2.0, 2.0, 6, dtype=dtype), trainable=False
        )
        self.coefficients = self.add_weight(shape=(shape[-1], 6, self.units), initializer="glorot_normal")
        self.base = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_normal")

    def call(self, x):
        bumps = ops.exp(-ops.square((ops.expand_dims(x, -1) - self.grid) / 0.8))
        return ops.einsum("big,igo->bo", bumps, self.coefficients) + ops.matmul(ops.silu(x), self.base)

    def get_config(self):
        return super().get_config() | {"units": self.units}


@architecture()
def kolmogorov_arnold_network():
    network = keras.Sequential([keras.Input((4,)), RadialBasis(5), RadialBasis(2)])
    return Problem(network, numbers(12, 4), numbers(12, 2, seed=2), "mse")


@own
class NeuralODE(layers.Layer):
    """Four steps of Runge-Kutta through one perceptron."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.field = keras.Sequential([layers.Dense(10, activation="tanh"), layers.Dense(width)])

    def call(self, x):
        h = 0.25
        for _ in range(4):
            k1 = self.field(x)
            k2 = self.field(x + h / 2 * k1)
            k3 = self.field(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + self.field(x + h * k3))
        return x

    def get_config(self):
        return super().get_config() | {"width": self.width}


@architecture()
def neural_differential_equation():
    network = keras.Sequential([keras.Input((4,)), NeuralODE(4), layers.Dense(2)])
    return Problem(network, numbers(12, 4), labels(2, examples=12), logits_loss())


@architecture()
def maxout_with_hinge_loss_and_max_norm():
    inputs = keras.Input((8,))
    x = layers.Dense(
        18, kernel_constraint=keras.constraints.MaxNorm(2.0), activity_regularizer=keras.regularizers.L1L2(1e-4, 1e-3)
    )(inputs)
    x = ops.max(ops.reshape(x, (-1, 6, 3)), axis=-1)
    x = layers.PReLU()(layers.UnitNormalization()(x))
    return Problem(
        keras.Model(inputs, layers.Dense(3)(x)), numbers(12, 8), 2 * one_hot(3).repeat(2, 0) - 1, "squared_hinge"
    )

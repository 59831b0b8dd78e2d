import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification

from sharpness_phases import HalfMeanSquaredError
from sharpness_phases.models import FCN, ResNet
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.second_derivatives import SecondDerivativeError, check_second_derivatives

layers = keras.layers


def stopped_moments(x):
    """Normalised as by `tf.nn.moments`, whose first derivative is right."""
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean((x - tf.stop_gradient(mean)) ** 2, -1, keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-3)


class Stopped(layers.Layer):
    """A normalisation of the user's that is wrong."""

    def call(self, x):
        return stopped_moments(x)


class Right(layers.Layer):
    """A normalisation of the user's, from `tf.nn.moments`."""

    def call(self, x):
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-3)


class Shifted(layers.Layer):
    """Stops a gradient of which no derivative depends."""

    def call(self, x):
        highest = tf.stop_gradient(tf.reduce_max(x, -1, keepdims=True))
        return highest + tf.math.log(tf.reduce_sum(tf.exp(x - highest), -1, keepdims=True)) + x


class Handed(layers.Layer):
    """Computes what it is handed, so that Keras cannot make a copy of it."""

    def __init__(self, compute, **kwargs):
        super().__init__(**kwargs)
        self.compute = compute

    def call(self, x):
        return self.compute(x)


class Single(layers.Layer):
    """Computes in float32 whatever precision it is asked for."""

    def __init__(self, wrong, **kwargs):
        super().__init__(**kwargs)
        self.wrong = wrong

    def call(self, x):
        x = tf.cast(x, tf.float32) + tf.constant(0.5)
        return stopped_moments(x) if self.wrong else tf.tanh(x)


class Block(layers.Layer):
    """A residual block of the user's, with layers of its own."""

    def __init__(self, wrong, **kwargs):
        super().__init__(**kwargs)
        self.wrong = wrong
        self.hidden = layers.Dense(8, activation="relu")
        self.norm = layers.LayerNormalization()

    def call(self, x):
        inner = self.hidden(self.norm(x))
        return x + (inner * tf.stop_gradient(inner) if self.wrong else inner)


class Subclassed(keras.Model):
    """A network whose own `call` is wrong."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.out = layers.Dense(8, activation="relu"), layers.Dense(3)

    def call(self, x):
        return self.out(stopped_moments(self.hidden(x)))


def network_with(*middle, shape=(6,)):
    inputs = keras.Input(shape)
    x = layers.Dense(8, activation="relu")(inputs)
    for layer in middle:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def check(network, loss=None, batch_norm="batch"):
    x, y = classification(4, network.input_shape[1:] if network.built else (6,), 3, dtype=np.float32)
    objective = Objective(network, loss or HalfMeanSquaredError(), batch_norm)
    objective.outputs(tf.constant(x[:1]))
    return check_second_derivatives(network, objective, tf.constant(x), tf.constant(y), batch_norm)


@pytest.mark.parametrize(
    "layer",
    [
        lambda name: Stopped(name=name),
        lambda name: Handed(stopped_moments, name=name),
        lambda name: Single(wrong=True, name=name),
        lambda name: Block(wrong=True, name=name),
        lambda name: layers.Lambda(stopped_moments, name=name),
        lambda name: layers.Dense(8, activation=stopped_moments, name=name),
    ],
    ids=["own", "no copy", "float32 only", "block", "lambda", "activation"],
)
def test_a_layer_that_stops_a_gradient_is_refused_by_name(layer):
    with pytest.raises(SecondDerivativeError, match=r"layer 'norm_3' \(\w+\) is wrong.*differences.*\d%"):
        check(network_with(layer("norm_3")))


def test_a_layer_inside_a_nested_model_is_refused_by_name():
    with pytest.raises(SecondDerivativeError, match="deep_inside"):
        check(keras.Sequential([keras.Input((6,)), network_with(Stopped(name="deep_inside")), layers.Dense(3)]))


def test_a_network_that_is_wrong_by_itself_is_refused():
    with pytest.raises(SecondDerivativeError, match="Subclassed"):
        check(Subclassed())


def test_a_loss_that_stops_a_gradient_is_refused():
    def loss(y, outputs):
        return tf.reduce_mean(tf.stop_gradient(tf.abs(y - outputs)) * (y - outputs) ** 2)

    with pytest.raises(SecondDerivativeError, match="the loss"):
        check(network_with(), loss)


@pytest.mark.parametrize(
    "layer",
    [
        Right,
        Shifted,
        lambda: Handed(tf.tanh),
        lambda: Handed(tf.nn.relu),
        lambda: Single(wrong=False),
        lambda: Block(wrong=False),
        lambda: layers.Lambda(lambda x: tf.abs(x) + tf.maximum(x, 0.3)),
        lambda: layers.Dense(8, activation=lambda x: x * tf.sigmoid(x)),
        layers.BatchNormalization,
        layers.LayerNormalization,
        lambda: layers.GroupNormalization(2),
        layers.RMSNormalization,
        layers.UnitNormalization,
        layers.PReLU,
    ],
)
def test_layers_that_are_right_pass(layer):
    assert check(network_with(layer()))


@pytest.mark.parametrize(
    "loss",
    [
        HalfMeanSquaredError(),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.MeanAbsoluteError(),
        keras.losses.Huber(0.5),
        keras.losses.CategoricalHinge(),
    ],
)
def test_losses_that_are_right_pass(loss):
    assert check(network_with(), loss)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6, 1e10])
def test_large_targets_are_not_the_losss_fault(size):
    network = network_with()
    x, y = classification(4, dtype=np.float32)
    objective = Objective(network, HalfMeanSquaredError())
    assert check_second_derivatives(network, objective, tf.constant(x), tf.constant(np.float32(size) * y), "batch")


@pytest.mark.parametrize("gap", [5.0, 12.0, 16.0, 18.0, 20.0, 30.0, 100.0])
def test_a_saturated_softmax_is_not_the_losss_fault(gap):
    outputs = layers.Dense(3, bias_initializer=lambda shape, dtype: tf.constant([gap, 0.3, 0.0], dtype))
    check(keras.Sequential([keras.Input((6,)), outputs]), keras.losses.CategoricalCrossentropy(from_logits=True))


def test_kinds_are_known_again_by_what_they_compute_and_not_by_their_name(monkeypatch):
    tried = []

    class Counted(layers.Layer):
        """Tells how often it computes in float64."""

        def __init__(self, power, **kwargs):
            super().__init__(**kwargs)
            self.power = power

        def call(self, x):
            tried.append(x.dtype == "float64")
            return tf.tanh(x) ** self.power

    check(network_with(Counted(2, name="one"), Counted(2, name="two")))
    once = sum(tried)
    check(network_with(Counted(2, name="three")))
    assert sum(tried) == once > 0
    check(network_with(Counted(3, name="four")))
    assert sum(tried) > once


def residual_network(depth, middle):
    """A deep network of ReLU and batch normalisation, on images half of whose pixels are black."""
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    for index in range(depth):
        inner = layers.Activation("relu")(layers.BatchNormalization()(x))
        inner = layers.Conv2D(8, 3, padding="same")(inner)
        x = layers.Add()([x, inner])
        if index == depth // 2:
            x = middle(layers.MaxPooling2D()(x))
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(x))
    return keras.Model(inputs, layers.Dense(3)(x))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_kinks_of_a_deep_network_neither_accuse_nor_hide_a_fault(seed):
    keras.utils.set_random_seed(seed)
    assert check(residual_network(10, layers.Activation("relu")))
    with pytest.raises(SecondDerivativeError, match="hidden_fault"):
        check(residual_network(10, Stopped(name="hidden_fault")))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_networks_of_this_project_pass(activation, seed):
    network = FCN(width=64, depth=4, activation=activation, output_layer="zero").build((28, 28, 1), 3, seed=seed)
    assert check(network)


@pytest.mark.slow
def test_a_normalized_resnet_of_this_project_passes():
    assert check(ResNet(width=2, depth=18, normalization="layer").build((8, 8, 1), 3, seed=0))


def test_weights_stay_as_they_are():
    network = network_with(Handed(tf.tanh), Block(wrong=False), layers.BatchNormalization())
    before = network.get_weights()
    check(network)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_that_are_nan_are_not_the_layers_fault():
    network = network_with(Handed(tf.tanh))
    network.set_weights([np.full_like(w, np.nan) for w in network.get_weights()])
    assert not check(network)


@pytest.mark.skipif(not hasattr(layers.BatchNormalization(), "renorm"), reason="this Keras has no renormalisation")
def test_batch_renormalization_is_refused_by_name_with_what_to_do_and_measured_with_moving_statistics():
    network = network_with(layers.BatchNormalization(renorm=True, name="norm_3"))
    with pytest.raises(SecondDerivativeError, match='norm_3.*batch_norm="inference"'):
        check(network)
    assert check(network, batch_norm="inference")


class Waves(layers.Layer):
    """Sines of whole numbers, as times are embedded: no weights, and no real inputs."""

    def call(self, times):
        return tf.sin(tf.cast(times, tf.float32)[:, None] * tf.constant([0.1, 0.2, 0.3]))


class Largest(layers.Layer):
    """Whole numbers of real ones."""

    def call(self, x):
        return tf.argmax(x, axis=-1)


def test_layers_through_which_no_derivative_flows_pass():
    times, x = keras.Input((), dtype="int32"), keras.Input((3,))
    hidden = layers.Dense(3, "tanh")(x) + Waves()(times)
    chosen = layers.Embedding(3, 2)(Largest()(hidden))
    network = keras.Model([times, x], layers.Dense(3)(layers.Concatenate()([hidden, chosen])))
    examples = [tf.constant([1, 2, 3, 4]), tf.random.stateless_normal([4, 3], [1, 2])]
    targets = tf.random.stateless_normal([4, 3], [3, 4])
    objective = Objective(network, HalfMeanSquaredError())
    assert check_second_derivatives(network, objective, examples, targets, "batch")

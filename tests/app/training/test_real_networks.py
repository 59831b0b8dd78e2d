"""Networks as people build them: what was refused for its normalisation is measured, and right."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import HalfMeanSquaredError, Lanczos, SharpnessModel
from sharpness_phases.data.preprocessing import prepare
from sharpness_phases.models.layers import LayerNorm
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.tracing import traced

layers = keras.layers

APPLICATIONS = ["ResNet50", "MobileNetV2", "DenseNet121", "EfficientNetB0", "ConvNeXtTiny"]


def with_moved_weights(network):
    rng = np.random.default_rng(0)
    for weight in network.trainable_variables:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape).astype(weight.dtype))
    return network


@pytest.fixture
def double_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def products(network, x, y, vector):
    operator = Objective(network, HalfMeanSquaredError(dtype="float64")).hessian(x, y)
    return traced(lambda v: operator.linearize().matvec(v))(tf.constant(vector)).numpy()


def differences(network, x, y, vector, step=1e-5):
    """(g(w + h v) - g(w - h v)) / 2h, without our Hessian."""
    loss, variables = HalfMeanSquaredError(dtype="float64"), network.trainable_variables
    weights = [variable.numpy() for variable in variables]
    ends = np.cumsum([weight.size for weight in weights])[:-1]
    parts = [part.reshape(weight.shape) for part, weight in zip(np.split(vector, ends), weights, strict=True)]
    moving = [(variable, variable.numpy()) for variable in network.non_trainable_variables]

    @traced
    def gradient():
        with tf.GradientTape() as tape:
            value = loss(y, network(x, training=True))
        found = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")
        return tf.concat([tf.reshape(tf.convert_to_tensor(g), [-1]) for g in found], 0)

    found = []
    for sign in (1, -1):
        for variable, weight, part in zip(variables, weights, parts, strict=True):
            variable.assign(weight + sign * step * part)
        found.append(gradient().numpy())
    for variable, weight in [*zip(variables, weights, strict=True), *moving]:
        variable.assign(weight)
    return (found[0] - found[1]) / (2 * step)


def transformer(normalization):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(11, 8)(inputs)
    for _ in range(2):
        x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(*[normalization()(x)] * 2)])
        x = layers.Add()([x, layers.Dense(8)(layers.Dense(16, activation="gelu")(normalization()(x)))])
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(normalization()(x))))


@pytest.mark.slow
def test_a_transformer_is_that_with_normalisation_written_out(double_policy):
    network = with_moved_weights(transformer(lambda: layers.LayerNormalization(epsilon=1e-5)))
    written_out = transformer(LayerNorm)
    written_out.set_weights(network.get_weights())
    rng = np.random.default_rng(1)
    x, y = tf.constant(rng.integers(0, 11, (6, 5))), tf.constant(rng.standard_normal((6, 3)))
    vector = rng.standard_normal(sum(w.size for w in network.get_weights()))
    expected = products(written_out, x, y, vector)
    np.testing.assert_allclose(products(network, x, y, vector), expected, atol=1e-9 * np.linalg.norm(expected))


def u_net():
    def convolved(x, channels):
        return layers.Activation("silu")(layers.BatchNormalization()(layers.Conv2D(channels, 3, padding="same")(x)))

    inputs = keras.Input((8, 8, 1))
    fine = convolved(inputs, 4)
    coarse = convolved(layers.AveragePooling2D(2)(fine), 8)
    up = layers.UpSampling2D(interpolation="bilinear")(coarse)
    return keras.Model(inputs, layers.Conv2D(1, 1)(convolved(layers.Concatenate()([up, fine]), 4)))


@pytest.mark.slow
def test_products_of_a_u_net_are_differences_of_the_gradient_of_training(double_policy):
    network = with_moved_weights(u_net())
    rng = np.random.default_rng(1)
    x, y = (tf.constant(rng.standard_normal((4, 8, 8, 1))) for _ in range(2))
    vector = rng.standard_normal(sum(int(np.prod(v.shape)) for v in network.trainable_variables))
    expected = differences(network, x, y, vector, step=1e-3)  # float32 in the upsampling drowns smaller ones
    found = products(network, x, y, vector)
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


@pytest.mark.long
@pytest.mark.parametrize("name", ["EfficientNetB0", "ConvNeXtTiny"])
def test_products_of_smooth_applications_are_differences_of_the_gradient_of_training(name, double_policy):
    build = getattr(keras.applications, name)
    network = with_moved_weights(build(input_shape=(32, 32, 3), weights=None, classes=3, classifier_activation=None))
    for layer in network._flatten_layers():
        if isinstance(layer, layers.Dropout) or type(layer).__name__ == "StochasticDepth":
            layer.rate = layer.drop_path_rate = 0.0  # on in training, off while measuring
    rng = np.random.default_rng(1)
    x, y = tf.constant(128 + 50 * rng.standard_normal((4, 32, 32, 3))), tf.constant(rng.standard_normal((4, 3)))
    vector = rng.standard_normal(sum(int(np.prod(v.shape)) for v in network.trainable_variables))
    expected = differences(network, x, y, vector)
    found = products(network, x, y, vector)
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.long
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications_pass_the_check_and_are_measured(name):
    build = getattr(keras.applications, name)
    network = build(input_shape=(32, 32, 3), weights=None, classes=3, classifier_activation=None)
    rng = np.random.default_rng(0)
    x = (128 + 50 * rng.standard_normal((8, 32, 32, 3))).astype(np.float32)
    y = np.eye(3, dtype=np.float32)[rng.integers(3, size=8)]
    model = SharpnessModel(network, measurement=(x, y), solver=Lanczos(0.05, basis_size=8))
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=HalfMeanSquaredError(), jit_compile=False)
    before = [variable.numpy() for variable in network.non_trainable_variables]
    result = model.sharpness()
    product = model.tracker.operator.linearize().matvec(tf.constant(result.eigenvector)).numpy()
    assert np.linalg.norm(product - result.eigenvalue * result.eigenvector) < 0.1 * abs(result.eigenvalue)
    for old, new in zip(before, network.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.long
def test_full_batch_descent_with_batch_normalization_settles_at_two_over_the_learning_rate():
    data, rate = prepare("fashion_mnist_subset", 256), 1.6
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input(data.x.shape[1:]), layers.Flatten()])
    for _ in range(2):
        for layer in (layers.Dense(32), layers.BatchNormalization(), layers.Activation("tanh")):
            network.add(layer)
    network.add(layers.Dense(10))
    model = SharpnessModel(network, measurement=(data.x, data.y), every=5)
    model.compile(optimizer=keras.optimizers.SGD(rate), loss=HalfMeanSquaredError(), jit_compile=False)
    history = model.fit(data.x, data.y, batch_size=256, epochs=400, shuffle=False, verbose=0).history
    assert np.median(history["sharpness"][-200:]) == pytest.approx(2 / rate, rel=0.15)  # found: 9% above
    with_moving_statistics = SharpnessModel(network, measurement=(data.x, data.y), batch_norm="inference")
    with_moving_statistics.compile(optimizer="sgd", loss=HalfMeanSquaredError(), jit_compile=False)
    assert with_moving_statistics.sharpness().eigenvalue > 2 * 2 / rate  # which says nothing of the edge

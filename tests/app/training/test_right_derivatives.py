"""Each operation against a network written out in plain operations, or with its matrix."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import gen_image_ops, nn_impl

from sharpness_phases import HalfMeanSquaredError
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.right_derivatives import measured, trained_batch_normalization

EPSILON = 1e-3
HOW = ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)]
layers = keras.layers


def normalized(x, axes):
    """(x - mean) / sqrt(mean of squared deviations + epsilon)."""
    centred = x - tf.reduce_mean(x, axes, keepdims=True)
    return centred / tf.sqrt(tf.reduce_mean(centred * centred, axes, keepdims=True) + EPSILON)


def by_groups(x, weights):
    batch, height, width, channels = x.shape
    apart = tf.reshape(x, [batch, height, width, 2, channels // 2])
    return tf.reshape(normalized(apart, [1, 2, 4]), x.shape) * weights[0] + weights[1]


VECTORS = {
    "batch": (lambda: layers.BatchNormalization(epsilon=EPSILON), lambda x, w: normalized(x, [0]) * w[0] + w[1]),
    "layer": (lambda: layers.LayerNormalization(epsilon=EPSILON), lambda x, w: normalized(x, [1]) * w[0] + w[1]),
    "softsign": (lambda: layers.Activation("softsign"), lambda x, w: x / (1 + tf.abs(x))),
}
IMAGES = {
    "batch": (lambda: layers.BatchNormalization(epsilon=EPSILON), lambda x, w: normalized(x, [0, 1, 2]) * w[0] + w[1]),
    "layer": (lambda: layers.LayerNormalization(epsilon=EPSILON), lambda x, w: normalized(x, [3]) * w[0] + w[1]),
    "group": (lambda: layers.GroupNormalization(2, epsilon=EPSILON), by_groups),
}


def small_network(layer, shape):
    """A nonlinear layer before and behind the one that is looked at, in float64 and with weights that differ."""
    keras.utils.set_random_seed(0)
    double = {"dtype": "float64"}
    inputs = keras.Input(shape, dtype="float64")
    x = layers.Dense(8, "tanh", **double)(inputs)
    x = layers.Dense(5, "tanh", **double)(layers.Flatten(**double)(layer(x)))
    network = keras.Model(inputs, layers.Dense(3, **double)(x))
    rng = np.random.default_rng(0)
    for weight in network.trainable_variables:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape))
    return network, rng.standard_normal((6, *shape)), rng.standard_normal((6, 3))


def weights_of(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def in_double_precision(make):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(before)


def product(network, x, y, vector, how="eager", batch_norm="batch"):
    objective = Objective(network, HalfMeanSquaredError(dtype="float64"), batch_norm)
    multiply = lambda v: objective.hessian(x, y).linearize().matvec(v)  # noqa: E731
    if how != "eager":
        multiply = tf.function(multiply, jit_compile=how == "xla")
    return multiply(tf.constant(vector)).numpy()


def written_out(network, middle, x, y, vector):
    """H v of the same network from plain operations, with nothing of ours."""
    variables = [v.value for v in network.trainable_variables]

    def loss():
        first, bias, *inner, dense, dense_bias, last, last_bias = variables
        hidden = middle(tf.tanh(tf.tensordot(x, first, 1) + bias), inner)
        hidden = tf.tanh(tf.reshape(hidden, [len(x), -1]) @ dense + dense_bias)
        return tf.reduce_mean((hidden @ last + last_bias - y) ** 2) / 2

    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            value = loss()
        gradient = tf.concat([tf.reshape(g, [-1]) for g in inner.gradient(value, variables)], 0)
        slope = tf.reduce_sum(gradient * vector)
    return np.concatenate([g.numpy().ravel() for g in outer.gradient(slope, variables)])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("kind", "shape"), [*((kind, (6,)) for kind in VECTORS), *((kind, (3, 4, 2)) for kind in IMAGES)]
)
def test_products_are_those_of_the_network_written_out(kind, shape, how):
    make, middle = (VECTORS if len(shape) == 1 else IMAGES)[kind]
    network, x, y = small_network(in_double_precision(make), shape)
    vector = np.random.default_rng(1).standard_normal(weights_of(network))
    expected = written_out(network, middle, x, y, vector)
    found = product(network, x, y, vector, how)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.linalg.norm(expected))


def matrix_of(resize, shape):
    """The matrix (outputs, inputs) of a linear map of images, from its values alone."""
    unit = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.asarray(resize(unit), np.float64).reshape(len(unit), -1).T


@pytest.mark.parametrize("how", ["eager", "graph"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.UpSampling2D(interpolation="nearest"),
        lambda: layers.UpSampling2D(interpolation="bilinear"),
        lambda: layers.UpSampling2D(interpolation="bicubic"),
        lambda: layers.UpSampling2D(interpolation="lanczos3"),
        lambda: layers.Resizing(2, 5, interpolation="nearest"),
        lambda: layers.Resizing(5, 3, interpolation="bilinear"),
        lambda: layers.Resizing(5, 3, interpolation="bicubic"),
        lambda: layers.Resizing(2, 2, antialias=True),
    ],
    ids=["up-nearest", "up-bilinear", "up-bicubic", "up-lanczos", "nearest", "bilinear", "bicubic", "antialias"],
)
def test_products_through_resizing_are_those_of_its_matrix(make, how):
    layer = in_double_precision(make)
    network, x, y = small_network(layer, (3, 4, 2))
    matrix = tf.constant(matrix_of(layer, (3, 4, 8)))

    def middle(hidden, weights):
        return tf.reshape(hidden, [len(x), -1]) @ tf.transpose(matrix)

    vector = np.random.default_rng(1).standard_normal(weights_of(network))
    expected = written_out(network, middle, x, y, vector)
    found = product(network, x, y, vector, how)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.linalg.norm(expected))  # TensorFlow resizes in float32


def test_bilinear_resizing_is_right_under_xla_in_float32():
    x = tf.random.stateless_normal([2, 3, 4, 2], [0, 1])

    def slope(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                with measured():
                    value = tf.reduce_sum(tf.image.resize(x, [6, 7]) ** 3) / 6
            gradient = inner.gradient(value, x)
        return outer.gradient(gradient, x, output_gradients=tf.ones_like(x))

    matrix = matrix_of(lambda unit: tf.image.resize(unit, [6, 7]), (3, 4, 2))
    flat = x.numpy().reshape(2, -1)
    expected = ((flat @ matrix.T) * matrix.sum(1)) @ matrix
    for multiply in (slope, tf.function(slope, jit_compile=True)):
        np.testing.assert_allclose(multiply(x).numpy().reshape(2, -1), expected, rtol=2e-4, atol=1e-4)


OPERATIONS = {
    "moments": lambda x: tf.concat([tf.reshape(part, [-1]) for part in tf.nn.moments(x, [0, 2])], 0),
    "moments that keep dimensions": lambda x: tf.concat(tf.nn.moments(x, [1], keepdims=True), 0),
    "softsign": tf.nn.softsign,
    "bilinear": lambda x: tf.image.resize(x, [5, 3]),
    "bicubic": lambda x: tf.image.resize(x, [5, 3], "bicubic"),
    "nearest": lambda x: tf.image.resize(x, [5, 3], "nearest"),
    "antialiased": lambda x: tf.image.resize(x, [2, 2], antialias=True),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_first_derivatives_are_unchanged(name):
    operation = (lambda x: tf.nn.softsign(x)) if name == "softsign" else OPERATIONS[name]
    x = tf.Variable(100 * np.random.default_rng(0).standard_normal((2, 3, 4, 2)).astype(np.float32))

    def value_and_gradient():
        with tf.GradientTape() as tape:
            value = operation(x)
        return value.numpy(), tape.gradient(
            value, x, output_gradients=tf.range(1.0, 1 + tf.size(value)) * 1.0 if value.shape.rank == 1 else value**2
        ).numpy()

    plain = value_and_gradient()
    with measured():
        ours = value_and_gradient()
    np.testing.assert_array_equal(ours[0], plain[0])
    np.testing.assert_allclose(ours[1], plain[1], rtol=1e-4, atol=1e-6 * np.abs(plain[1]).max())


def test_images_of_integers_are_resized_as_ever():
    image = tf.reshape(tf.range(12, dtype=tf.int32), [1, 3, 4, 1])
    with measured():
        found = [tf.image.resize(image, [2, 3], method) for method in ("bilinear", "nearest", "bicubic")]
    for ours, method in zip(found, ("bilinear", "nearest", "bicubic"), strict=True):
        np.testing.assert_array_equal(ours, tf.image.resize(image, [2, 3], method))


def functions():
    places = [(nn_impl, "moments"), (tf.nn, "softsign"), (layers.BatchNormalization, "call")]
    places += [(gen_image_ops, f"resize_{kind}") for kind in ("bilinear", "bicubic", "nearest_neighbor")]
    return [getattr(owner, name) for owner, name in places]


def test_nothing_stays_replaced_after_a_measurement_or_an_exception():
    before = functions()
    network, x, y = small_network(in_double_precision(VECTORS["batch"][0]), (6,))
    product(network, x, y, np.ones(weights_of(network)))
    with pytest.raises(KeyError), measured():
        assert functions() != before
        raise KeyError
    assert functions() == before


class Interrupted(layers.Layer):
    """Raises behind a batch normalisation."""

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        raise RuntimeError("stop")


def test_moving_statistics_stand_still_while_measuring_and_after_an_exception():
    norm = layers.BatchNormalization(dtype="float64")
    network, x, y = small_network(norm, (6,))
    before = [norm.moving_mean.numpy(), norm.moving_variance.numpy()]
    size = weights_of(network)
    for how in HOW:
        product(network, x, y, np.ones(size), how)
    stopped = keras.Sequential([network, Interrupted()], name="stopped")
    with pytest.raises(RuntimeError, match="stop"):
        Objective(stopped, HalfMeanSquaredError()).loss(tf.constant(x), tf.constant(y))
    for old, new in zip(before, [norm.moving_mean, norm.moving_variance], strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_traced_loss_assigns_nothing():
    network, x, y = small_network(layers.BatchNormalization(dtype="float64"), (6,))
    loss = tf.function(Objective(network, HalfMeanSquaredError(dtype="float64")).loss)
    graph = loss.get_concrete_function(tf.constant(x), tf.constant(y)).graph
    assert not [op.name for op in graph.get_operations() if op.type.startswith("Assign")]


def test_another_thread_trains_with_its_moving_statistics_meanwhile():
    norm = layers.BatchNormalization(momentum=0.0)
    x = tf.random.stateless_normal([8, 3], [0, 1])
    norm.build(x.shape)

    def train():
        norm(x, training=True)

    with measured():
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    np.testing.assert_allclose(norm.moving_mean, tf.reduce_mean(x, 0), rtol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_moving_statistics_are_measured_on_request_and_wherever_a_layer_is_frozen(frozen):
    norm = layers.BatchNormalization(epsilon=EPSILON, dtype="float64")
    network, x, y = small_network(norm, (6,))
    norm.moving_mean.assign(np.linspace(-1, 1, 8))
    norm.moving_variance.assign(np.linspace(0.5, 2, 8))
    gamma, beta = norm.gamma.value, norm.beta.value
    norm.trainable = not frozen

    def middle(hidden, weights):
        scaled = (hidden - norm.moving_mean.value) / tf.sqrt(norm.moving_variance.value + EPSILON)
        return scaled * (weights or [gamma])[0] + (weights or [None, beta])[1]

    vector = np.random.default_rng(1).standard_normal(weights_of(network))
    expected = written_out(network, middle, x, y, vector)
    found = product(network, x, y, vector, batch_norm="batch" if frozen else "inference")
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.linalg.norm(expected))
    assert trained_batch_normalization(network) == ([] if frozen else [norm])


class Compiled(layers.Layer):
    """A normalisation that the user compiled."""

    @tf.function
    def call(self, x):
        mean, variance = tf.nn.moments(x, axes=[1], keepdims=True)
        return (x - mean) / tf.sqrt(variance + EPSILON)


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_a_layer_that_was_traced_before_is_right_and_keeps_its_own_trace(how):
    layer = Compiled(dtype="float64")
    network, x, y = small_network(layer, (6,))
    network(x)
    traces = layer.call.experimental_get_tracing_count()
    vector = np.random.default_rng(1).standard_normal(weights_of(network))
    expected = written_out(network, lambda hidden, weights: normalized(hidden, [1]), x, y, vector)
    np.testing.assert_allclose(product(network, x, y, vector, how), expected, atol=1e-9 * np.linalg.norm(expected))
    assert layer.call.experimental_get_tracing_count() == traces


def hessian_of(function, x):
    """The Hessian (n, n) of a function of x, while it is measured."""
    variable = tf.Variable(x)

    @tf.function
    def hessian():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner, measured():
                value = function(tf.convert_to_tensor(variable))
            gradient = tf.reshape(inner.gradient(value, variable), [-1])
        return outer.jacobian(gradient, variable, experimental_use_pfor=False)

    return hessian().numpy().reshape(x.size, x.size)


@pytest.mark.parametrize("name", ["local_response_normalization", "lrn"])
def test_local_response_normalisation_has_the_second_derivatives_of_its_formula(name):
    x = np.random.default_rng(0).standard_normal((1, 1, 2, 4)).astype("float32")
    weights = np.random.default_rng(1).standard_normal(x.shape).astype("float32")
    near = np.abs(np.arange(4)[:, None] - np.arange(4)) <= 1

    def ours(images):
        return tf.reduce_sum(weights * getattr(tf.nn, name)(images, 1, 2.0, 0.5, 0.75))

    def formula(images):
        return tf.reduce_sum(weights * images / (2.0 + 0.5 * (images**2 @ near.astype("float32"))) ** 0.75)

    np.testing.assert_allclose(hessian_of(ours, x), hessian_of(formula, x), atol=1e-5)
    with measured():
        found = tf.nn.lrn(x, 1, 2.0, 0.5, 0.75)
    np.testing.assert_allclose(found, tf.nn.lrn(x, 1, 2.0, 0.5, 0.75), rtol=1e-5)


@pytest.mark.parametrize("include_batch", [False, True])
def test_pooling_that_tells_where_the_maxima_are_has_the_second_derivatives_of_pooling(include_batch):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 2)).astype("float32")

    def pooled(images):
        return tf.nn.max_pool_with_argmax(images, 2, 2, "VALID", include_batch_in_index=include_batch)

    expected = hessian_of(lambda images: tf.reduce_sum(tf.nn.max_pool2d(images, 2, 2, "VALID") ** 3), x)
    np.testing.assert_allclose(hessian_of(lambda images: tf.reduce_sum(pooled(images)[0] ** 3), x), expected, atol=1e-4)
    with measured():
        found = pooled(x)
    for here, there in zip(found, pooled(x), strict=True):
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers_are_measured_without_the_kernel_that_has_no_second_derivative(kind, masked, monkeypatch):
    def on_a_gpu(*arguments, **keywords):
        raise AssertionError("cuDNN was asked")

    x, mask = np.random.default_rng(0).standard_normal((2, 5, 3)), np.arange(5) < np.array([[5], [3]])
    layer = getattr(layers, kind)(4, return_sequences=True)
    expected = layer(x, mask=mask if masked else None)
    monkeypatch.setattr(keras.src.backend, kind.lower(), on_a_gpu)
    layer.use_cudnn = True
    with pytest.raises(AssertionError, match="cuDNN"):
        layer(x)
    with measured():
        np.testing.assert_allclose(layer(x, mask=mask if masked else None), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM"])
def test_a_state_kept_from_batch_to_batch_is_begun_with_and_left_alone(kind):
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    layer = getattr(layers, kind)(4, stateful=True)
    network = keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), layer, layers.Dense(1)])
    network(x)
    before = [np.array(state) for state in layer.states]
    assert np.any(before[0])
    with measured():
        found = network(x)
    for old, state in zip(before, layer.states, strict=True):
        np.testing.assert_array_equal(old, state)
    np.testing.assert_allclose(found, network(x), rtol=1e-5)
    assert np.any(before[0] != layer.states[0])

"""What TensorFlow cannot differentiate twice, or does so wrongly, is measured by differences of the gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from exact import WrittenOut, cross_entropy
from problems import classification

from sharpness_phases import SharpnessCallback, SharpnessModel
from sharpness_phases.training.second_derivatives import SecondDerivativeError

layers = keras.layers

X, Y = classification(32, dtype=np.float32)
LABELS = np.argmax(Y, axis=-1)


class Stopped(layers.Layer):
    """Normalises as `tf.nn.moments` does: its first derivative is right, its second is not."""

    def call(self, x):
        mean = tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean((x - tf.stop_gradient(mean)) ** 2, -1, keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-3)


class Averaging(layers.Layer):
    """Means of pairs of units, by an operation whose gradient has no gradient."""

    def call(self, x):
        pairs = tf.sparse.segment_mean(tf.transpose(x), tf.range(8), [0, 0, 1, 1, 2, 2, 3, 3])
        return tf.ensure_shape(tf.transpose(pairs), [None, 4])


def written_out(name):
    """The middle layers in words of NumPy's."""
    if name == "stopped":
        return lambda h: (
            (h - tf.reduce_mean(h, -1, keepdims=True)) / tf.sqrt(tf.math.reduce_variance(h, -1, keepdims=True) + 1e-3)
        )
    return lambda h: (h[:, ::2] + h[:, 1::2]) / 2


def network_with(*middle, activation="tanh", **settings):
    keras.utils.set_random_seed(0)
    first = layers.Dense(8, activation=activation, **settings)
    return keras.Sequential([keras.Input((6,)), first, *middle, layers.Dense(3)])


def measured(network, products="differences", optimizer=None, **settings):
    model = SharpnessModel(network, measurement=(X, LABELS), products=products, **settings)
    model.compile(optimizer or keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def exact_sharpness(network, middle):
    def loss(w1, b1, w2, b2):
        return tf.reduce_mean(cross_entropy(middle(tf.tanh(tf.constant(X, w1.dtype) @ w1 + b1)) @ w2 + b2, LABELS))

    return WrittenOut(loss, network.trainable_weights).sharpness()


@pytest.mark.parametrize(("name", "kind"), [("stopped", Stopped), ("averaging", Averaging)])
def test_what_is_refused_names_a_way_out_that_is_right(name, kind):
    network = network_with(kind(name=name))
    with pytest.raises(SecondDerivativeError, match=f'{name}.*products="differences".*critical_learning_rate'):
        measured(network, "exact").sharpness()
    found = measured(network).sharpness()
    assert found.eigenvalue == pytest.approx(exact_sharpness(network, written_out(name)), rel=1e-3)
    assert found.converged
    assert 0 < found.residual < 1e-3 * found.eigenvalue


SMOOTH = {
    "batch normalisation": {"batch_norm": "batch"},
    "moving statistics": {"batch_norm": "inference"},
    "in chunks": {"chunk_size": 8},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_a_smooth_network_has_the_sharpness_that_exact_products_find(name):
    network = network_with(layers.BatchNormalization(), kernel_regularizer="l2")
    exact, found = (measured(network, products, **SMOOTH[name]).sharpness() for products in ("exact", "differences"))
    assert found.eigenvalue == pytest.approx(exact.eigenvalue, rel=1e-3)
    assert found.converged


@pytest.mark.slow
def test_what_a_preconditioner_makes_of_the_noise_counts_for_what_has_converged():
    network, optimizer = network_with(layers.BatchNormalization()), keras.optimizers.Adam(0.01, epsilon=1e-3)
    exact, found = (measured(network, products, optimizer).sharpness() for products in ("exact", "differences"))
    assert abs(found.eigenvalue - exact.eigenvalue) < found.residual < 1e-2 * exact.eigenvalue
    assert found.converged == (found.residual < 1e-3 * found.eigenvalue)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_what_kinks_leave_is_told_and_not_called_converged(seed):
    network = network_with(layers.Dense(64, "relu"), layers.Dense(64, "relu"), activation="relu")
    rng = np.random.default_rng(seed)
    for weight in network.trainable_variables:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape))
    exact, found = (measured(network, products).sharpness() for products in ("exact", "differences"))
    assert exact.converged
    error = abs(found.eigenvalue - exact.eigenvalue)
    assert error < 2 * found.residual
    assert not found.converged or error < 1e-3 * exact.eigenvalue


@pytest.mark.slow
def test_weights_stay_as_they_are_while_a_model_trains_and_is_measured():
    network, other = (network_with(Stopped()) for _ in range(2))
    model = measured(network, every=2, verify=False)
    plain = measured(other, every=0)
    history, _ = (each.fit(X, LABELS, batch_size=8, epochs=2, verbose=0, shuffle=False) for each in (model, plain))
    for weight, expected in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert history.history["sharpness"][-1] == pytest.approx(exact_sharpness(network, written_out("stopped")), rel=1e-3)


def test_the_callback_measures_so_too():
    network = network_with(Averaging())
    network.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = SharpnessCallback((X, LABELS), products="differences")
    network.fit(X, LABELS, epochs=1, verbose=0, callbacks=[callback])
    expected = exact_sharpness(network, written_out("averaging"))
    assert callback.history[-1].sharpness == pytest.approx(expected, rel=1e-3)


def test_a_layer_that_draws_random_numbers_is_still_refused():
    class Noisy(layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    with pytest.raises(ValueError, match="random numbers"):
        measured(network_with(Noisy())).sharpness()


@pytest.mark.skipif(not hasattr(layers.BatchNormalization(), "renorm"), reason="this Keras has no renormalisation")
def test_a_gradient_that_is_no_derivative_of_the_loss_does_not_converge():
    assert not measured(network_with(layers.BatchNormalization(renorm=True))).sharpness().converged


def test_the_way_of_products_is_saved_with_a_model(tmp_path):
    model = measured(network_with())
    model.fit(X, LABELS, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").get_config()["products"] == "differences"


@pytest.mark.parametrize("make", [lambda **how: SharpnessModel(network_with(), **how), SharpnessCallback])
def test_another_way_is_refused(make):
    with pytest.raises(ValueError, match="`products` must be one of 'exact', 'differences'"):
        make(measurement=(X, LABELS), products="finite")

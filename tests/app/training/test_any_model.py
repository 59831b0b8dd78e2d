"""SharpnessModel around models that this project did not build, and what is saved of it."""

import logging
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases import HalfMeanSquaredError, Lanczos, PowerIteration, SharpnessModel
from sharpness_phases.models import FCN

X, Y = classification(24, dtype=np.float32)


def functional(*middle):
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="tanh")(inputs)
    for layer in middle:
        x = layer(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Has no weights before it is called, and drops half of its units while training."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(8, activation="tanh")
        self.drop = keras.layers.Dropout(0.5)
        self.out = keras.layers.Dense(3)

    def call(self, inputs, training=None):
        return self.out(self.drop(self.hidden(inputs), training=training))


def wrapped(network, optimizer=None, loss=None, **settings):
    model = SharpnessModel(network, **{"measurement": (X, Y)} | settings)
    optimizer = optimizer or keras.optimizers.SGD(0.1)
    model.compile(optimizer=optimizer, loss=loss or HalfMeanSquaredError(), jit_compile=False)
    return model


def exact_sharpness(network, x=X, y=Y):
    return np.linalg.eigvalsh(dense_hessian(operator_of(network, HalfMeanSquaredError(), x, y)))[-1]


@pytest.mark.parametrize("kind", [functional, Subclassed])
def test_functional_and_subclassed_models_are_trained_and_measured(kind):
    model = wrapped(kind())
    history = model.fit(X, Y, batch_size=8, verbose=0, validation_data=(X, Y)).history
    assert history["sharpness"][-1] == pytest.approx(exact_sharpness(model.network), rel=1e-3)
    assert np.isfinite(history["val_loss"][-1])


def test_dropout_and_noise_are_off_while_measuring_and_on_while_training():
    network = functional(keras.layers.Dropout(0.5, seed=1), keras.layers.GaussianNoise(1.0, seed=1))
    model = wrapped(network, optimizer=keras.optimizers.SGD(0.0))
    assert model.sharpness().eigenvalue == pytest.approx(exact_sharpness(network), rel=1e-3)
    losses = model.fit(X, Y, batch_size=24, epochs=2, verbose=0).history["loss"]
    assert losses[0] != losses[1]  # at learning rate 0 only dropout and noise can tell them apart
    assert float(model.measure().loss) == pytest.approx(float(model.measure().loss), rel=1e-6)


class Biased(keras.layers.Layer):
    """Adds what it is handed."""

    def call(self, inputs, bias):
        return tf.tanh(inputs + bias)


class Handing(keras.Model):
    """Hands one of its weights to a layer, as XLNet hands its biases to its attention."""

    def __init__(self):
        super().__init__()
        self.bias = self.add_weight(shape=(6,), initializer=keras.initializers.RandomNormal(seed=0))
        self.biased, self.out = Biased(), keras.layers.Dense(3)

    def call(self, inputs):
        return self.out(self.biased(inputs, bias=self.bias))


def test_a_model_that_hands_its_weights_to_layers_is_measured():
    model = wrapped(Handing())
    assert model.sharpness().eigenvalue == pytest.approx(exact_sharpness(model.network), rel=1e-3)


@pytest.mark.slow
def test_frozen_batch_normalization_is_measured_with_its_moving_statistics():
    norm = keras.layers.BatchNormalization()
    network = functional(norm)
    norm.trainable = False
    norm.moving_mean.assign(np.linspace(-1, 1, 8))
    norm.moving_variance.assign(np.linspace(0.5, 2, 8))
    model = wrapped(network)
    history = model.fit(X, Y, batch_size=8, verbose=0).history
    assert history["sharpness"][-1] == pytest.approx(exact_sharpness(network), rel=1e-3)
    np.testing.assert_allclose(norm.moving_mean, np.linspace(-1, 1, 8), rtol=1e-6)


@pytest.mark.long
def test_a_network_of_keras_applications_is_measured():
    network = keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=3, classifier_activation=None)
    x, y = classification(8, (32, 32, 3), dtype=np.float32)
    model = wrapped(network, measurement=(x, y))
    result = model.sharpness()
    assert result.converged
    product = operator_of(network, HalfMeanSquaredError(), x, y).linearize().matvec(tf.constant(result.eigenvector))
    np.testing.assert_allclose(product, result.eigenvalue * result.eigenvector, atol=3e-3 * result.eigenvalue)
    assert np.isfinite(model.fit(x, y, batch_size=4, verbose=0).history["sharpness"][-1])


@pytest.mark.slow
def test_weights_of_examples_and_classes_weigh_the_steps_and_not_the_measurement():
    start = functional().get_weights()

    def trained(**weights):
        network = functional()
        network.set_weights(start)
        model = wrapped(network)
        before = model.sharpness().eigenvalue
        history = model.fit(X, Y, batch_size=24, verbose=0, **weights).history
        return before, history["sharpness"][-1], network

    before, plain, _ = trained()
    for weights in ({"class_weight": {0: 5.0, 1: 1.0, 2: 0.0}}, {"sample_weight": np.linspace(0, 3, 24)}):
        same, after, network = trained(**weights)
        assert same == pytest.approx(before, rel=1e-5)
        assert after == pytest.approx(exact_sharpness(network), rel=1e-3)
        assert after != pytest.approx(plain, rel=1e-4)


def test_without_a_loss_of_its_own_it_takes_that_of_the_network():
    network = functional()
    network.compile(optimizer="adam", loss=HalfMeanSquaredError())
    model = SharpnessModel(network, measurement=(X, Y))
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    assert model.sharpness().eigenvalue == pytest.approx(exact_sharpness(network), rel=1e-3)
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][-1])


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(functional, marks=pytest.mark.slow),
        pytest.param(Subclassed, marks=pytest.mark.slow),
        lambda: FCN(width=6, depth=3).build((6,), 3, seed=0),
    ],
)
def test_a_saved_model_predicts_and_trains_on_as_if_it_had_not_been_saved(network, tmp_path):
    model = wrapped(
        network(),
        keras.optimizers.SGD(0.1, momentum=0.9),
        solver=Lanczos(1e-4, 50, 8),
        every=2,
        chunk_size=7,
        batch_norm="inference",
    )
    model.fit(X, Y, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X), model(X), rtol=1e-6)
    assert vars(loaded.solver) == vars(model.solver)
    settings = loaded.get_config()
    assert (loaded.every, settings["chunk_size"], settings["batch_norm"]) == (2, 7, "inference")
    loaded.measure_on(X, Y)
    assert loaded.sharpness().eigenvalue == pytest.approx(model.sharpness().eigenvalue, rel=1e-3)
    if not isinstance(model.network, Subclassed):  # its dropout draws anew
        for each in (model, loaded):  # the optimizer's momentum was saved, too
            each.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
        np.testing.assert_allclose(loaded(X), model(X), rtol=1e-5)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_model_that_was_measured_and_not_trained_is_saved_without_a_warning(tmp_path):
    network = keras.Sequential([keras.layers.Dense(3)])
    model = wrapped(network, measurement=(X, Y))
    before = model.sharpness().eigenvalue
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.measure_on(X, Y)
    assert loaded.sharpness().eigenvalue == pytest.approx(before, rel=1e-6)


@pytest.mark.slow
def test_measuring_after_loading_needs_a_set_and_says_so(tmp_path, caplog):
    model = wrapped(functional())
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"measure_on\(x, y\).*not saved"):
        loaded.sharpness()
    with caplog.at_level(logging.WARNING):
        assert "sharpness" not in loaded.fit(X, Y, verbose=0).history
    assert "measure_on" in caplog.text
    loaded.measure_on(X, Y)
    assert "sharpness" in loaded.fit(X, Y, verbose=0).history


@pytest.mark.slow
def test_a_saved_model_is_loaded_by_a_process_that_imports_nothing_else_of_the_project(tmp_path):
    model = wrapped(functional(), solver=PowerIteration(7, tolerance=0.1))
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    code = "import keras; from sharpness_phases import SharpnessModel; m = keras.models.load_model('model.keras'); " + (
        "print(m.compiled, m.solver.iterations, m.loss.name)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["True", "7", "half_mean_squared_error"]


@keras.saving.register_keras_serializable("tests")
class OwnSolver(Lanczos):
    """A solver of the user's, which Keras can serialise."""

    def get_config(self):
        return {"tolerance": self.tolerance}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_a_solver_of_the_users_is_saved_as_keras_saves_objects():
    model = SharpnessModel(functional(), solver=OwnSolver(0.05))
    copy = SharpnessModel.from_config(model.get_config())
    assert type(copy.solver) is OwnSolver
    assert copy.solver.tolerance == 0.05


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "weights"])
def test_checkpoints_keep_the_flattest_weights(whole, tmp_path):
    path = tmp_path / ("best.keras" if whole else "best.weights.h5")
    model = wrapped(functional())
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, save_weights_only=not whole, monitor="sharpness", mode="min", save_best_only=True
    )
    history = model.fit(X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[checkpoint]).history
    if whole:
        best = keras.models.load_model(path)
        best.measure_on(X, Y)
    else:
        best = wrapped(functional())
        best.build((None, 6))
        best.load_weights(path)
    assert best.sharpness().eigenvalue == pytest.approx(min(history["sharpness"]), rel=1e-3)


@pytest.mark.slow
def test_another_measurement_set_counts_from_the_next_step_on():
    keras.utils.set_random_seed(0)  # of some networks both sets have nearly the same sharpness
    model = wrapped(functional())
    model.fit(X, Y, batch_size=24, verbose=0)
    model.measure_on(X[:6], Y[:6])
    found = model.fit(X, Y, batch_size=24, verbose=0).history["sharpness"][-1]
    assert found == pytest.approx(exact_sharpness(model.network, X[:6], Y[:6]), rel=1e-3)
    assert found != pytest.approx(exact_sharpness(model.network), rel=1e-2)

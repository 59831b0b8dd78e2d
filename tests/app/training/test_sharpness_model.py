import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases import HalfMeanSquaredError, Lanczos, PowerIteration, SharpnessModel
from sharpness_phases.models import FCN
from sharpness_phases.training.second_derivatives import SecondDerivativeError


def compiled(network=None, jit_compile=False, learning_rate=0.1, loss=None, **settings):
    network = network or FCN(width=6, depth=3).build((6,), 3, seed=0)
    measurement = classification(24, network.input_shape[1:], dtype=np.float32)
    model = SharpnessModel(network, **{"measurement": measurement} | settings)
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate), loss=loss or HalfMeanSquaredError(), jit_compile=jit_compile
    )
    return model


def exact_sharpness(model):
    x, y = model.measurement
    return np.linalg.eigvalsh(dense_hessian(operator_of(model.network, HalfMeanSquaredError(), x, y)))[-1]


@pytest.mark.parametrize("solver", [Lanczos(), PowerIteration(200)], ids=["lanczos", "power"])
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "XLA"])
def test_the_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(jit_compile, solver):
    model = compiled(jit_compile=jit_compile, solver=solver)
    assert model.sharpness().eigenvalue == pytest.approx(exact_sharpness(model), rel=1e-3)


def test_fit_tracks_the_sharpness_at_the_weights_after_the_step():
    model = compiled()
    x, y = classification(24, dtype=np.float32)
    history = model.fit(x, y, batch_size=24, epochs=3, verbose=0, shuffle=False)
    assert len(history.history["sharpness"]) == 3
    assert history.history["sharpness"][-1] == pytest.approx(exact_sharpness(model), rel=1e-3)


def test_training_is_that_of_plain_keras():
    wrapped, plain = (FCN(width=6, depth=3).build((6,), 3, seed=0) for _ in range(2))
    x, y = classification(24, dtype=np.float32)
    compiled(wrapped).fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
    plain.compile(optimizer=keras.optimizers.SGD(0.1), loss=HalfMeanSquaredError(), jit_compile=False)
    plain.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
    for a, b in zip(wrapped.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_every_k_steps_repeats_the_last_value_between_measurements():
    model = compiled(every=2)
    values = [
        float(model.train_on_batch(*classification(8, seed=seed, dtype=np.float32), return_dict=True)["sharpness"])
        for seed in range(5)
    ]
    assert np.isnan(values[0])
    assert values[1] == values[2]
    assert values[3] == values[4]
    assert values[1] != values[3]


def test_metrics_and_callbacks_see_the_sharpness(tmp_path):
    network = FCN(width=6, depth=3).build((6,), 3, seed=0)
    model = SharpnessModel(network, measurement=classification(24, dtype=np.float32))
    model.compile(optimizer="sgd", loss="mse", metrics=["accuracy"], jit_compile=False)
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["sharpness"]))
    x, y = classification(24, dtype=np.float32)
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = model.fit(x, y, validation_data=(x, y), batch_size=8, verbose=0, callbacks=[callback, log])
    assert {"loss", "accuracy", "val_loss", "sharpness"} <= set(history.history)
    assert len(seen) == 3
    assert "sharpness" in (tmp_path / "log.csv").read_text()


def test_any_keras_model_with_integer_labels_can_be_wrapped():
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    x = keras.layers.MaxPooling2D()(x)
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(x))
    x, y = classification(16, (8, 8, 1), dtype=np.float32)
    labels = y.argmax(1)
    model = SharpnessModel(keras.Model(inputs, outputs), measurement=(x, labels))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss, jit_compile=False)
    history = model.fit(x, labels, batch_size=8, verbose=0)
    assert history.history["sharpness"][-1] > 0


def test_the_regularizer_belongs_to_the_loss_whose_sharpness_is_measured():
    def network(strength):
        inputs = keras.Input((6,))
        dense = keras.layers.Dense(3, use_bias=False, kernel_regularizer=keras.regularizers.L2(strength))
        return keras.Model(inputs, dense(inputs))

    keras.utils.set_random_seed(0)
    plain, regularized = (compiled(network(strength)).sharpness().eigenvalue for strength in (0.0, 5.0))
    assert regularized == pytest.approx(plain + 10.0, rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_give_nan_and_no_exception(bad):
    model = compiled()
    model.sharpness()
    model.network.set_weights([np.full_like(w, bad) for w in model.network.get_weights()])
    assert np.isnan(model.sharpness().eigenvalue)
    assert np.isnan(model.sharpness(warm_start=True).eigenvalue)


def test_a_measurement_after_nan_weights_is_right_again():
    model = compiled()
    weights = model.network.get_weights()
    before = model.sharpness().eigenvalue
    model.network.set_weights([np.full_like(w, np.nan) for w in weights])
    model.sharpness()
    model.network.set_weights(weights)
    assert model.sharpness(warm_start=True).eigenvalue == pytest.approx(before, rel=1e-3)


def test_training_that_diverges_goes_on_with_nan():
    model = compiled(learning_rate=1e6)
    x, y = classification(24, dtype=np.float32)
    assert np.isnan(model.fit(x, y, batch_size=4, epochs=4, verbose=0).history["sharpness"][-1])


@pytest.mark.slow
def test_a_measurement_does_not_depend_on_those_before_it():
    model = compiled(solver=Lanczos(tolerance=1e-4))
    first, again = model.sharpness(), model.sharpness(warm_start=True)
    assert (again.eigenvalue, again.hvps) == (first.eigenvalue, first.hvps)


@pytest.mark.slow
def test_chunks_of_the_measurement_set_change_nothing_but_memory():
    whole, parts = compiled(), compiled(chunk_size=7)
    assert parts.sharpness().eigenvalue == pytest.approx(whole.sharpness().eigenvalue, rel=1e-4)


def test_nothing_is_retraced_for_other_weights_starts_or_learning_rates():
    model = compiled()
    for seed in range(3):
        model.network.set_weights(FCN(width=6, depth=3).build((6,), 3, seed=seed).get_weights())
        model.optimizer.learning_rate = 0.1 * (seed + 1)
        model.sharpness()
        model.measure()
        model.evaluate_measurement()
    model.fit(*model.measurement, verbose=0)
    assert model.traces == {"measure": 1, "evaluate": 1}


def test_loss_and_accuracy_are_those_of_keras():
    model = compiled()
    x, y = model.measurement
    loss, accuracy = (float(value) for value in model.evaluate_measurement())
    outputs = model.network(x).numpy()
    assert loss == pytest.approx(0.5 * np.mean((outputs - y) ** 2), rel=1e-5)
    assert accuracy == pytest.approx(np.mean(outputs.argmax(1) == y.numpy().argmax(1)))


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_a_measurement_brings_loss_and_accuracy_of_its_own_forward_pass(chunk_size):
    model = compiled(chunk_size=chunk_size)
    found = model.measure()
    evaluated = [float(value) for value in model.evaluate_measurement()]
    assert [float(found.loss), float(found.accuracy)] == pytest.approx(evaluated, rel=1e-5)
    assert float(model.loss_on_measurement()) == pytest.approx(float(found.loss), rel=1e-5)
    assert float(found.sharpness.eigenvalue) == pytest.approx(exact_sharpness(model), rel=1e-3)


class HandMadeNorm(keras.layers.Layer):
    """A normalisation of a kind that no list of types knows, with the fault that `tf.nn.moments` has."""

    def call(self, x):
        mean = tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean((x - tf.stop_gradient(mean)) ** 2, -1, keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-3)


def test_a_wrong_layer_of_unknown_type_is_found_by_the_self_check_and_named():
    inputs = keras.Input((6,))
    x = HandMadeNorm(name="home_made")(keras.layers.Dense(8, activation="tanh")(inputs))
    network = keras.Model(inputs, keras.layers.Dense(3)(x))
    with pytest.raises(SecondDerivativeError, match="home_made"):
        compiled(network).sharpness()
    assert compiled(network, verify=False).sharpness().eigenvalue > 0


@pytest.mark.parametrize("loss", [HalfMeanSquaredError(), keras.losses.CategoricalCrossentropy(from_logits=True)])
@pytest.mark.parametrize("seed", range(4))
def test_the_self_check_passes_relu_networks_with_zero_output(seed, loss):
    network = FCN(width=256, depth=8, output_layer="zero").build((28, 28, 1), 3, seed=seed)
    model = compiled(network, loss=loss)
    assert model.tracker.operator.size > 0  # its many kinks once looked like a wrong second derivative


def test_the_self_check_runs_inside_fit_too():
    inputs = keras.Input((6,))
    x = HandMadeNorm()(keras.layers.Dense(8, activation="tanh")(inputs))
    x, y = keras.Model(inputs, keras.layers.Dense(3)(x)), classification(24, dtype=np.float32)
    with pytest.raises(SecondDerivativeError):
        compiled(x).fit(*y, verbose=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": -1}, "`every`"),
        ({"every": True}, "`every`"),
        ({"measurement": np.zeros((3, 6))}, "pair"),
        ({"measurement": (np.zeros((3, 6)), np.zeros((2, 3)))}, r"\[2, 3\]"),
        ({"measurement": (np.zeros((0, 6)), np.zeros((0, 3)))}, "at least one"),
    ],
)
def test_an_impossible_setting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        compiled(**settings)


def test_measuring_without_a_set_or_before_compile_says_what_is_missing():
    network = FCN(width=6, depth=3).build((6,), 3, seed=0)
    with pytest.raises(ValueError, match="measurement=\\(x, y\\)"):
        SharpnessModel(network).sharpness()
    with pytest.raises(ValueError, match="compile"):
        SharpnessModel(network, measurement=classification(4, dtype=np.float32)).sharpness()


def test_without_a_measurement_set_it_trains_like_the_network():
    model = compiled(measurement=None)
    x, y = classification(24, dtype=np.float32)
    assert "sharpness" not in model.fit(x, y, verbose=0).history

import keras
import numpy as np
import pandas as pd
import pytest
from problems import classification, dense_hessian, operator_of

from sharpness_phases import HalfMeanSquaredError, SharpnessCallback
from sharpness_phases.training.second_derivatives import SecondDerivativeError

X, Y = classification(24, dtype=np.float32)
STEPS = 3  # of an epoch


def network(*middle):
    layers = [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), *middle, keras.layers.Dense(3)]
    return keras.Sequential(layers)


def compiled(model=None, optimizer=None, loss=None, **settings):
    model = model or network()
    optimizer = optimizer or keras.optimizers.SGD(0.1)
    model.compile(optimizer=optimizer, loss=loss or HalfMeanSquaredError(), jit_compile=False, **settings)
    return model


def fitted(model, callback, epochs=2, more=(), **settings):
    return model.fit(X, Y, batch_size=24 // STEPS, epochs=epochs, verbose=0, callbacks=[callback, *more], **settings)


def exact(model):
    """Loss and sharpness at the present weights."""
    loss = 0.5 * np.mean((model(X).numpy() - Y) ** 2)
    return loss, np.linalg.eigvalsh(dense_hessian(operator_of(model, HalfMeanSquaredError(), X, Y)))[-1]


@pytest.mark.slow
def test_it_measures_at_the_weights_between_two_steps_and_not_means_of_the_epoch():
    class Exactly(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.values = []

        def on_train_begin(self, logs=None):
            self.values.append(exact(self.model))

        def on_train_batch_end(self, batch, logs=None):
            self.values.append(exact(self.model))

    callback, exactly = SharpnessCallback((X, Y), unit="steps"), Exactly()
    fitted(compiled(optimizer=keras.optimizers.SGD(1.5)), callback, more=[exactly])
    assert [at.step for at in callback.history] == list(range(2 * STEPS + 1))
    found = [(at.loss, at.sharpness) for at in callback.history]
    np.testing.assert_allclose(found, exactly.values, rtol=1e-3)


@pytest.mark.parametrize(
    ("unit", "every", "steps"),
    [
        pytest.param("epochs", 1, [0, 3, 6, 9, 12], marks=pytest.mark.slow),
        ("epochs", 2, [0, 6, 12]),
        ("steps", 5, [0, 5, 10]),
        pytest.param("steps", 100, [0], marks=pytest.mark.slow),
    ],
)
def test_it_measures_before_training_and_after_every_kth_step_or_epoch(unit, every, steps):
    callback = SharpnessCallback((X, Y), every=every, unit=unit)
    history = fitted(compiled(), callback, epochs=4).history
    assert [at.step for at in callback.history] == steps
    assert len(history["sharpness"]) == len(history["loss"]) == 4
    assert history["sharpness"][-1] == callback.history[-1].sharpness


def test_several_steps_in_one_execution_are_measured_at_its_end():
    callback = SharpnessCallback((X, Y), every=2, unit="steps")
    fitted(compiled(steps_per_execution=3), callback)
    assert [at.step for at in callback.history] == [0, 3, 6]


def test_the_threshold_is_the_edge_at_the_learning_rate_that_was_in_force():
    callback = SharpnessCallback((X, Y))
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    history = fitted(compiled(), callback, epochs=3, more=[schedule]).history
    assert history["sharpness/threshold"] == pytest.approx([20, 40, 60])
    assert pd.DataFrame(callback.history)["learning_rate"].tolist() == pytest.approx([0.1, 0.1, 0.05, 0.1 / 3])


@pytest.mark.parametrize(
    ("optimizer", "edge"),
    [
        pytest.param(keras.optimizers.SGD(0.1, momentum=0.9), 38.0, marks=pytest.mark.slow),
        pytest.param(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), 3.8 / 0.28, marks=pytest.mark.slow),
        (keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=2.0), 1.9 * 18),
        (keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([4], [0.2, 0.1])), 20.0),
    ],
    ids=["momentum", "nesterov", "weight decay", "schedule"],
)
def test_the_threshold_is_the_edge_of_the_optimizer_it_meets(optimizer, edge):
    callback = SharpnessCallback((X, Y))
    history = fitted(compiled(optimizer=optimizer), callback).history
    assert history["sharpness/threshold"][-1] == callback.history[-1].threshold == pytest.approx(edge, rel=1e-6)


def test_an_optimizer_whose_edge_is_not_known_has_no_threshold_and_that_is_said_once(caplog):
    callback = SharpnessCallback((X, Y), unit="steps")
    with caplog.at_level("WARNING"):
        history = fitted(compiled(optimizer=keras.optimizers.Lion(0.01)), callback).history
    assert "sharpness" in history
    assert "sharpness/threshold" not in history
    assert {at.threshold for at in callback.history} == {None}
    said = [record.getMessage() for record in caplog.records if "edge of Lion is not known" in record.getMessage()]
    assert len(said) == 1


def test_callbacks_behind_it_see_the_sharpness(tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    board = keras.callbacks.TensorBoard(tmp_path / "board")
    stop = keras.callbacks.EarlyStopping("sharpness", mode="max", min_delta=1e9)
    history = fitted(compiled(), SharpnessCallback((X, Y)), epochs=3, more=[log, board, stop]).history
    table = pd.read_csv(tmp_path / "log.csv")
    assert table["sharpness"].tolist() == pytest.approx(history["sharpness"])
    assert len(table) == 2  # stopped by a sharpness that did not grow by so much
    written = b"".join(path.read_bytes() for path in (tmp_path / "board" / "train").iterdir())
    assert b"sharpness/threshold" in written


def test_training_is_the_same_as_without_it():
    start = network(keras.layers.Dropout(0.5, seed=3)).get_weights()

    def trained(*callbacks):
        model = compiled(network(keras.layers.Dropout(0.5, seed=3)), optimizer=keras.optimizers.Adam(0.01))
        model.set_weights(start)
        model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
        return model.get_weights()

    for plain, watched in zip(trained(), trained(SharpnessCallback((X, Y), unit="steps")), strict=True):
        np.testing.assert_array_equal(plain, watched)


@pytest.mark.slow
def test_a_second_fit_starts_a_new_history_with_the_loss_compiled_last():
    model, callback = compiled(), SharpnessCallback((X, Y))
    fitted(model, callback)
    compiled(model, loss=keras.losses.MeanSquaredError())  # twice the loss
    fitted(model, callback, epochs=1)
    loss, sharpness = exact(model)
    assert [at.step for at in callback.history] == [0, STEPS]
    assert callback.history[-1].loss == pytest.approx(2 * loss, rel=1e-4)
    assert callback.history[-1].sharpness == pytest.approx(2 * sharpness, rel=1e-3)


class OwnLoss(keras.Model):
    """A model that computes its loss itself, with no argument for training."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def call(self, inputs):
        return self.inner(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 0.5 * keras.ops.mean(keras.ops.square(y_pred - y))


def test_the_loss_may_be_one_that_a_subclass_computes():
    model = OwnLoss()
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    callback = SharpnessCallback((X, Y))
    fitted(model, callback)
    assert callback.history[-1].sharpness == pytest.approx(exact(model.inner)[1], rel=1e-3)


class Stopped(keras.layers.Layer):
    """Stops a gradient that its first derivative does not need."""

    def call(self, x):
        deviation = x - keras.ops.stop_gradient(keras.ops.mean(x, -1, keepdims=True))
        return x / keras.ops.sqrt(1e-3 + keras.ops.mean(deviation**2, -1, keepdims=True))


def test_a_model_with_wrong_second_derivatives_is_refused_before_the_first_step():
    model = compiled(network(Stopped(name="norm_5")))
    before = model.get_weights()
    with pytest.raises(SecondDerivativeError, match="norm_5"):
        fitted(model, SharpnessCallback((X, Y)))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("settings", "message"), [({"every": 0}, "`every`"), ({"every": True}, "`every`"), ({"unit": "batches"}, "'steps'")]
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SharpnessCallback((X, Y), **settings)

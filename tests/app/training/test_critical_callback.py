import math

import keras
import numpy as np
import pandas as pd
import pytest
from problems import classification

from sharpness_phases import CriticalLearningRateCallback, critical_learning_rate

X, Y = classification(24, dtype=np.float32)
NAMES = ["eta_c", "lambda_c", "lambda_dir", "forwards", "island", "censored"]


def compiled(optimizer=None, middle=(), seed=0, **settings):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), *middle, keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **(settings or {"run_eagerly": True}))
    return model


def fitted(model, *callbacks, epochs=2, **settings):
    return model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **settings)


@pytest.mark.parametrize(
    ("unit", "every", "steps"),
    [("steps", 1, [0, 1, 2, 3, 4, 5, 6]), ("steps", 4, [0, 4]), ("epochs", 1, [0, 3, 6]), ("epochs", 2, [0, 6])],
)
def test_it_measures_before_training_and_after_every_kth_step_or_epoch(unit, every, steps):
    callback = CriticalLearningRateCallback((X, Y), every=every, unit=unit)
    history = fitted(compiled(), callback).history
    assert [at.step for at in callback.history] == steps
    assert sorted(history) == sorted(["loss", *NAMES])
    assert history["eta_c"][-1] == callback.history[-1].eta_c
    assert history["forwards"][-1] == callback.history[-1].forwards


def test_several_steps_in_one_execution_are_measured_at_its_end():
    callback = CriticalLearningRateCallback((X, Y), every=2)
    fitted(compiled(steps_per_execution=3, jit_compile=False), callback)
    assert [at.step for at in callback.history] == [0, 3, 6]


def test_a_warm_search_agrees_with_a_cold_one_and_is_short():
    class Cold(keras.callbacks.Callback):
        found = []

        def on_train_batch_end(self, batch, logs=None):
            self.found.append(critical_learning_rate(self.model, (X, Y)))

    callback, cold = CriticalLearningRateCallback((X, Y)), Cold()
    fitted(compiled(keras.optimizers.Adam(0.01)), callback, cold, epochs=1)
    warm = callback.history[1:]
    assert [at.eta_c for at in warm] == pytest.approx([at.eta_c for at in cold.found], rel=1 / 16)
    assert [at.lambda_dir for at in warm] == pytest.approx([at.lambda_dir for at in cold.found], rel=1e-5)
    assert max(at.forwards for at in warm) <= 8


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"run_eagerly": True}, id="eager", marks=pytest.mark.slow),
        pytest.param({"jit_compile": False}, id="graph"),
        pytest.param({"jit_compile": True}, id="xla", marks=pytest.mark.slow),
    ],
)
def test_training_is_the_same_as_without_it(settings):
    def trained(*callbacks):
        middle = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=3)]
        model = compiled(keras.optimizers.Adam(0.01), middle, **settings)
        history = fitted(model, *callbacks, epochs=1).history
        return [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables), history["loss"]]

    for plain, watched in zip(trained(), trained(CriticalLearningRateCallback((X, Y))), strict=True):
        np.testing.assert_array_equal(plain, watched)


def test_callbacks_behind_it_see_what_it_found(tmp_path):
    table = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    board = keras.callbacks.TensorBoard(tmp_path / "board", update_freq=1)
    stop = keras.callbacks.EarlyStopping("eta_c", mode="max", min_delta=1e9)
    history = fitted(compiled(), CriticalLearningRateCallback((X, Y)), table, board, stop, epochs=3).history
    assert pd.read_csv(tmp_path / "log.csv")["eta_c"].tolist() == pytest.approx(history["eta_c"])
    assert len(history["eta_c"]) == 2  # stopped by an eta_c that did not grow by so much
    written = b"".join(path.read_bytes() for path in (tmp_path / "board" / "train").iterdir())
    assert all(f"epoch_{name}".encode() in written and f"batch_{name}".encode() in written for name in NAMES)


def test_the_measurements_are_a_parquet_file(tmp_path):
    path = tmp_path / "new" / "critical.parquet"
    callback = CriticalLearningRateCallback((X, Y), every=2, parquet=path)
    fitted(compiled(), callback)
    table = pd.read_parquet(path)
    assert table.columns.tolist() == ["step", "loss", "learning_rate", *NAMES]
    assert table["eta_c"].tolist() == [at.eta_c for at in callback.history]
    assert table["censored"].tolist() == [""] * 4
    assert [file.name for file in path.parent.iterdir()] == ["critical.parquet"]


def test_a_censored_rate_is_a_number_in_the_logs(tmp_path):
    model = compiled(keras.optimizers.SGD(0.1))
    model.compile(keras.optimizers.SGD(0.1), lambda y, outputs: keras.ops.sum(outputs) * 0.0, run_eagerly=True)
    callback = CriticalLearningRateCallback((X, Y), parquet=tmp_path / "c.parquet")
    history = fitted(model, callback).history
    assert history["censored"] == [1.0, 1.0]
    assert history["eta_c"] == [math.inf, math.inf]
    assert pd.read_parquet(tmp_path / "c.parquet")["censored"].tolist() == ["high"] * 7


def said(caplog):
    return [record.getMessage() for record in caplog.records if "CriticalLearningRateCallback" in record.getMessage()]


def test_a_rate_above_eta_c_is_warned_of_once_with_what_to_do(caplog):
    model = compiled(keras.optimizers.SGD(50.0))
    callback = CriticalLearningRateCallback((X, Y))
    fitted(model, callback, epochs=1, steps_per_epoch=2)
    (warning,) = said(caplog)
    assert "step 0: the learning rate 50 is above eta_c" in warning
    assert f"Lower it to at most {callback.history[0].eta_c / 2:.2g}" in warning


class Sharpness(keras.callbacks.Callback):
    """Puts a sharpness into the logs."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def on_train_batch_end(self, batch, logs=None):
        logs["sharpness"] = self.value


@pytest.mark.parametrize(
    ("optimizer", "sharpness", "limit"),
    [
        (keras.optimizers.SGD(0.1), 19.0, None),
        (keras.optimizers.SGD(0.1), 25.0, "0.08"),
        (keras.optimizers.SGD(0.1, momentum=0.9), 37.0, None),
        (keras.optimizers.SGD(0.1, momentum=0.9), 40.0, "0.095"),
        (keras.optimizers.Adam(0.01), 1e6, None),
    ],
)
def test_a_rate_above_the_edge_but_below_eta_c_is_warned_of_where_the_edge_is_known(
    caplog, optimizer, sharpness, limit
):
    fitted(compiled(optimizer), Sharpness(sharpness), CriticalLearningRateCallback((X, Y), every=2), epochs=1)
    assert [f"above the stability edge, {limit}:" in warning for warning in said(caplog)] == [True] * bool(limit)


def test_a_training_that_diverges_goes_on_being_measured_and_is_told_of(caplog):
    callback = CriticalLearningRateCallback((X, Y), every=3)
    model = compiled(keras.optimizers.SGD(1e30))
    fitted(model, callback)
    assert math.isnan(callback.history[-1].eta_c)
    assert "above eta_c" in said(caplog)[0]


@pytest.mark.slow
def test_a_second_fit_starts_a_new_history_with_the_loss_compiled_last():
    model, callback = compiled(), CriticalLearningRateCallback((X, Y), unit="epochs")
    fitted(model, callback)
    model.compile(
        keras.optimizers.SGD(0.1), lambda y, outputs: 4 * keras.losses.mean_squared_error(y, outputs), run_eagerly=True
    )
    fitted(model, callback, epochs=1)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    assert [at.step for at in callback.history] == [0, 3]
    expected = critical_learning_rate(model, (X, Y))
    assert callback.history[-1].eta_c == pytest.approx(expected.eta_c / 4, rel=1 / 16)
    assert callback.history[-1].loss == pytest.approx(4 * expected.loss, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "`every`"),
        ({"every": True}, "`every`"),
        ({"unit": "batches"}, "'epochs'"),
        ({"tolerance": 0}, "`tolerance`"),
        ({"examples": -1}, "`examples`"),
        ({"against": (X, Y[:3])}, "`against`"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CriticalLearningRateCallback((X, Y), **settings)

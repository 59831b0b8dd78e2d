"""`SharpnessModel` and `SharpnessCallback` with optimizers that divide the gradient, against dense Hessians."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases import HalfMeanSquaredError, SharpnessCallback, SharpnessModel

X, Y = classification(24, dtype=np.float32)
RATE = 0.02


def network():
    layers = [keras.Input((6,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)]
    return keras.Sequential(layers)


def dense(net):
    return dense_hessian(operator_of(net, HalfMeanSquaredError(), X, Y))


def gradient(net):
    """The gradient of the loss on all examples, flat, float64."""
    with tf.GradientTape() as tape:
        loss = 0.5 * tf.reduce_mean((net(X) - Y) ** 2)
    parts = tape.gradient(loss, [variable.value for variable in net.trainable_variables])
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)


def adam_divisor(seen, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    """P of Adam as Kingma & Ba write it, with Keras' place of epsilon, from all gradients so far."""
    second, largest = 0.0, 0.0
    for gradient in seen:
        second = beta_2 * second + (1 - beta_2) * gradient**2
        largest = np.maximum(largest, second)
    k = len(seen)
    root = np.sqrt((largest if amsgrad else second) / (1 - beta_2**k))
    return (1 - beta_1**k) * (root + epsilon / np.sqrt(1 - beta_2**k))


def rmsprop_divisor(seen, rho=0.8, epsilon=1e-10):
    second = 0.0
    for gradient in seen:
        second = rho * second + (1 - rho) * gradient**2
    return np.sqrt(second + epsilon)


def top(hessian, divisor):
    """Largest eigenvalue of the unsymmetric P^-1 H, and the eigenvector of the symmetric one."""
    root = divisor**-0.5
    vector = np.linalg.eigh(root[:, None] * hessian * root)[1][:, -1]
    return np.linalg.eigvals(hessian / divisor[:, None]).real.max(), vector


CASES = {
    "Adam": (lambda: keras.optimizers.Adam(RATE), adam_divisor, 38 / RATE),
    "AMSGrad": (
        lambda: keras.optimizers.Adam(RATE, beta_1=0.5, beta_2=0.6, amsgrad=True),
        lambda seen: adam_divisor(seen, 0.5, 0.6, amsgrad=True),
        6 / RATE,
    ),
    "AdamW": (lambda: keras.optimizers.AdamW(RATE, weight_decay=2.0), adam_divisor, 19 * (2 / RATE - 2)),
    "RMSprop": (
        lambda: keras.optimizers.RMSprop(RATE, rho=0.8, momentum=0.5, epsilon=1e-10),
        rmsprop_divisor,
        3 / RATE,
    ),
}
"""Optimizer, its P from the gradients so far, and its edge."""


class Descent(keras.callbacks.Callback):
    """Keeps the gradients of full batches, and what is expected at the weights after each step."""

    def __init__(self, divisor):
        super().__init__()
        self.divisor, self.seen, self.expected, self.participation = divisor, [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(gradient(self.model))
        if len(self.seen) == 1:
            self.see()

    def on_train_batch_end(self, batch, logs=None):
        self.see()

    def see(self):
        value, vector = top(dense(self.model), self.divisor(self.seen))
        self.expected.append(value)
        self.participation.append(1 / (len(vector) * np.sum(vector**4)))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in ("Adam", "RMSprop", "AMSGrad", "AdamW")]
)
def test_the_callback_measures_what_the_edge_of_the_optimizer_is_held_against(name):
    optimizer, divisor, edge = CASES[name]
    keras.utils.set_random_seed(1)
    model = network()
    model.compile(optimizer=optimizer(), loss=HalfMeanSquaredError(), jit_compile=False)
    callback, descent = SharpnessCallback((X, Y), unit="steps"), Descent(divisor)
    history = model.fit(X, Y, batch_size=24, epochs=3, verbose=0, callbacks=[callback, descent]).history
    np.testing.assert_allclose([at.sharpness for at in callback.history], descent.expected, rtol=2e-3)
    np.testing.assert_allclose([at.participation for at in callback.history], descent.participation, rtol=0.05)
    assert [at.threshold for at in callback.history] == pytest.approx([edge] * 4, rel=1e-6)
    assert {at.at_floor for at in callback.history} == {0.0}
    logged = {"loss", "sharpness", "sharpness/threshold", "sharpness/participation", "sharpness/at_floor"}
    assert set(history) == logged


def test_a_model_measures_it_in_its_training_step_and_the_hessian_on_request():
    found = {}
    for preconditioned in (True, False):
        keras.utils.set_random_seed(1)
        model = SharpnessModel(network(), measurement=(X, Y), preconditioned=preconditioned)
        model.compile(optimizer=keras.optimizers.Adam(RATE), loss=HalfMeanSquaredError(), jit_compile=False)
        seen = [gradient(model.network)]
        first = model.sharpness().eigenvalue
        hessians = [dense(model.network)]
        history = model.fit(X, Y, batch_size=24, epochs=1, verbose=0).history
        hessians.append(dense(model.network))
        found[preconditioned] = history
        for value, hessian in zip([first, history["sharpness"][-1]], hessians, strict=True):
            expected = top(hessian, adam_divisor(seen) if preconditioned else np.ones(len(hessian)))[0]
            assert value == pytest.approx(expected, rel=2e-3)
        np.testing.assert_allclose(model.stability_edge().preconditioner, adam_divisor(seen), rtol=1e-4)
    assert found[True]["sharpness/threshold"] == pytest.approx([38 / RATE])
    assert "sharpness/threshold" not in found[False]


@pytest.mark.slow
def test_measuring_before_the_first_step_changes_nothing_of_training():
    def trained(measured):
        keras.utils.set_random_seed(2)
        model = SharpnessModel(network(), measurement=(X, Y), every=0)
        model.compile(optimizer=keras.optimizers.Nadam(RATE), loss=HalfMeanSquaredError(), jit_compile=False)
        if measured:
            model.sharpness()
            model.stability_edge()
        model.fit(X, Y, batch_size=8, epochs=1, shuffle=False, verbose=0)
        return model.get_weights()

    for plain, measured in zip(trained(False), trained(True), strict=True):
        np.testing.assert_array_equal(plain, measured)


@pytest.mark.slow
def test_the_threshold_of_a_model_follows_a_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.05])
    model = SharpnessModel(network(), measurement=(X, Y))
    model.compile(optimizer=keras.optimizers.SGD(schedule, 0.9), loss=HalfMeanSquaredError(), jit_compile=False)
    history = model.fit(X, Y, batch_size=24, epochs=3, verbose=0).history
    assert history["sharpness/threshold"] == pytest.approx([38, 76, 76])


@pytest.mark.slow
def test_the_hessian_of_an_optimizer_with_a_preconditioner_has_no_threshold_and_that_is_said_once(caplog):
    model = network()
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=HalfMeanSquaredError(), jit_compile=False)
    callback = SharpnessCallback((X, Y), preconditioned=False)
    with caplog.at_level("WARNING"):
        model.fit(X, Y, batch_size=24, epochs=2, verbose=0, callbacks=[callback])
    assert callback.history[-1].sharpness == pytest.approx(np.linalg.eigvalsh(dense(model))[-1], rel=2e-3)
    assert {at.threshold for at in callback.history} == {None}
    said = [record.getMessage() for record in caplog.records if "H is measured" in record.getMessage()]
    assert len(said) == 1


@pytest.mark.slow
def test_frozen_layers_are_no_coordinates():
    model = network()
    model.layers[0].trainable = False
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=HalfMeanSquaredError(), jit_compile=False)
    expected = top(dense(model), adam_divisor([gradient(model)]))[0]
    callback = SharpnessCallback((X, Y))
    model.fit(X, Y, batch_size=24, epochs=1, verbose=0, callbacks=[callback])
    assert callback.history[0].sharpness == pytest.approx(expected, rel=2e-3)
    assert len(gradient(model)) == 5 * 3 + 3


def test_the_choice_is_saved_and_a_file_without_it_measures_as_ever():
    config = SharpnessModel(network(), measurement=(X, Y), preconditioned=False).get_config()
    assert SharpnessModel.from_config(config).get_config()["preconditioned"] is False
    del config["preconditioned"]
    assert SharpnessModel.from_config(config).get_config()["preconditioned"] is True

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases.training.batches import one_batch
from sharpness_phases.training.health import look_at

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 6)).astype(np.float32)
LABELS = RNG.integers(3, size=16)
CLASSES = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(loss=CLASSES, outputs=3, bias=0.0):
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(8, activation="relu", name="hidden", bias_initializer=keras.initializers.Constant(bias))
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(outputs)])
    model.compile("sgd", loss, jit_compile=False)
    return model


def seen(x=X, y=LABELS, **settings):
    return look_at(compiled(**settings), one_batch((x, y)))


def test_healthy_data_and_networks_are_healthy():
    assert seen() == ((), (), False)


def with_nan():
    x = X.copy()
    x[3, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("settings", "words", "hopeless"),
    [
        ({"x": with_nan()}, "hold NaN or infinity in 1 of 16 examples, first in example 3", True),
        ({"y": LABELS + 1}, "They start at 1: subtract 1", True),
        ({"x": np.round(127 + 60 * X).astype(np.uint8)}, "inputs are not scaled", False),
        ({"x": X * [1, 1, 1, 1, 1, 1e-4]}, "scaled unevenly", False),
        ({"y": 300 * X[:, :1], "loss": "mse", "outputs": 1}, "targets are not scaled", False),
        ({"y": 0 * LABELS}, "All 16 targets are the same", False),
    ],
    ids=["NaN", "labels from 1", "pixels", "uneven", "targets", "one class"],
)
def test_each_fault_of_data_has_its_words(settings, words, hopeless):
    found = seen(**settings)
    assert words in " ".join(found.data)
    assert found.network == ()
    assert found.hopeless is hopeless


def test_a_dead_network_is_told_from_bad_data_and_its_first_dead_layer_is_named():
    found = seen(bias=-1e3)
    assert found.data == ()
    assert "from layer 'hidden' on: it is dead" in found.network[0]


def test_a_gradient_of_zero_is_told():
    model = compiled()
    for variable in model.layers[1].weights:
        variable.assign(tf.zeros_like(variable))
    model.layers[0].bias.assign(tf.fill([8], -1e3))
    model.compile("sgd", "mse", jit_compile=False)
    found = look_at(model, one_batch((X, np.zeros((16, 3), np.float32))))
    assert found.hopeless
    assert "gradient is zero" in " ".join(found.network)


def test_nothing_of_the_model_changes():
    model = compiled()
    before = [variable.numpy() for variable in model.variables]
    look_at(model, one_batch((X, LABELS)))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)

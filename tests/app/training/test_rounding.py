"""What is told of a sharpness that rounding decides."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import SharpnessCallback, SharpnessModel
from sharpness_phases.training.rounding import moved_by_rounding, shake


def at_its_kink(activation="relu", **settings):
    """x = 1 puts eight units at 1 * 1 - 1 = 0 to the last bit; x = 2 to 1."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(8, activation)])
    network.set_weights([np.ones((1, 8)), -np.ones(8)])
    model = SharpnessModel(network, measurement=examples(), **settings)
    model.compile("sgd", "mse")
    return model


def examples():
    return np.array([[1.0], [2.0]]), np.full((2, 8), 5.0)


def test_a_unit_at_its_kink_to_within_rounding_does_not_converge_and_the_reason_is_told(caplog):
    model = at_its_kink()
    before = model.network.get_weights()
    result = model.sharpness()
    assert result.eigenvalue == pytest.approx(5 / 8)  # (2, 1).(2, 1) / 8, of the second example alone
    assert not result.converged
    assert "% only: so far does a change of each weight by its last place move it" in caplog.text
    for old, new in zip(before, model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("settings", [{"activation": "tanh"}, {"verify": False}])
def test_a_smooth_network_converges_and_so_does_one_that_is_not_verified(settings, caplog):
    assert at_its_kink(**settings).sharpness().converged
    assert "last place" not in caplog.text


def test_the_callback_tells_of_it_once(caplog):
    network = at_its_kink().network
    network.compile(keras.optimizers.SGD(1e-8), "mse")
    network.fit(*examples(), epochs=3, verbose=0, callbacks=[SharpnessCallback(examples(), unit="steps")])
    assert caplog.text.count("last place") == 1


def test_weights_are_put_back_after_an_exception():
    weight = tf.Variable([1.0, 2.0])

    def broken():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        moved_by_rounding([weight], 1.0, broken)
    assert weight.numpy().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_shake_moves_every_weight_by_units_of_its_last_place_the_same_way_every_time(dtype):
    weights = [tf.Variable(tf.ones([50], dtype)) for _ in range(2)]
    for weight in weights:
        shake([weight], units=1)
    np.testing.assert_array_equal(*weights)
    assert set(weights[0].numpy()) == {1 - np.finfo(dtype).eps, 1 + np.finfo(dtype).eps}


def test_the_largest_change_counts():
    values = iter([1.001, 0.99])
    assert moved_by_rounding([], 1.0, lambda: next(values)) == pytest.approx(0.01)
    assert np.isnan(moved_by_rounding([], 1.0, lambda: float("nan")))

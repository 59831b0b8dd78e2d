import keras
import numpy as np
import pytest

from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.training.losses import HalfMeanSquaredError


def test_the_half_mean_squared_error_is_over_examples_and_outputs():
    y, f = np.zeros((2, 3), np.float32), np.array([[1, 2, 3], [0, 0, 4]], np.float32)
    assert float(HalfMeanSquaredError()(y, f)) == pytest.approx((1 + 4 + 9 + 16) / (2 * 2 * 3))


def test_cross_entropy_takes_logits():
    y, f = np.array([[1.0, 0.0]], np.float32), np.array([[2.0, 0.0]], np.float32)
    assert float(build_loss("xent")(y, f)) == pytest.approx(np.log(1 + np.exp(-2.0)), rel=1e-5)


def test_integer_labels_are_refused_and_not_broadcast():
    with pytest.raises(ValueError, match="one-hot"):
        HalfMeanSquaredError()(np.zeros((4, 1), np.float32), np.zeros((4, 3), np.float32))


def test_an_unknown_loss_is_refused_by_name():
    with pytest.raises(ValueError, match="'hinge'.*mse, xent"):
        build_loss("hinge")


def test_the_loss_survives_saving_and_loading():
    loss = keras.losses.deserialize(keras.losses.serialize(HalfMeanSquaredError()))
    assert isinstance(loss, HalfMeanSquaredError)

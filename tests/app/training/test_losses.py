import keras
import numpy as np
import pytest

from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.training.losses import HalfMeanSquaredError, SparseHalfMeanSquaredError


def test_the_half_mean_squared_error_is_over_examples_and_outputs():
    y, f = np.zeros((2, 3), np.float32), np.array([[1, 2, 3], [0, 0, 4]], np.float32)
    assert float(HalfMeanSquaredError()(y, f)) == pytest.approx((1 + 4 + 9 + 16) / (2 * 2 * 3))


def test_cross_entropy_takes_logits():
    y, f = np.array([[1.0, 0.0]], np.float32), np.array([[2.0, 0.0]], np.float32)
    assert float(build_loss("xent")(y, f)) == pytest.approx(np.log(1 + np.exp(-2.0)), rel=1e-5)


def test_integer_labels_are_refused_and_not_broadcast():
    with pytest.raises(ValueError, match="one-hot"):
        HalfMeanSquaredError()(np.zeros((4, 1), np.float32), np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("name", ["mse", "xent"])
@pytest.mark.parametrize("shape", [(5,), (5, 3)])
def test_a_loss_of_labels_is_that_of_their_one_hot_targets(name, shape):
    rng = np.random.default_rng(0)
    labels, outputs = rng.integers(4, size=shape), rng.standard_normal((*shape, 4)).astype(np.float32)
    one_hot = np.eye(4, dtype=np.float32)[labels]
    found, expected = build_loss(name, of_labels=True)(labels, outputs), build_loss(name)(one_hot, outputs)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_one_hot_targets_are_refused_by_a_loss_of_labels():
    with pytest.raises(ValueError, match="labels of the outputs' shape without its last axis"):
        SparseHalfMeanSquaredError()(np.zeros((4, 3), np.float32), np.zeros((4, 3), np.float32))


def test_an_unknown_loss_is_refused_by_name():
    with pytest.raises(ValueError, match="'hinge'.*mse, xent"):
        build_loss("hinge")


def test_the_loss_survives_saving_and_loading():
    for kind in (HalfMeanSquaredError, SparseHalfMeanSquaredError):
        assert type(keras.losses.deserialize(keras.losses.serialize(kind()))) is kind

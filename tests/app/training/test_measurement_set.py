import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases.training.measurement_set import accuracy, as_tensors


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_refused_in_words(policy):
    layers = [keras.layers.Dense(4, activation="tanh", dtype=policy), keras.layers.Dense(2, dtype="float32")]
    network = keras.Sequential([keras.Input((3,)), *layers])
    with pytest.raises(ValueError, match=f"{layers[0].name}.*weights in float32.*computes in {policy[6:]}.*'float32'"):
        as_tensors((np.ones((4, 3)), np.ones((4, 2))), network)


def test_the_accuracy_of_tokens_is_the_share_of_tokens_whose_largest_score_is_theirs():
    scores = np.zeros((2, 3, 4), np.float32)
    scores[..., 1] = 1
    labels = np.array([[1, 1, 0], [1, 2, 3]], np.int32)
    assert float(accuracy(tf.constant(labels), tf.constant(scores))) == pytest.approx(0.5)
    assert np.isnan(float(accuracy(tf.constant(scores), tf.constant(scores))))  # no labels

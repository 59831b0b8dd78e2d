import keras
import numpy as np
import pytest

from sharpness_phases.training.measurement_set import as_tensors


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_refused_in_words(policy):
    layers = [keras.layers.Dense(4, activation="tanh", dtype=policy), keras.layers.Dense(2, dtype="float32")]
    network = keras.Sequential([keras.Input((3,)), *layers])
    with pytest.raises(ValueError, match=f"{layers[0].name}.*weights in float32.*computes in {policy[6:]}.*'float32'"):
        as_tensors((np.ones((4, 3)), np.ones((4, 2))), network)

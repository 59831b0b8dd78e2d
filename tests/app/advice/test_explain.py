import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import explain_learning_rate
from sharpness_phases.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype(np.float32)
Y = (X @ RNG.standard_normal((6, 3)) / 2).astype(np.float32)


def compiled(rate=0.01, optimizer=keras.optimizers.SGD):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3)])
    model.compile(optimizer(rate), "mse", jit_compile=False)
    return model


@pytest.fixture(scope="module")
def too_large():
    return explain_learning_rate(compiled(), (X, Y), 50.0, batch_size=64)


def test_a_rate_beyond_the_edge_is_the_cause_and_the_step_where_it_leaves_is_that_of_plain_keras(too_large):
    assert too_large.cause == "the rate"
    assert "stability edge" in too_large.exceeded
    model = compiled(50.0)
    seen = [model.train_on_batch(X, Y) for _ in range(too_large.leaves_at + 1)]
    assert seen[-1] > 1.1 * seen[0]
    assert max(seen[:-1]) <= 1.1 * seen[0]


@pytest.mark.slow
def test_a_good_rate_is_not_the_cause_and_unscaled_inputs_are():
    good = explain_learning_rate(compiled(), (X, Y), batch_size=64)
    assert good.cause == "none found"
    assert good.leaves_at is None
    pixels = explain_learning_rate(compiled(1e-9), (100 * X, Y), batch_size=64)
    assert pixels.cause == "the data"
    assert "not scaled" in str(pixels)


def test_labels_out_of_range_are_the_data_and_no_run_is_made():
    model = compiled()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    found = explain_learning_rate(model, (X, np.arange(64) % 3 + 1))
    assert found.cause == "the data"
    assert "subtract 1" in str(found)


def test_nan_in_a_later_batch_is_the_data_and_not_the_rate():
    data = tf.data.Dataset.from_tensor_slices((np.where(np.arange(64)[:, None] == 40, np.nan, X), Y)).batch(16)
    found = explain_learning_rate(compiled(), data, steps=4)
    assert found.cause == "the data"
    assert "In batch 2 the inputs hold NaN or infinity in 1 of 16 examples, first in example 8" in str(found)


@pytest.mark.parametrize(
    ("given", "words"), [({"learning_rate": 0.0}, "positive number"), ({"steps": 0}, "steps must be")]
)
def test_numbers_out_of_range_are_refused(given, words):
    with pytest.raises(UserError, match=words):
        explain_learning_rate(compiled(), (X, Y), **given)

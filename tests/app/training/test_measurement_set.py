import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases.training.measurement_set import (
    FROM_A_DATA_SET,
    accuracy,
    measurement_data,
    require_one_precision,
)

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.arange(6)
W = np.linspace(1, 2, 6, dtype=np.float32)


class InTwos(keras.utils.PyDataset):
    """Three batches of two examples."""

    def __init__(self, **settings):
        super().__init__(**settings)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(2 * index, 2 * index + 2)
        return {"a": X[part], "b": [X[part], X[part] ** 2]}, Y[part], W[part]


class Endless(InTwos):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return super().__getitem__(index % 3)


def nested():
    return {"a": X, "b": [X, X**2]}, Y, W


def from_slices():
    inputs = {"a": X, "b": (X, X**2)}  # a list would be stacked
    return tf.data.Dataset.from_tensor_slices((inputs, Y, W)).batch(2)


@pytest.mark.parametrize(
    "data", [nested, from_slices, lambda: from_slices().repeat(), InTwos, Endless], ids=lambda made: made.__name__
)
def test_arrays_and_data_sets_give_the_first_examples_in_their_structure(data):
    x, y, sample_weight = measurement_data(data(), examples=5)
    assert set(x) == {"a", "b"}
    assert len(x["b"]) == 2
    np.testing.assert_array_equal(x["a"], X[:5])
    np.testing.assert_array_equal(x["b"][1], X[:5] ** 2)
    np.testing.assert_array_equal(y, Y[:5])
    np.testing.assert_array_equal(sample_weight, W[:5])


def test_without_a_number_arrays_are_taken_whole_and_of_data_sets_a_bounded_number():
    assert len(measurement_data((X, Y)).y) == 6
    assert len(measurement_data(from_slices()).y) == 6
    assert len(measurement_data(tf.data.Dataset.from_tensors((X, Y)).unbatch().batch(4).repeat()).y) == FROM_A_DATA_SET


def test_class_weights_weigh_examples_as_fit_does():
    one_hot = np.eye(3, dtype=np.float32)[[0, 2, 1, 0, 0, 2]]
    expected = [2.0, 0.5, 1.0, 2.0, 2.0, 0.5]
    for y in (one_hot, one_hot.argmax(axis=1), one_hot.argmax(axis=1)[:, None]):
        np.testing.assert_allclose(measurement_data((X, y), class_weight={0: 2.0, 2: 0.5}).sample_weight, expected)


def test_the_network_decides_the_precision_of_inputs_and_nobody_that_of_integers():
    double, single = (
        keras.Sequential([keras.Input((2,), dtype=dtype), keras.layers.Dense(1, dtype=dtype)])
        for dtype in ("float64", "float32")
    )
    exact = np.full((6, 2), 1 / 3)
    x, y, _ = measurement_data(([exact, np.uint8(X), Y], exact), network=double)
    assert [part.dtype for part in x] == [tf.float64, tf.float64, tf.int64]
    np.testing.assert_array_equal(x[0], exact)
    assert y.dtype == tf.float64
    assert measurement_data((exact, exact), network=single).y.dtype == tf.float32


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        (X, {}, "pair"),
        ((X, Y, W, W), {}, "tuple of 4"),
        ((X, Y[:5]), {}, r"equally many .* \[5, 6\]"),
        ((X, Y, W[:1]), {}, r"equally many .* \[1, 6\]"),
        ((X[:0], Y[:0]), {}, "at least one"),
        ((X, Y), {"examples": 0}, "`examples` must be an integer of at least 1"),
        ((X, Y, W), {"class_weight": {0: 1.0}}, "sample weights already"),
        ((X, np.zeros((6, 4, 3))), {"class_weight": {0: 1.0}}, r"give weights of examples.*\(6, 4, 3\)"),
        ((X, [Y, Y]), {"class_weight": {0: 1.0}}, "several arrays"),
        ((tf.ragged.constant([[1], [2, 3]]), Y[:2]), {}, "inputs of `measurement` are a RaggedTensor.*Pad them"),
        (([[1.0], [2.0, 3.0]], Y[:2]), {}, "inputs of `measurement` are no array of one shape.*must be padded"),
        ((X, tf.sparse.from_dense(X)), {}, "targets of `measurement` are a SparseTensor"),
        (tf.data.Dataset.from_tensor_slices((X, Y)), {}, r"single examples.*\.batch\(32\)"),
        ((batch for batch in [(X, Y)]), {}, "generator"),
        (
            (tf.data.Dataset.from_tensor_slices(X).batch(2), Y),
            {},
            r"inputs of .* are a tf\.data\.Dataset.*given itself",
        ),
        ((X, tf.data.Dataset.from_tensor_slices(Y)), {}, r"targets of .* are a tf\.data\.Dataset.*\.zip\("),
    ],
)
def test_what_is_no_measurement_set_is_refused_in_words(data, settings, words):
    with pytest.raises(ValueError, match=words):
        measurement_data(data, **settings)


def test_batches_of_different_lengths_are_refused_in_words():
    ragged = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3], [4, 5, 6], [7]]))
    padded = ragged.map(lambda row: (row, 0)).padded_batch(2, padded_shapes=([None], []))
    with pytest.raises(ValueError, match=r"different shapes.*\(2, 2\).*\(2, 3\).*Pad all batches to one length"):
        measurement_data(padded)
    assert measurement_data(padded, examples=2).x.shape == (2, 2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_refused_in_words(policy):
    layers = [keras.layers.Dense(4, activation="tanh", dtype=policy), keras.layers.Dense(2, dtype="float32")]
    network = keras.Sequential([keras.Input((3,)), *layers])
    with pytest.raises(ValueError, match=f"{layers[0].name}.*weights in float32.*computes in {policy[6:]}.*'float32'"):
        require_one_precision(network)


def test_the_accuracy_of_tokens_is_the_share_of_tokens_whose_largest_score_is_theirs():
    scores = np.zeros((2, 3, 4), np.float32)
    scores[..., 1] = 1
    labels = np.array([[1, 1, 0], [1, 2, 3]], np.int32)
    assert float(accuracy(tf.constant(labels), tf.constant(scores))) == pytest.approx(0.5)
    assert np.isnan(float(accuracy(tf.constant(scores), tf.constant(scores))))  # no labels

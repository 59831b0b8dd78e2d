"""That what is called right is right, kind by kind."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases.training.layer_calls import LayerCall
from sharpness_phases.training.layer_kinds import ACTIVATIONS, WITH_ACTIVATION, WITHOUT_ACTIVATION, is_known_right
from sharpness_phases.training.layer_probe import probe

layers = keras.layers
VECTORS, STATE, SERIES, IMAGES = (3, 4), (3, 2), (2, 6, 4), (2, 6, 6, 3)

EXAMPLES = {
    layers.InputLayer: None,  # computes nothing
    layers.Identity: (layers.Identity, VECTORS),
    layers.Flatten: (layers.Flatten, IMAGES),
    layers.Reshape: (lambda: layers.Reshape((2, 2)), VECTORS),
    layers.Permute: (lambda: layers.Permute((2, 1)), SERIES),
    layers.RepeatVector: (lambda: layers.RepeatVector(2), VECTORS),
    layers.ZeroPadding1D: (layers.ZeroPadding1D, SERIES),
    layers.ZeroPadding2D: (layers.ZeroPadding2D, IMAGES),
    layers.Cropping2D: (layers.Cropping2D, IMAGES),
    layers.Rescaling: (lambda: layers.Rescaling(0.5), VECTORS),
    layers.Normalization: (lambda: layers.Normalization(mean=1.0, variance=2.0), VECTORS),
    layers.Embedding: (lambda: layers.Embedding(3, 2), None),
    layers.Add: (layers.Add, [VECTORS, VECTORS]),
    layers.Subtract: (layers.Subtract, [VECTORS, VECTORS]),
    layers.Multiply: (layers.Multiply, [VECTORS, VECTORS]),
    layers.Average: (layers.Average, [VECTORS, VECTORS]),
    layers.Concatenate: (layers.Concatenate, [VECTORS, VECTORS]),
    layers.Dropout: (lambda: layers.Dropout(0.5), VECTORS),
    layers.SpatialDropout2D: (lambda: layers.SpatialDropout2D(0.5), IMAGES),
    layers.GaussianNoise: (lambda: layers.GaussianNoise(1.0), VECTORS),
    layers.GaussianDropout: (lambda: layers.GaussianDropout(0.5), VECTORS),
    layers.ReLU: (layers.ReLU, VECTORS),
    layers.LeakyReLU: (layers.LeakyReLU, VECTORS),
    layers.Softmax: (layers.Softmax, VECTORS),
    layers.AveragePooling1D: (lambda: layers.AveragePooling1D(2), SERIES),
    layers.AveragePooling2D: (lambda: layers.AveragePooling2D(2), IMAGES),
    layers.GlobalAveragePooling1D: (layers.GlobalAveragePooling1D, SERIES),
    layers.GlobalAveragePooling2D: (layers.GlobalAveragePooling2D, IMAGES),
    layers.MaxPooling1D: (lambda: layers.MaxPooling1D(2), SERIES),
    layers.MaxPooling2D: (lambda: layers.MaxPooling2D(2), IMAGES),
    layers.GlobalMaxPooling2D: (layers.GlobalMaxPooling2D, IMAGES),
    layers.UpSampling2D: (lambda: layers.UpSampling2D(interpolation="bilinear"), IMAGES),
    layers.Resizing: (lambda: layers.Resizing(4, 9, interpolation="bicubic"), IMAGES),
    layers.MultiHeadAttention: (lambda: layers.MultiHeadAttention(2, 3), (SERIES, SERIES)),
    layers.TimeDistributed: (lambda: layers.TimeDistributed(layers.Dense(2, "tanh")), SERIES),
    layers.Bidirectional: (lambda: layers.Bidirectional(layers.LSTM(2)), SERIES),
    layers.RNN: (lambda: layers.RNN(layers.GRUCell(2)), SERIES),
    layers.Dense: (lambda: layers.Dense(3, "relu"), VECTORS),
    layers.EinsumDense: (lambda: layers.EinsumDense("ab,bc->ac", 3, "relu"), VECTORS),
    layers.Activation: (lambda: layers.Activation("softsign"), VECTORS),
    layers.Conv1D: (lambda: layers.Conv1D(2, 3, activation="relu"), SERIES),
    layers.Conv2D: (lambda: layers.Conv2D(6, 3, groups=3), IMAGES),
    layers.Conv2DTranspose: (lambda: layers.Conv2DTranspose(2, 3, 2), IMAGES),
    layers.DepthwiseConv2D: (lambda: layers.DepthwiseConv2D(3), IMAGES),
    layers.SeparableConv2D: (lambda: layers.SeparableConv2D(2, 3), IMAGES),
    layers.SimpleRNN: (lambda: layers.SimpleRNN(2), SERIES),
    layers.SimpleRNNCell: (lambda: layers.SimpleRNNCell(2), (VECTORS, STATE)),
    layers.LSTM: (lambda: layers.LSTM(2, return_sequences=True), SERIES),
    layers.LSTMCell: (lambda: layers.LSTMCell(2), (VECTORS, [STATE, STATE])),
    layers.GRU: (lambda: layers.GRU(2, reset_after=False), SERIES),
    layers.GRUCell: (lambda: layers.GRUCell(2), (VECTORS, STATE)),
}


def call_of(layer, shapes):
    rng = np.random.default_rng(0)

    def tensors(shape):
        if isinstance(shape, list):
            return [tensors(each) for each in shape]
        return tf.constant(rng.standard_normal(shape).astype(np.float32))

    if shapes is None:
        arguments = (tf.constant([[0, 1], [2, 0]]),)
    else:
        several = isinstance(shapes, tuple) and isinstance(shapes[0], tuple)
        arguments = tuple(map(tensors, shapes if several else [shapes]))
    layer(*arguments)
    return LayerCall(layer, arguments, {})


def test_every_kind_that_is_called_right_has_an_example():
    assert set(EXAMPLES) == {*WITH_ACTIVATION, *WITHOUT_ACTIVATION}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [kind for kind, example in EXAMPLES.items() if example], ids=lambda kind: kind.__name__
)
def test_kinds_that_are_called_right_are_right(kind):
    make, shapes = EXAMPLES[kind]
    layer = make()
    assert type(layer) is kind
    assert is_known_right(layer)
    assert probe(call_of(layer, shapes), "batch").agrees


@pytest.mark.slow
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS, key=lambda function: function.__name__))
def test_activations_that_are_called_right_are_right(activation):
    assert probe(call_of(layers.Activation(activation), VECTORS), "batch").agrees


def test_what_is_derived_from_a_kind_or_has_an_activation_of_its_own_is_not_known():
    class Derived(layers.Dense):
        """Of the user's."""

    assert not is_known_right(Derived(2))
    assert not is_known_right(layers.Dense(2, activation=lambda x: x))
    assert not is_known_right(layers.LSTM(2, recurrent_activation=lambda x: x))
    assert not is_known_right(layers.BatchNormalization())


def test_models_are_known_only_where_they_connect_and_do_not_compute():
    class Computes(keras.Model):
        """Computes by itself."""

        def call(self, x):
            return x

    inputs = keras.Input((3,))
    assert is_known_right(keras.Model(inputs, layers.Dense(2)(inputs) * 2 + 1))
    assert is_known_right(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
    assert not is_known_right(keras.Model(inputs, keras.ops.stop_gradient(inputs)))
    assert not is_known_right(Computes())

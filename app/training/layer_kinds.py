"""Kinds of layers whose second derivatives are known to be right, and when two layers are of one kind."""

from __future__ import annotations

import json
import warnings
from typing import Any, TypeAlias

import keras
from keras import layers

Config: TypeAlias = Any
"""What Keras writes of a layer: plain values, lists and dicts."""

WITHOUT_ACTIVATION = (
    layers.InputLayer,
    layers.Identity,
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.RepeatVector,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.Rescaling,
    layers.Normalization,
    layers.Embedding,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Concatenate,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.ReLU,
    layers.LeakyReLU,
    layers.Softmax,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.GlobalMaxPooling2D,
    layers.UpSampling2D,
    layers.Resizing,
    layers.MultiHeadAttention,
    layers.TimeDistributed,
    layers.Bidirectional,
    layers.RNN,
)
"""Each as it is for every setting; those that hold other layers are as right as these, which are looked at, too."""

WITH_ACTIVATION = (
    layers.Dense,
    layers.EinsumDense,
    layers.Activation,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.SimpleRNN,
    layers.SimpleRNNCell,
    layers.LSTM,
    layers.LSTMCell,
    layers.GRU,
    layers.GRUCell,
)
"""Right with activations of Keras' own."""

ACTIVATIONS = frozenset(
    {
        keras.activations.linear,
        keras.activations.relu,
        keras.activations.relu6,
        keras.activations.leaky_relu,
        keras.activations.elu,
        keras.activations.selu,
        keras.activations.gelu,
        keras.activations.silu,
        keras.activations.mish,
        keras.activations.tanh,
        keras.activations.sigmoid,
        keras.activations.hard_sigmoid,
        keras.activations.hard_silu,
        keras.activations.softplus,
        keras.activations.softsign,
        keras.activations.softmax,
        keras.activations.log_softmax,
        keras.activations.exponential,
    }
)
"""Activations of Keras' that are right, softsign by its substitute."""

_OPERATIONS = (
    "Add",
    "Subtract",
    "Multiply",
    "Divide",
    "Reshape",
    "Transpose",
    "Mean",
    "Concatenate",
    "Matmul",
    "GetItem",
)
"""Operations between the layers of a functional model, as in `2 * x + y`, that are right."""


def is_known_right(layer: keras.layers.Layer) -> bool:
    """Whether nothing needs to be computed to trust a layer's second derivatives.

    Args:
        layer: Any layer or model; those that it holds are not looked at.

    Returns:
        True for exactly the kinds of this file, not for what is derived from them, and for functional and sequential
        models that do not compute anything themselves.
    """
    if type(layer) in WITH_ACTIVATION:
        used = layer.activation, getattr(layer, "recurrent_activation", None)
        return all(each is None or each in ACTIVATIONS for each in used)
    return type(layer) in WITHOUT_ACTIVATION or _only_connects(layer)


def _only_connects(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.Sequential):
        return type(layer).call is keras.Sequential.call
    functional = next((kind for kind in type(layer).__mro__ if kind.__name__ == "Functional"), None)
    if functional is None or type(layer).call is not getattr(functional, "call", None):
        return False
    between = [each for each in layer.operations if not isinstance(each, keras.layers.Layer)]
    return all(type(each).__name__ in _OPERATIONS for each in between)


def kind_of(layer: keras.layers.Layer) -> str | None:
    """What two layers of one class share if they compute the same but for their weights.

    Args:
        layer: A layer or model.

    Returns:
        Its settings, and for a layer that is not Keras' own the shapes that it was built for, as text; None where Keras
        cannot tell them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of lambdas that would be unsafe to load
            config = {key: value for key, value in layer.get_config().items() if key != "name"}
        shapes = None if type(layer).__module__.startswith("keras.") else layer.get_build_config()
        return json.dumps([config, shapes], sort_keys=True)
    except Exception:  # what a layer of the user's tells of itself may raise anything, or hold what is no plain value
        return None


def in_double_precision(config: Config) -> Config:
    """Settings with every floating dtype in them replaced by float64.

    Args:
        config: What a layer's `get_config` gave.

    Returns:
        A copy.
    """
    if isinstance(config, dict):
        return {k: _double(v) if k == "dtype" else in_double_precision(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(in_double_precision(value) for value in config)
    return config


def _double(dtype: Config) -> Config:
    name = dtype.get("config", {}).get("name", "") if isinstance(dtype, dict) else str(dtype)
    return "float64" if "float" in name else dtype

"""The examples that are measured on, as tensors, and the accuracy on them."""

from __future__ import annotations

from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

Examples: TypeAlias = np.ndarray | tf.Tensor
"""Inputs, targets or outputs of M examples, shape (M, ...)."""


def as_tensors(measurement: tuple[Examples, Examples], network: keras.Model) -> tuple[tf.Tensor, tf.Tensor]:
    """Check a measurement set and move it to the device.

    A network with several inputs or outputs is refused by `require_one_array`, one of mixed precision by
    `require_one_precision`, each with a `ValueError`.

    Args:
        measurement: Pair (x, y) of inputs (M, ...) and targets (M, ...).
        network: The model that is measured; it decides the dtype of inputs.

    Returns:
        Two tensors; images and other real numbers in the network's dtype, integer inputs as they are.

    Raises:
        ValueError: If `measurement` is not a pair of equal lengths, at least 1.
    """
    require_one_array(network)
    require_one_precision(network)
    if not isinstance(measurement, tuple | list) or len(measurement) != 2:
        raise ValueError(f"`measurement` must be a pair (x, y). Received: {type(measurement).__name__}.")
    x, y = (tf.convert_to_tensor(part) for part in measurement)
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"`measurement` needs equally many inputs and targets, at least one. Received: {len(x)} and {len(y)}."
        )
    return tf.cast(x, network.compute_dtype) if x.dtype.is_floating or x.dtype == tf.uint8 else x, y


def require_one_array(network: keras.Model) -> None:
    """Refuse a network with several inputs or outputs.

    Args:
        network: Any Keras model. One without `inputs` and `outputs`, as a subclassed model is, is taken to have one of
            each.

    Raises:
        ValueError: If the network has more than one input or output.
    """
    inputs, outputs = (len(getattr(network, side, None) or [None]) for side in ("inputs", "outputs"))
    if inputs > 1 or outputs > 1:
        raise ValueError(
            "The sharpness is measured of models with one input and one output array. "
            f"Received: {network.name} with {inputs} and {outputs}. Concatenate them, and split inside the model."
        )


def require_one_precision(network: keras.Model) -> None:
    """Refuse mixed precision: products in float16 overflow or vanish, and the loss scale of training is no part of H.

    Args:
        network: Any Keras model.

    Raises:
        ValueError: If a layer computes in another dtype than that of its weights.
    """
    for layer in network._flatten_layers():
        if layer.weights and layer.compute_dtype != layer.variable_dtype:
            raise ValueError(
                "The sharpness is measured in the precision of the weights. Received: layer "
                f"{layer.name!r} with weights in {layer.variable_dtype} that computes in {layer.compute_dtype}. Build "
                "the network with the dtype policy 'float32' to measure it; what is found holds for mixed precision."
            )


def accuracy(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Share of examples whose largest output is their class; NaN for outputs that are not class scores.

    Args:
        y: Labels (M,) or (M, 1), or one-hot targets (M, K); or integer labels (M, ...) of parts of the examples, as of
            their tokens, of which the share is then.
        outputs: Class scores (M, K), or (M, ..., K).

    Returns:
        A scalar tensor.
    """
    if y.dtype.is_integer and len(outputs.shape) == len(y.shape) + 1 > 2:
        y, outputs = tf.reshape(y, [-1]), tf.reshape(outputs, [-1, outputs.shape[-1]])
    if len(outputs.shape) != 2 or outputs.shape[-1] < 2:
        return tf.constant(float("nan"))
    sparse = len(y.shape) == 1 or y.shape[-1] == 1
    classes = tf.cast(tf.reshape(y, [-1]), tf.int64) if sparse else tf.argmax(y, axis=-1)
    return tf.reduce_mean(tf.cast(tf.argmax(outputs, axis=-1) == classes, tf.float32))

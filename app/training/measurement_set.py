"""The examples that are measured on, as tensors, and the accuracy on them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def as_tensors(measurement: Any, network: keras.Model) -> tuple[Any, Any]:
    """Check a measurement set and move it to the device.

    Args:
        measurement: Pair (x, y) of inputs (M, ...) and targets (M, ...).
        network: The model that is measured; it decides the dtype of inputs.

    Returns:
        Two tensors; images and other real numbers in the network's dtype, integer inputs as they are.

    Raises:
        ValueError: If it is not a pair of equal lengths, or the network has several inputs or outputs.
    """
    require_one_array(network)
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
        network: Any Keras model; one that does not tell passes.

    Raises:
        ValueError: If there are several.
    """
    inputs, outputs = (len(getattr(network, side, None) or [None]) for side in ("inputs", "outputs"))
    if inputs > 1 or outputs > 1:
        raise ValueError(
            "The sharpness is measured of models with one input and one output array. "
            f"Received: {network.name} with {inputs} and {outputs}. Concatenate them, and split inside the model."
        )


def accuracy(y: Any, outputs: Any) -> Any:
    """Share of examples whose largest output is their class; NaN for outputs that are not class scores.

    Args:
        y: Labels (M,) or (M, 1), or one-hot targets (M, K).
        outputs: Class scores (M, K).

    Returns:
        A scalar tensor.
    """
    if len(outputs.shape) != 2 or outputs.shape[-1] < 2:
        return tf.constant(float("nan"))
    sparse = len(y.shape) == 1 or y.shape[-1] == 1
    classes = tf.cast(tf.reshape(y, [-1]), tf.int64) if sparse else tf.argmax(y, axis=-1)
    return tf.reduce_mean(tf.cast(tf.argmax(outputs, axis=-1) == classes, tf.float32))

"""The examples that are measured on, as tensors, and the accuracy on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, map_arrays
from sharpness_phases.training.batches import Batch, Data, is_data_set, one_batch

Examples: TypeAlias = np.ndarray | tf.Tensor
"""Inputs, targets or outputs of M examples, shape (M, ...)."""

FROM_A_DATA_SET = 1024
"""Examples taken from a data set of which no number is asked for: as many as `recommend_learning_rate` measures on."""

ClassWeight: TypeAlias = Mapping[int, float]
"""Weight of the examples of a class, by its number; 1 for a class that is not there."""


class Weighted(NamedTuple):
    """Targets with the weights of their examples.

    Attributes:
        targets: Arrays (M, ...), or None.
        sample_weight: Weights, arrays (M,) or of what the loss weighs, such as (M, T) for tokens.
    """

    targets: Nested
    sample_weight: Nested


def with_weights(y: Nested, sample_weight: Nested) -> Nested:
    """Targets as a loss is differentiated with: `Weighted`, or where there are no weights as they are."""
    return y if sample_weight is None else Weighted(y, sample_weight)


def without_weights(y: Nested) -> Weighted:
    """Targets apart from their weights, which may be None."""
    return y if isinstance(y, Weighted) else Weighted(y, None)


def measurement_data(
    data: Data,
    examples: int | None = None,
    class_weight: ClassWeight | None = None,
    network: keras.Model | None = None,
    name: str = "measurement",
) -> Batch:
    """A measurement set, from whatever Keras trains on.

    A `ValueError` is raised if there are no examples, their numbers differ, their shapes do (ragged batches), or both
    kinds of weights are given.

    Args:
        data: (x,), (x, y) or (x, y, sample_weight) of arrays, nested as the model takes them, or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches of these, whose first examples are taken.
        examples: Number M of examples, or all that there are if they are fewer. None: all of arrays, and
            `FROM_A_DATA_SET` of a data set.
        class_weight: Weights by class, as of `fit`, in the place of `sample_weight`.
        network: The model that is measured; it decides the dtype of inputs. None: that of the data, as `fit` casts it.
        name: What messages call the data.

    Returns:
        Inputs, targets (or None) and weights (or None), as tensors, nested as given.
    """
    if examples is None and is_data_set(data):
        examples = FROM_A_DATA_SET
    precision = None if network is None else _precision_of(network)
    x, y, sample_weight = weighted_by_class(one_batch(data, examples, name, precision == "float64"), class_weight, name)
    if precision is not None:
        x = map_arrays(lambda array: _as_input(array, precision), x)
    return Batch(x, y, sample_weight)


def weighted_by_class(batch: Batch, class_weight: ClassWeight | None, name: str = "data") -> Batch:
    """A batch whose examples have the weights of their classes, as `fit` gives them.

    Args:
        batch: Of any data.
        class_weight: Weights by class; None for the batch as it is.
        name: What messages call the data.

    Returns:
        The batch, with weights of shape (M,).

    Raises:
        ValueError: If it has weights already, or its targets are no labels, (M,) or one-hot (M, K).
    """
    if class_weight is None:
        return batch
    if batch.sample_weight is not None:
        raise ValueError(f"`{name}` has sample weights already: give these or `class_weight`.")
    weights = tf.constant(_weights_of_classes(batch.y, class_weight), keras.backend.floatx())
    return batch._replace(sample_weight=weights)


def _precision_of(network: keras.Model) -> str:
    """The dtype of the weights; of a network that has none yet, the one it says."""
    dtypes = {weight.dtype for weight in network.weights}
    return "float64" if "float64" in dtypes else network.variable_dtype


def _as_input(array: tf.Tensor, precision: str) -> tf.Tensor:
    """Images and other real numbers in the precision of the weights, integers and strings as they are."""
    return tf.cast(array, precision) if array.dtype.is_floating or array.dtype == tf.uint8 else array


def _weights_of_classes(y: Nested, class_weight: ClassWeight) -> np.ndarray:
    """A weight for each example, (M,), as `fit` gives it: by its label, or the largest of its one-hot targets."""
    array: tf.Tensor | None = y if tf.is_tensor(y) else None
    if array is None or len(array.shape) > 2:
        shape = "several arrays or none" if array is None else f"shape {tuple(array.shape)}"
        raise ValueError(
            "`class_weight` needs one array of targets, labels (M,) or one-hot (M, K): with others give weights of "
            f"examples, (x, y, sample_weight). Received: targets of {shape}."
        )
    labels = array.numpy()
    labels = labels.argmax(axis=-1) if labels.ndim == 2 and labels.shape[-1] != 1 else labels.reshape(-1)
    return np.array([class_weight.get(int(label), 1.0) for label in np.round(labels)])


def require_one_precision(network: keras.Model) -> None:
    """Refuse mixed precision where a network is to be trained as well: short runs have no loss scale.

    Args:
        network: Any Keras model.

    Raises:
        ValueError: If a layer computes in another dtype than that of its weights.
    """
    for layer in network._flatten_layers():
        if layer.weights and layer.compute_dtype != layer.variable_dtype:
            raise ValueError(
                "Runs are made in the precision of the weights. Received: layer "
                f"{layer.name!r} with weights in {layer.variable_dtype} that computes in {layer.compute_dtype}. Build "
                "the network with the dtype policy 'float32'; what is found holds for mixed precision."
            )


def accuracy(y: Nested, outputs: Nested) -> tf.Tensor:
    """Share of examples whose largest output is their class; NaN for outputs that are not class scores.

    Args:
        y: Labels (M,) or (M, 1), or one-hot targets (M, K); or integer labels (M, ...) of parts of the examples, as of
            their tokens, of which the share is then. Their weights do not count.
        outputs: Class scores (M, K), or (M, ..., K).

    Returns:
        A scalar tensor.
    """
    targets = without_weights(y).targets
    if not (tf.is_tensor(targets) and tf.is_tensor(outputs)):
        return tf.constant(float("nan"))
    labels: tf.Tensor = targets
    scores: tf.Tensor = outputs
    if labels.dtype.is_integer and len(scores.shape) == len(labels.shape) + 1 > 2:
        labels, scores = tf.reshape(labels, [-1]), tf.reshape(scores, [-1, scores.shape[-1]])
    if len(scores.shape) != 2 or scores.shape[-1] < 2 or labels.dtype == tf.string:
        return tf.constant(float("nan"))
    sparse = len(labels.shape) == 1 or labels.shape[-1] == 1
    classes = tf.cast(tf.reshape(labels, [-1]), tf.int64) if sparse else tf.argmax(labels, axis=-1)
    return tf.reduce_mean(tf.cast(tf.argmax(scores, axis=-1) == classes, tf.float32))

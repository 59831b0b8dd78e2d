"""One batch of examples, from whatever Keras trains on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

Array: TypeAlias = np.ndarray | tf.Tensor
"""One array (B, ...)."""

Nested: TypeAlias = "np.ndarray | tf.Tensor | Mapping[str, Nested] | list[Nested] | tuple[Nested, ...]"
"""An array (B, ...), or lists, tuples and dicts of arrays of equal length."""

Data: TypeAlias = "tuple[Nested, ...] | tf.data.Dataset | keras.utils.PyDataset"
"""What `fit` trains on: (x, y) or (x, y, sample_weight), or a data set of batches of these."""


class Batch(NamedTuple):
    """Examples that are taken at once.

    Attributes:
        x: Inputs, arrays (B, ...).
        y: Targets, arrays (B, ...); None for a model that needs none.
        sample_weight: Weights, (B,); None for equal ones.
    """

    x: Nested
    y: Nested | None = None
    sample_weight: Nested | None = None


def one_batch(data: Data, examples: int | None = None, name: str = "data") -> Batch:
    """The first examples of some data, as tensors.

    Args:
        data: (x, y) or (x, y, sample_weight) of arrays, nested as the model takes them; or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches. A generator is refused: what is taken from it would be lost to training.
        examples: Number of examples B, or all that there are if they are fewer. None: all examples of arrays, the first
            batch of a data set.
        name: What messages call the data.

    Returns:
        The batch; arrays of float64 in Keras' precision, as `fit` casts them.

    Raises:
        ValueError: If there are no examples, their numbers differ, `examples` is no positive integer, or `data` is of
            another kind.
    """
    if examples is not None and (isinstance(examples, bool) or not isinstance(examples, int) or examples < 1):
        raise ValueError(f"`examples` must be an integer of at least 1, or None. Received: {examples!r}.")
    if isinstance(data, tf.data.Dataset):
        parts = _joined(iter(data), examples, name)
    elif isinstance(data, keras.utils.PyDataset):
        parts = _joined((data[index] for index in range(data.num_batches or 1)), examples, name)
    elif isinstance(data, tuple | list) and 1 <= len(data) <= 3:
        parts = tuple(data)
    else:
        raise ValueError(
            f"`{name}` must be (x, y), (x, y, sample_weight), a tf.data.Dataset or a keras.utils.PyDataset. "
            f"Received: {type(data).__name__}."
        )
    return _first(Batch(*parts), examples, name)


def _joined(batches: Iterable[tuple[Nested, ...]], examples: int | None, name: str) -> tuple[Nested, ...]:
    """The first batches of a data set, one behind the other, until there are as many examples as asked for."""
    taken: list[tuple[Nested, ...]] = []
    count = 0
    for batch in batches if examples else islice(batches, 1):
        taken.append(batch if isinstance(batch, tuple) else tuple(batch) if isinstance(batch, list) else (batch,))
        count += len(_leaves(taken[-1])[0])
        if examples and count >= examples:
            break
    if not taken:
        raise ValueError(f"`{name}` holds no batch.")
    if len(taken) == 1:
        return taken[0]
    return keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *taken)


def _leaves(nested: object) -> list[Array]:
    """The arrays of nested lists, tuples and dicts."""
    return [leaf for leaf in keras.tree.flatten(nested) if leaf is not None]


def _first(batch: Batch, examples: int | None, name: str) -> Batch:
    """The first examples of a batch, as tensors."""

    def tensor(part: Array | None) -> tf.Tensor | None:
        if part is None:
            return None
        cast = keras.backend.floatx() if isinstance(part, np.ndarray) and part.dtype == np.float64 else None
        return tf.convert_to_tensor(part, dtype=cast)[:examples]

    tensors = Batch(*(keras.tree.map_structure(tensor, part) for part in batch))
    counts = {int(leaf.shape[0]) if len(leaf.shape) else 0 for leaf in _leaves(tuple(tensors))}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"`{name}` needs equally many inputs, targets and weights, at least one. Received: {sorted(counts)}."
        )
    return tensors

"""The first examples of whatever Keras trains on: arrays, nested arrays and data sets of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, arrays_of, map_arrays, take

Data: TypeAlias = "tuple[Nested, ...] | tf.data.Dataset | keras.utils.PyDataset"
"""What `fit` trains on: (x, y) or (x, y, sample_weight), or a data set of batches of these."""

_FALSE_LENGTHS = (ValueError, tf.errors.InvalidArgumentError)
"""What TensorFlow raises where arrays do not fit one behind the other."""


class Batch(NamedTuple):
    """Examples that are taken at once.

    Attributes:
        x: Inputs, arrays (B, ...).
        y: Targets, arrays (B, ...); None for a model that needs none.
        sample_weight: Weights, (B,); None for equal ones.
    """

    x: Nested
    y: Nested = None
    sample_weight: Nested = None


def one_batch(data: Data, examples: int | None = None, name: str = "data", double: bool = False) -> Batch:
    """The first examples of some data, as tensors.

    Args:
        data: (x, y) or (x, y, sample_weight) of arrays, nested as the model takes them; or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches. A generator is refused: what is taken from it would be lost to training.
        examples: Number of examples B, or all that there are if they are fewer. None: all examples of arrays, the first
            batch of a data set.
        name: What messages call the data.
        double: Whether NumPy's float64 stays float64.

    Returns:
        The batch; arrays of float64 in Keras' precision, as `fit` casts them, unless `double`.

    Raises:
        ValueError: If there are no examples, their numbers differ, `examples` is no positive integer, or `data` is of
            another kind.
    """
    if examples is not None and (isinstance(examples, bool) or not isinstance(examples, int) or examples < 1):
        raise ValueError(f"`examples` must be an integer of at least 1, or None. Received: {examples!r}.")
    if is_data_set(data):
        parts = _joined(_batches(data), examples or 1, name)
    elif isinstance(data, tuple | list) and 1 <= len(data) <= 3:
        parts = tuple(data)
    else:
        raise ValueError(
            f"`{name}` must be a pair (x, y), or (x, y, sample_weight), a tf.data.Dataset or a keras.utils.PyDataset. "
            f"Received: {type(data).__name__}{f' of {len(data)}' if isinstance(data, tuple | list) else ''}."
        )
    return _first(Batch(*parts), examples, name, double)


def is_data_set(data: Data) -> bool:
    """Whether data come in batches."""
    return isinstance(data, tf.data.Dataset | keras.utils.PyDataset)


def _batches(data: tf.data.Dataset | keras.utils.PyDataset) -> Iterator[tuple[Nested, ...]]:
    """The batches of a data set, which may have no end, as (x,), (x, y) or (x, y, sample_weight)."""
    if isinstance(data, tf.data.Dataset):
        batches: Iterable[Nested] = iter(data)
    else:
        batches = (data[index] for index in (count() if data.num_batches is None else range(data.num_batches)))
    for batch in batches:
        yield batch if isinstance(batch, tuple) else tuple(batch) if isinstance(batch, list) else (batch,)


def _joined(batches: Iterator[tuple[Nested, ...]], examples: int, name: str) -> tuple[Nested, ...]:
    """The first batches of a data set, one behind the other, until there are as many examples as asked for."""
    taken: list[tuple[Nested, ...]] = []
    found = 0
    for batch in batches:
        taken.append(batch)
        found += examples_in(batch, name)
        if found >= examples:
            break
    if not taken:
        raise ValueError(f"`{name}` holds no batch.")
    if len(taken) == 1:
        return taken[0]
    try:
        return map_arrays(lambda *parts: tf.concat(parts, axis=0), *taken)
    except _FALSE_LENGTHS as error:
        shapes = sorted({tuple(tuple(array.shape) for array in arrays_of(batch)) for batch in taken})[:2]
        raise ValueError(
            f"The batches of `{name}` hold arrays of different shapes, such as {' and '.join(map(str, shapes))}, which "
            "are no one measurement set. Pad all batches to one length, with a mask, or take the first batch alone: "
            "`examples` of at most its size."
        ) from error


def examples_in(batch: tuple[Nested, ...], name: str) -> int:
    """Number of examples in a batch of a data set.

    Args:
        batch: (x,), (x, y) or (x, y, sample_weight).
        name: What messages call the data.

    Returns:
        The number.

    Raises:
        ValueError: If the data set holds single examples.
    """
    shapes = [np.shape(array) if isinstance(array, np.ndarray) else array.shape for array in arrays_of(batch)]
    if any(len(shape) == 0 for shape in shapes):
        raise ValueError(f"`{name}` holds single examples. Batch the data set first: `.batch(32)`.")
    return int(shapes[0][0])


def _first(batch: Batch, examples: int | None, name: str, double: bool) -> Batch:
    """The first examples of a batch, as tensors."""
    tensors = Batch(*(_tensors(part, f"{which} of `{name}`", double) for which, part in _named(batch).items()))
    counts = {int(leaf.shape[0]) if len(leaf.shape) else 0 for leaf in arrays_of(tensors)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"`{name}` needs equally many inputs, targets and weights, at least one. Received: {sorted(counts)}."
        )
    return tensors if examples is None else Batch(*take(tuple(tensors), slice(examples)))


def _named(batch: Batch) -> dict[str, Nested]:
    return {"inputs": batch.x, "targets": batch.y, "weights": batch.sample_weight}


def _tensors(part: Nested, where: str, double: bool) -> Nested:
    """One of inputs, targets and weights, as tensors; a list of plain numbers is one array."""
    if isinstance(part, list | tuple) and not any(hasattr(leaf, "shape") for leaf in arrays_of(part)):
        return _tensor(part, where, double)
    return map_arrays(lambda array: _tensor(array, where, double), part)


def _kind_of(data: tf.data.Dataset | keras.utils.PyDataset) -> str:
    return "tf.data.Dataset" if isinstance(data, tf.data.Dataset) else "keras.utils.PyDataset"


def _tensor(part: Nested, where: str, double: bool) -> tf.Tensor:
    if isinstance(part, tf.RaggedTensor | tf.SparseTensor):
        raise ValueError(
            f"The {where} are a {type(part).__name__}, whose examples have no common shape. Pad them: "
            "`.to_tensor()` of a RaggedTensor, `tf.sparse.to_dense` of a SparseTensor, and mask what was padded."
        )
    if is_data_set(part):
        raise ValueError(
            f"The {where} are a {_kind_of(part)}, where an array is wanted. A data set is given itself, in the place "
            "of the pair, and holds batches of (x, y): of two data sets `tf.data.Dataset.zip((x, y)).batch(32)`."
        )
    if tf.is_tensor(part):
        return tf.convert_to_tensor(part)
    try:
        array = np.asarray(part)
        cast = keras.backend.floatx() if array.dtype == np.float64 and not double else None
        return tf.convert_to_tensor(array, dtype=cast)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The {where} are no array of one shape: {error} Examples of different lengths must be padded, and what "
            "was padded masked."
        ) from error

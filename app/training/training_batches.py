"""The batches that a training would take, from whatever Keras trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count as from_zero
from typing import overload

import keras
import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, count_of, map_arrays
from sharpness_phases.data.preprocessing import batch_indices
from sharpness_phases.training.batches import Batch, Data, examples_in, is_data_set, one_batch
from sharpness_phases.training.measurement_set import ClassWeight, weighted_by_class


class TrainingBatches(Sequence[Batch]):
    """The first batches of a training, read as they are asked for and kept: every reader sees the same ones.

    Args:
        data: (x, y) or (x, y, sample_weight) of arrays, nested as the model takes them: batches are drawn at random, an
            epoch going through all examples. A `tf.data.Dataset` or `keras.utils.PyDataset`: its own batches in its own
            order, from its beginning again where it ends.
        count: Number of batches.
        batch_size: Examples in a batch of arrays, or all that there are if they are fewer.
        seed: Fixes the order of arrays.
        class_weight: Weights of the examples by class, as of `fit`.

    Raises:
        ValueError: If `data` is of another kind or holds nothing, or cannot be weighted by class.
    """

    def __init__(
        self, data: Data, count: int, batch_size: int = 32, seed: int = 0, class_weight: ClassWeight | None = None
    ) -> None:
        self._count, self._kept, self._class_weight = count, list[Batch](), class_weight
        if is_data_set(data):
            self._more = _of_data_set(data)
        else:
            self._more = _of_arrays(one_batch(data), count, batch_size, seed)

    def __len__(self) -> int:
        """Number of batches."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...

    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        """A batch, or several."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        while len(self._kept) <= index:
            self._kept.append(weighted_by_class(next(self._more), self._class_weight))
        return self._kept[index]


def examples_of(batch: Batch) -> int:
    """Number of examples in a batch."""
    return count_of(tuple(batch))


def _of_arrays(whole: Batch, count: int, batch_size: int, seed: int) -> Iterator[Batch]:
    """Batches without replacement from a permutation, a new one for every epoch."""
    examples = examples_of(whole)
    for rows in batch_indices(examples, min(batch_size, examples), count, seed):
        yield Batch(*map_arrays(lambda array, rows=rows: tf.gather(array, rows), tuple(whole)))


def _of_data_set(data: tf.data.Dataset | keras.utils.PyDataset) -> Iterator[Batch]:
    """The batches of a data set, which begins anew where it ends."""
    while True:
        found = False
        for parts in _once_through(data):
            found = True
            batch = tuple(parts) if isinstance(parts, tuple | list) else (parts,)
            examples_in(batch, "data")  # refuses single examples
            yield one_batch(batch)
        if not found:
            raise ValueError("`data` holds no batch.")


def _once_through(data: tf.data.Dataset | keras.utils.PyDataset) -> Iterator[Nested]:
    if isinstance(data, tf.data.Dataset):
        yield from data
    else:
        yield from (data[index] for index in (from_zero() if data.num_batches is None else range(data.num_batches)))

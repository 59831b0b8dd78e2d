"""From images and tokens to the arrays that networks are trained and measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sharpness_phases.data.catalogue import EMBEDDED, ONE_POINT, DataSetInfo, DataSize, described
from sharpness_phases.data.loading import load_image_set
from sharpness_phases.data.tokens import load_tokens
from sharpness_phases.errors import UserError

_CHUNK = 4096
"""Images standardised at once. Their float64 copies take 100 MB for images (32, 32, 3), where all of cifar10 would take
1.2 GB; the number was chosen so, and no value depends on it."""

# First entries of the seed sequences, so that equal seeds for different purposes give independent draws.
_SUBSET, _MEASUREMENT, _BATCHES = 1, 2, 3


@dataclass(frozen=True)
class TrainingData:
    """Training examples, standardised if they are images.

    Attributes:
        name: Name of the data set.
        x: Images, float32, shape (N, height, width, channels); or vectors, shape (N, length); or tokens, int32, shape
            (N, length).
        y: One-hot targets, float32, shape (N, classes); of tokens classes, int32, shape (N,) or (N, length).
        classes: Number of classes K.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.x.shape[1:]


def prepare(
    dataset: str | DataSize = EMBEDDED,
    train_examples: int | None = None,
    data_dir: str | None = None,
    seed: int = 0,
) -> TrainingData:
    """Load, select, standardise and encode training examples.

    Args:
        dataset: One of `sharpness_phases.data.catalogue.DATA_SETS`, by its name or, with what decides its size, as a
            `DataSize`.
        train_examples: Size of a class-balanced subset, of text of any; None for all.
        data_dir: Folder of TensorFlow Datasets; its default folder if None. Not used for the embedded set.
        seed: Fixes the subset.

    Returns:
        The examples.

    Raises:
        UserError: If the image set holds values that are not finite; or, from within, if it cannot be loaded.
    """
    size = dataset if isinstance(dataset, DataSize) else DataSize(dataset)
    if size.dataset == ONE_POINT:
        return TrainingData(ONE_POINT, np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32), classes=1)
    if (info := described(size)).kind == "tokens":
        return _prepare_tokens(size, info, train_examples, seed)
    images = load_image_set(size.dataset, data_dir)
    x, labels = images.train_images, images.train_labels
    broken = 0 if x.dtype.kind in "iu" else int((~np.isfinite(x)).any(axis=tuple(range(1, x.ndim))).sum())
    if broken:
        raise UserError(f"data.dataset: {broken} of {len(x)} images of {images.name} hold NaN or infinite values")
    if train_examples is not None:
        chosen = balanced_subset(labels, train_examples, seed)
        x, labels = x[chosen], labels[chosen]
    return TrainingData(images.name, standardize(x), one_hot(labels, images.classes), images.classes)


def _prepare_tokens(size: DataSize, info: DataSetInfo, train_examples: int | None, seed: int) -> TrainingData:
    """Load and select sequences; a text with fewer examples than are asked for ends with `UserError`."""
    x, y = load_tokens(size)
    needed = train_examples or 1
    if len(x) < needed:
        raise UserError(
            f"data: {size.path or size.dataset} has {len(x)} examples of {size.context_length} tokens with one behind "
            f"them; {needed} are needed. Lower data.context_length or data.train_examples."
        )
    if train_examples is not None:
        labels = np.zeros(len(y), np.int64) if info.everywhere else y
        chosen = balanced_subset(labels, train_examples, seed)
        x, y = x[chosen], y[chosen]
    return TrainingData(size.dataset, x, y, info.classes)


def standardize(images: np.ndarray) -> np.ndarray:
    """Standardise every example on its own: zero mean, unit standard deviation over all pixels and channels.

    Args:
        images: Shape (N, ...), any numeric dtype.

    Returns:
        float32 of the same shape; an image of one colour gives zeros.
    """
    standard = np.empty(images.shape, np.float32)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].astype(np.float64)
        axes = tuple(range(1, part.ndim))
        part -= part.mean(axis=axes, keepdims=True)
        deviation = part.std(axis=axes, keepdims=True)
        standard[start : start + _CHUNK] = part / np.where(deviation > 0, deviation, 1)
    return standard


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Encode labels (N,) as float32 targets (N, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


def balanced_subset(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw a class-balanced subset without replacement.

    Args:
        labels: Labels of all examples, shape (N,).
        count: Size of the subset, at most N.
        seed: Fixes the draw.

    Returns:
        Sorted indices, shape (count,). Class sizes differ by at most one, but for classes with too few examples, whose
        lack is made up from the others.

    Raises:
        ValueError: If there are fewer than `count` examples.
    """
    if count > len(labels):
        raise ValueError(f"A subset of {count} was asked of {len(labels)} examples.")
    order = np.random.default_rng([_SUBSET, seed]).permutation(len(labels))
    # Rank of each example within its class, in the drawn order: taking the lowest ranks first balances the classes.
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    return np.sort(order[np.argsort(rank[order], kind="stable")[:count]])


def measurement_indices(examples: int, count: int, seed: int) -> np.ndarray:
    """Draw the measurement set.

    Args:
        examples: Number of training examples.
        count: Number M of examples to measure on, at most `examples`.
        seed: Fixes the draw.

    Returns:
        Sorted indices without repetition, shape (count,).
    """
    return np.sort(np.random.default_rng([_MEASUREMENT, seed]).choice(examples, count, replace=False))


def batch_indices(examples: int, batch_size: int, steps: int, seed: int) -> np.ndarray:
    """Draw the batches of a run: without replacement from a permutation, a new one for every epoch.

    Args:
        examples: Number of training examples, at least `batch_size`.
        batch_size: Examples in a batch; a remainder smaller than that is left out of its epoch.
        steps: Number of batches.
        seed: Fixes the permutations.

    Returns:
        Indices, shape (steps, batch_size).
    """
    per_epoch = examples // batch_size
    epochs = [
        np.random.default_rng([_BATCHES, seed, epoch])
        .permutation(examples)[: per_epoch * batch_size]
        .reshape(per_epoch, batch_size)
        for epoch in range(-(-steps // per_epoch))
    ]
    return np.concatenate(epochs)[:steps]

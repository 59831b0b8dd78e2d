"""Says in words what is wrong with examples on which a loss cannot be computed, or is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, count_of, take
from sharpness_phases.training.measurement_set import without_weights

LossOf: TypeAlias = Callable[[Nested, Nested], tf.Tensor]
"""Function (x, y) -> loss of these examples."""

NO_LOSS = (ValueError, TypeError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""What Keras and TensorFlow raise for data that a network or a loss cannot take."""


class Faulty(ValueError):
    """Examples that have no loss, for a reason that is known.

    Attributes:
        words: What is wrong with them.
    """

    def __init__(self, words: str) -> None:
        super().__init__(f"The measurement set has no loss that could be differentiated: {words}")
        self.words = words


def require_loss(loss: LossOf, outputs: Callable[[Nested], Nested], x: Nested, y: Nested, at_once: int) -> None:
    """Refuse examples that have no loss, if what is wrong with them is known: strings, NaN, labels out of range.

    Only what an example does to its own loss counts: a loss may know what to do with NaN or with a label of -1. Weights
    that are not finite are no fault of the examples.

    Args:
        loss: Function (x, y) -> loss of examples, callable outside of graphs.
        outputs: The network.
        x: Inputs, shape (B, ...), one tensor or nested ones.
        y: Targets, likewise, perhaps with weights.
        at_once: Number of examples that are looked at at once.

    Raises:
        Faulty: If there is no loss, or one that is not finite, for a reason that is known.
    """
    for start in range(0, count_of((x, y)), at_once):
        part = slice(start, start + at_once)
        error = _fault_of(loss, take(x, part), take(y, part))
        if error is None:
            continue
        words = next(_known(loss, outputs, x, y), None)
        if words is not None:
            raise Faulty(words) from error
        if not isinstance(error, FloatingPointError):
            raise error
        return


def _fault_of(loss: LossOf, x: Nested, y: Nested) -> Exception | None:
    """What happens to the loss of some examples; None for one that is finite."""
    try:
        found = float(loss(x, y))
    except NO_LOSS as error:
        return error
    return None if np.isfinite(found) else FloatingPointError(f"a loss of {found}")


def _known(loss: LossOf, outputs: Callable[[Nested], Nested], x: Nested, y: Nested) -> Iterator[str]:
    """Sentences about what is known to be wrong, the most likely first."""
    targets, sample_weight = without_weights(y)
    parts = {"inputs": x, "targets": targets, "weights": sample_weight}
    yield from _strings(parts)
    yield from _not_finite(parts, lambda example: _fault_of(loss, take(x, example), take(y, example)) is not None)
    yield from _labels(loss, outputs, x, y)


def _named(which: str, nested: Nested) -> Iterator[tuple[str, tf.Tensor]]:
    """The arrays of one part with what to call them."""
    for path, array in keras.tree.flatten_with_path(nested):
        if array is not None:
            yield which + "".join(f"[{step!r}]" for step in path), array


def _strings(parts: dict[str, Nested]) -> Iterator[str]:
    for which, nested in parts.items():
        for name, array in _named(which, nested):
            if array.dtype == tf.string:
                example = np.asarray(array).reshape(-1)[0].decode(errors="replace")
                way = "`keras.layers.TextVectorization`, " if which == "inputs" else ""
                yield (
                    f"the {name} are strings, such as {example!r}. Number them first, with {way}"
                    "`keras.layers.StringLookup` or `numpy.unique(..., return_inverse=True)`."
                )


def _not_finite(parts: dict[str, Nested], is_faulty: Callable[[slice], bool]) -> Iterator[str]:
    for which, nested in parts.items():
        for name, array in _named(which, nested):
            if not array.dtype.is_floating:
                continue
            values = np.asarray(tf.cast(array, tf.float64))
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            if len(bad) and is_faulty(slice(bad[0], bad[0] + 1)):
                yield (
                    f"the {name} hold NaN or infinity in {len(bad)} of {len(values)} examples, first in example "
                    f"{bad[0]}. Leave such examples out, or fill what is missing."
                )


def _labels(loss: LossOf, outputs: Callable[[Nested], Nested], x: Nested, y: Nested) -> Iterator[str]:
    """Labels that are no class of the outputs."""
    targets = without_weights(y).targets
    scores = outputs(take(x, slice(1)))
    try:
        tf.nest.assert_same_structure(targets, scores)
    except (ValueError, TypeError):
        return
    if None in tf.nest.flatten(targets):
        return
    for (name, labels), of_one in zip(_named("targets", targets), tf.nest.flatten(scores), strict=True):
        classes = int(of_one.shape[-1]) if len(of_one.shape) > 1 else 0
        if classes < 2 or labels.dtype == tf.string or not _are_labels(labels, of_one):
            continue
        values = np.asarray(labels).reshape(len(labels), -1)
        bad = np.flatnonzero(((values < 0) | (values >= classes)).any(axis=1))
        if not len(bad) or _fault_of(loss, *(take(part, slice(bad[0], bad[0] + 1)) for part in (x, y))) is None:
            continue
        low, high = values.min(), values.max()
        start = " They start at 1: subtract 1." if (low, high) == (1, classes) else ""
        yield (
            f"the {name} are labels from {low:g} to {high:g}, first wrong in example {bad[0]}; with {classes} outputs "
            f"the classes are 0 to {classes - 1}.{start}"
        )


def _are_labels(labels: tf.Tensor, scores: tf.Tensor) -> bool:
    """Whether there is one number for each vector of class scores."""
    each = list(scores.shape[1:-1])
    return list(labels.shape[1:]) in (each, [*each, 1])

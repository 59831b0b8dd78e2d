"""A loss that is a mean over parts of the examples: its value, gradient and Hessian from those of the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, count_of, map_arrays, take
from sharpness_phases.curvature.operator import Linearization, Scalar, Vector

_SAME = 1e-4
"""Relative difference up to which a loss is the mean of its parts: well above rounding in float32, and below what a sum
makes, a factor of two."""

_LOOKED_AT = 64
"""Half chunks that are looked at, evenly spaced: all of 1,024 examples in chunks of 32, and at most 127 forward
passes."""

OfAPart: TypeAlias = Callable[[Nested, Nested], tuple[tf.Tensor, ...]]
"""Function (x, y) -> several quantities of these examples."""


class Parts(Protocol):
    """The examples in parts j = 1, 2, ..., with weights w_j that sum to 1."""

    def mean(self, quantities: OfAPart, shapes: tuple[list[int], ...], dtype: tf.DType) -> tuple[tf.Tensor, ...]:
        """The means sum_j w_j q_j of quantities q_j of the parts.

        Args:
            quantities: Function (x, y) -> quantities of a part.
            shapes: Shape of each quantity.
            dtype: Dtype of all of them.

        Returns:
            A tensor for each quantity.
        """
        ...


class NotAMean(ValueError):
    """A loss that is no mean over its examples, or over equal chunks, cannot be taken in chunks."""


def require_mean(loss: Callable[[Nested, Nested], Scalar], x: Nested, y: Nested, chunk_size: int | None = None) -> None:
    """Refuse a loss that is no mean over its examples with `NotAMean`; nothing is seen inside a graph.

    The loss of the first four must be the mean of the loss of three and the loss of one, so weighted. Where a mask or a
    weight decides how many entries a mean goes over, that may hold by chance; so the same is asked of half chunks, each
    with the next one, of up to `_LOOKED_AT` of them: of no more examples at once than a chunk has.

    Args:
        loss: Function (x, y) -> loss of these examples.
        x: Inputs, shape (B, ...), one array or nested ones.
        y: Targets, likewise.
        chunk_size: Number of examples of a chunk; None for a look at four alone.
    """
    if not tf.executing_eagerly():
        return
    examples = count_of((x, y))
    few = min(4, examples)
    _require_means_of_pairs(loss, x, y, [slice(0, max(few - 1, 1)), slice(few - 1, few)] if few > 1 else [])
    if chunk_size is not None:
        size = max(chunk_size // 2, 1)
        starts = range(0, examples, size)
        apart = -(-len(starts) // _LOOKED_AT)
        _require_means_of_pairs(loss, x, y, [slice(start, min(start + size, examples)) for start in starts[::apart]])


def _require_means_of_pairs(
    loss: Callable[[Nested, Nested], Scalar], x: Nested, y: Nested, parts: Sequence[slice]
) -> None:
    """Refuse a loss that on a part and the next one together is not the mean of both."""
    data = [(take(x, part), take(y, part)) for part in parts]
    losses = [float(loss(*each)) for each in data]
    counts = [part.stop - part.start for part in parts]
    for i in range(len(parts) - 1):
        both = map_arrays(lambda *arrays: tf.concat(arrays, axis=0), data[i], data[i + 1])
        examples = counts[i] + counts[i + 1]
        whole, mean = float(loss(*both)), (counts[i] * losses[i] + counts[i + 1] * losses[i + 1]) / examples
        if abs(whole - mean) > _SAME * max(abs(whole), abs(mean)):
            raise NotAMean(
                "`chunk_size` needs a loss that is the mean over its examples, as the Hessian is made of those of "
                f"chunks. Received: a loss of {whole:.6g} on {examples} examples, whose parts give {mean:.6g} (as with "
                "reduction='sum', or where a mask leaves more of one example than of another). Use a mean, or no "
                "chunks."
            )


class Chunks:
    """Slices of `chunk_size` examples, and the rest, one after the other; w_j is a slice's share of the examples.

    Args:
        x: Inputs, shape (B, ...), one tensor or nested ones.
        y: Targets, likewise.
        chunk_size: Number of examples of a slice, between 1 and B.
    """

    def __init__(self, x: Nested, y: Nested, chunk_size: int) -> None:
        self._data = (x, y)
        self._examples = count_of(self._data)
        self._chunk_size = chunk_size

    def mean(self, quantities: OfAPart, shapes: tuple[list[int], ...], dtype: tf.DType) -> tuple[tf.Tensor, ...]:
        """The means sum_j w_j q_j, in a loop that keeps one slice at a time (see `Parts`)."""
        size, full = self._chunk_size, self._examples // self._chunk_size

        def added(sums: tuple[tf.Tensor, ...], start: Scalar | int, count: int) -> tuple[tf.Tensor, ...]:
            weight = tf.constant(count / self._examples, dtype)
            found = quantities(*map_arrays(lambda data: _slice(data, start, count), self._data))
            return tuple(total + weight * quantity for total, quantity in zip(sums, found, strict=True))

        _, sums = tf.while_loop(
            lambda i, sums: i < full,
            lambda i, sums: (i + 1, added(sums, i * size, size)),
            (tf.constant(0), tuple(tf.zeros(shape, dtype) for shape in shapes)),
            maximum_iterations=full,
            parallel_iterations=1,
        )
        rest = self._examples - full * size
        return added(sums, full * size, rest) if rest else sums


class MeanOver:
    """Hessian of a mean loss, H v = sum_j w_j H_j v, and so its gradient and value.

    Nothing is kept between the parts, so that memory is bounded by the largest one, at the price of a new forward pass
    and gradient of every part for every product.

    Args:
        parts: The examples in parts.
        linearize: Function (x, y) -> loss, gradient and product of the loss of these examples.
        size: Number n of rows of H.
        dtype: Of its vectors.
    """

    def __init__(
        self, parts: Parts, linearize: Callable[[Nested, Nested], Linearization], size: int, dtype: tf.DType
    ) -> None:
        self._parts = parts
        self._linearize = linearize
        self.size = size
        self.dtype = dtype

    def linearize(self) -> Linearization:
        """Loss, gradient and product at the present weights; callable inside a `tf.function`."""

        def of_a_part(x: Nested, y: Nested) -> tuple[Scalar, Vector, Scalar]:
            here = self._linearize(x, y)
            return here.loss, here.gradient, here.accuracy

        loss, gradient, accuracy = self._parts.mean(of_a_part, ([], [self.size], []), self.dtype)
        return Linearization(loss, gradient, self._product, accuracy)

    def _product(self, vector: Vector) -> Vector:
        (product,) = self._parts.mean(lambda x, y: (self._linearize(x, y).matvec(vector),), ([self.size],), self.dtype)
        return product


def _slice(data: tf.Tensor, start: Scalar | int, count: int) -> tf.Tensor:
    begin = tf.concat([[start], tf.zeros([len(data.shape) - 1], tf.int32)], axis=0)
    return tf.slice(data, begin, [count, *data.shape[1:]])

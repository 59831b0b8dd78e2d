"""The Hessian of a loss as a linear operator, by double backpropagation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sharpness_phases.curvature.operator import Linearization


class HessianOperator:
    """Hessian H of the mean loss L over a fixed set of examples, as a map on flat vectors.

    H v is the derivative of g(theta).v, by reverse mode over reverse mode (Pearlmutter 1994). `linearize` computes
    the forward pass and the gradient g once; a product then costs one backward pass through both. With
    `chunk_size` the examples are taken in chunks and H v = sum_j (B_j / B) H_j v; nothing is kept between chunks, so
    that memory is bounded, at the price of a new forward pass and gradient for every product.

    Args:
        loss: Function (x, y) -> scalar mean loss over the given examples, differentiable twice; or, with `reports`, a
            pair of it and another scalar mean, such as the accuracy.
        variables: TensorFlow variables theta, all of one dtype; their flat concatenation has n entries.
        x: Inputs, shape (B, ...).
        y: Targets, shape (B, ...).
        chunk_size: Number of examples differentiated at once; None for all.
        reports: Whether `loss` returns a pair.

    Raises:
        ValueError: If there are no variables, or `chunk_size` is below 1.

    Example:
        The Hessian of L = mean (theta x)^2 / 2 over x = 1, 3 is mean x^2 = 5:

        >>> theta = tf.Variable([2.0])
        >>> operator = HessianOperator(
        ...     lambda x, y: tf.reduce_mean((theta * x) ** 2) / 2, [theta], tf.constant([1.0, 3.0]), tf.zeros(2)
        ... )
        >>> operator.linearize().matvec(tf.constant([1.0])).numpy()
        array([5.], dtype=float32)
    """

    def __init__(
        self,
        loss: Callable[[Any, Any], Any],
        variables: Sequence[Any],
        x: Any,
        y: Any,
        chunk_size: int | None = None,
        reports: bool = False,
    ) -> None:
        if not variables:
            raise ValueError("The Hessian needs at least one trainable variable. Received: none.")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"`chunk_size` must be at least 1 or None. Received: {chunk_size!r}.")
        self._loss = loss if reports else lambda x, y: (loss(x, y), 0.0)
        self._variables = list(variables)
        self._x = tf.convert_to_tensor(x)
        self._y = tf.convert_to_tensor(y)
        self._examples = int(self._x.shape[0])
        self._chunk = chunk_size if chunk_size is not None and chunk_size < self._examples else None
        self._shapes = [tuple(v.shape) for v in self._variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.size: int = sum(self._sizes)
        self.dtype = tf.as_dtype(self._variables[0].dtype)

    def linearize(self) -> Linearization:
        """Loss, gradient and product at the variables' present values; callable inside a `tf.function`."""
        if self._chunk is None:
            return self._linearize(self._x, self._y)
        loss, gradient, report = self._sum_over_chunks(lambda at: (at.loss, at.gradient, at.accuracy), (0.0, None, 0.0))
        return Linearization(loss, gradient, self._chunked_matvec, report)

    def flatten(self, tensors: Sequence[Any]) -> Any:
        """Concatenate one tensor for each variable into a vector of shape (n,)."""
        return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)

    def unflatten(self, vector: Any) -> list[Any]:
        """Split a vector of shape (n,) into one tensor for each variable."""
        parts = tf.split(vector, self._sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _linearize(self, x: Any, y: Any) -> Linearization:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as outer:
            outer.watch(self._variables)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(self._variables)
                loss, report = self._loss(x, y)
            gradient = self._gradient(inner, loss)

        def matvec(vector: Any) -> Any:
            return self._gradient(outer, gradient, output_gradients=vector)

        return Linearization(loss, gradient, matvec, tf.cast(report, self.dtype))

    def _gradient(self, tape: Any, target: Any, output_gradients: Any = None) -> Any:
        gradients = tape.gradient(
            target,
            self._variables,
            output_gradients=output_gradients,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return self.flatten([tf.convert_to_tensor(g) for g in gradients])

    def _chunked_matvec(self, vector: Any) -> Any:
        (product,) = self._sum_over_chunks(lambda at: (at.matvec(vector),), (None,))
        return product

    def _sum_over_chunks(
        self, quantities: Callable[[Linearization], tuple[Any, ...]], like: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Mean over all examples of what `quantities` returns for a chunk; `like` holds None for an (n,) vector."""
        assert self._chunk is not None
        chunk, full = self._chunk, self._examples // self._chunk

        def at(start: Any, count: int) -> tuple[Any, ...]:
            part = self._linearize(*(self._slice(data, start, count) for data in (self._x, self._y)))
            weight = tf.constant(count / self._examples, self.dtype)
            return tuple(weight * quantity for quantity in quantities(part))

        sums = tuple(tf.zeros([] if zero is not None else [self.size], self.dtype) for zero in like)
        _, sums = tf.while_loop(
            lambda i, sums: i < full,
            lambda i, sums: (i + 1, tuple(s + p for s, p in zip(sums, at(i * chunk, chunk), strict=True))),
            (tf.constant(0), sums),
            maximum_iterations=full,
            parallel_iterations=1,
        )
        rest = self._examples - full * chunk
        if rest:
            sums = tuple(s + p for s, p in zip(sums, at(full * chunk, rest), strict=True))
        return sums

    def _slice(self, data: Any, start: Any, count: int) -> Any:
        begin = tf.concat([[start], tf.zeros([len(data.shape) - 1], tf.int32)], axis=0)
        return tf.slice(data, begin, [count, *data.shape[1:]])

"""The Hessian of a loss as a linear operator, by double backpropagation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow.python.ops import gradients_util

from sharpness_phases.curvature.chunks import Chunks, MeanOver, require_mean
from sharpness_phases.curvature.examples import Nested, as_nested_tensors, count_of
from sharpness_phases.curvature.operator import Linearization, Scalar, Vector

Loss: TypeAlias = Callable[[Nested, Nested], Scalar]
"""Function (x, y) -> mean loss of these examples."""

LossAndAccuracy: TypeAlias = Callable[[Nested, Nested], tuple[Scalar, Scalar]]
"""Function (x, y) -> mean loss of these examples, and another mean, such as the accuracy."""


class HessianOperator:
    """Hessian H of the mean loss L over a fixed set of examples, as a map on flat vectors.

    H v is the derivative of g(theta).v, by reverse mode over reverse mode (Pearlmutter 1994). `linearize` computes
    the forward pass and the gradient g once; a product then costs one backward pass through both. With
    `chunk_size` B_j the examples are taken in chunks and H v = sum_j (B_j / B) H_j v; nothing is kept between chunks,
    so that memory is bounded, at the price of a new forward pass and gradient for every product.

    Args:
        loss: Function (x, y) -> scalar mean loss over the given examples, differentiable twice; or, `with_accuracy`, a
            pair of it and another scalar mean, such as the accuracy.
        variables: TensorFlow variables theta, all of one dtype; their flat concatenation has n entries.
        x: Inputs, shape (B, ...): one array, or lists, tuples and dicts of arrays.
        y: Targets, likewise; None where the loss needs none.
        chunk_size: Number of examples differentiated at once; None for all.
        with_accuracy: Whether `loss` returns a pair.
        mean_of_chunks: Whether L is the mean of the losses of chunks, even if these are no means over examples.

    Attributes:
        variables: The variables theta.
        size: Number n of rows of H.
        dtype: Of theta, and so of gradients and products.
        examples_at_once: Number of examples differentiated at once.

    Raises:
        ValueError: If there are no variables, `chunk_size` is below 1, or the loss of examples that are taken in chunks
            is not their mean.

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
        loss: Loss | LossAndAccuracy,
        variables: Sequence[tf.Variable],
        x: ArrayLike | Nested,
        y: ArrayLike | Nested,
        chunk_size: int | None = None,
        with_accuracy: bool = False,
        mean_of_chunks: bool = False,
    ) -> None:
        if not variables:
            raise ValueError("The Hessian needs at least one trainable variable. Received: none.")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"`chunk_size` must be at least 1 or None. Received: {chunk_size!r}.")
        self._loss = loss if with_accuracy else lambda x, y: (loss(x, y), 0.0)
        self._x, self._y = as_nested_tensors(x), as_nested_tensors(y)
        self.variables = list(variables)
        self._shapes = [tuple(v.shape) for v in self.variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.size: int = sum(self._sizes)
        self.dtype = tf.as_dtype(self.variables[0].dtype)
        examples = count_of((self._x, self._y))
        self.examples_at_once = min(chunk_size or examples, examples)
        self._chunks: Chunks | None = None
        if self.examples_at_once < examples:
            if not mean_of_chunks:
                require_mean(lambda x, y: self._loss(x, y)[0], self._x, self._y, self.examples_at_once)
            self._chunks = Chunks(self._x, self._y, self.examples_at_once)

    def linearize(self) -> Linearization:
        """Loss, gradient and product at the variables' present values; callable inside a `tf.function`."""
        if self._chunks is None:
            return self._linearize(self._x, self._y)
        return MeanOver(self._chunks, self._linearize, self.size, self.dtype).linearize()

    def flatten(self, tensors: Sequence[tf.Tensor]) -> Vector:
        """Concatenate one tensor for each variable into a vector of shape (n,)."""
        return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)

    def unflatten(self, vector: Vector) -> list[tf.Tensor]:
        """Split a vector of shape (n,) into one tensor for each variable."""
        parts = tf.split(vector, self._sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _linearize(self, x: Nested, y: Nested) -> Linearization:
        return self._linearize_eagerly(x, y) if tf.executing_eagerly() else self._linearize_in_graph(x, y)

    def _linearize_in_graph(self, x: Nested, y: Nested) -> Linearization:
        """By derivatives of the graph: tapes make functions of each loop for every order, and trace long."""
        graph = tf.compat.v1.get_default_graph()
        theta = [graph.capture(variable.handle) for variable in self.variables]
        loss, accuracy = self._loss(x, y)

        def derivative(target: tf.Tensor, along: list[tf.Tensor] | None = None) -> Vector:
            """Of a target of this graph, in this one or in one within it, such as the body of a loop."""
            # As `tf.gradients`, which looks into the innermost graph alone.
            return self._flat(gradients_util._GradientsHelper([target], theta, along, src_graph=graph))

        gradient = derivative(loss)
        return Linearization(loss, gradient, lambda v: derivative(gradient, [v]), tf.cast(accuracy, self.dtype))

    def _linearize_eagerly(self, x: Nested, y: Nested) -> Linearization:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as outer:
            outer.watch(self.variables)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(self.variables)
                loss, accuracy = self._loss(x, y)
            gradient = self._flat(inner.gradient(loss, self.variables))

        def matvec(vector: Vector) -> Vector:
            return self._flat(outer.gradient(gradient, self.variables, output_gradients=vector))

        return Linearization(loss, gradient, matvec, tf.cast(accuracy, self.dtype))

    def _flat(self, derivatives: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> Vector:
        """One vector of derivatives by the variables, zero where there is none."""
        return self.flatten(
            [
                tf.zeros_like(variable) if each is None else tf.convert_to_tensor(each)
                for each, variable in zip(derivatives, self.variables, strict=True)
            ]
        )

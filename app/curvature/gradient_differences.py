"""The Hessian of a loss as a linear operator, by differences of its gradient: no second derivative is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sharpness_phases.curvature.examples import Nested, arrays_of
from sharpness_phases.curvature.hessian import HessianOperator, Loss, LossAndAccuracy
from sharpness_phases.curvature.operator import EigenResult, Linearization, Scalar, Vector
from sharpness_phases.curvature.starts import length

Products: TypeAlias = Literal["exact", "differences"]
"""How products with a Hessian are made: by second derivatives, or by differences of first ones."""

_TRIED = (1 / 32, 1 / 8, 1 / 2, 2.0, 8.0, 32.0)
"""Multiples of the step for smooth losses and typical weights that are compared, neighbours with each other.

With tanh and gelu the best step is once the typical one, or a quarter. With ReLU, width 128, depth 6 and 256 examples,
products along the gradient were off by 95%, 55%, 27%, 14% and 11% at 1/16, 1/4, 1, 4 and 16 times, and the eigenvalue
found by a factor of 3 at 1/16, 1.4 at once and 1.04 at 16 times; of few examples, between whose kinks there is room,
1/16 was right to 1e-4."""


def require_products(value: str) -> Products:
    """Refuse what is no way to make products.

    Args:
        value: What was given as `products`.

    Returns:
        The same.

    Raises:
        ValueError: If it is none of `Products`.
    """
    for allowed in get_args(Products):
        if value == allowed:
            return allowed
    raise ValueError(f"`products` must be one of {', '.join(map(repr, get_args(Products)))}. Received: {value!r}.")


class DifferenceOperator(HessianOperator):
    """Hessian H of a mean loss whose products are central differences of its gradient g.

        H v ~ |v| (g(theta + h u) - g(theta - h u)) / 2h,   u = v / |v|

    The error is at most e / h + h^2 M / 6, of a gradient with noise e and third derivative of the loss M along u, and
    smallest at h = (3 e / M)^(1/3) (Nocedal & Wright 2006, Sec. 8.1). For rounding, e = eps |g|, and a loss that bends
    over a length l, M = |g| / l^2 and h = (3 eps)^(1/3) l, with l from the size of the weights. Around it the step is
    chosen by what is measured whenever the loss is linearised: of six products along the gradient, at steps that grow
    by 4, the two that agree best have h between them. Where the loss is smooth about eps^(2/3) of the product
    remains: 1e-4 in float32, 1e-10 in float64. `Linearization.doubt` measures it for a given vector: the difference of
    the products at h and at 2 h, in which the error of either is seen.

    Kinks leave more: a gradient that jumps where a ReLU switches is differentiated across all that switch between both
    points. Their part falls as h^(-1/2) only, so that wide steps are best, and what is found is the curvature over
    such a distance. It was 5% to 19% above the Hessian's in networks with ReLU. `doubt` is of that size, but no bound.

    The variables do not move, and nothing has to be put back: the gradient is traced once, and computed with the values
    of variables of its own in their place. That is one copy of the weights; a product costs two gradients.

    Args:
        loss: As for `HessianOperator`, but differentiable once.
        variables: TensorFlow variables theta, all of one dtype.
        x: Inputs, shape (B, ...): one array, or lists, tuples and dicts of arrays.
        y: Targets, likewise; None where the loss needs none.
        chunk_size: Number of examples differentiated at once; None for all.
        with_accuracy: Whether `loss` returns a pair.
        mean_of_chunks: Whether L is the mean of the losses of chunks, even if these are no means over examples.

    Example:
        The Hessian of L = mean (theta x)^2 / 2 over x = 1, 3 is mean x^2 = 5:

        >>> theta = tf.Variable([2.0])
        >>> operator = DifferenceOperator(
        ...     lambda x, y: tf.reduce_mean((theta * x) ** 2) / 2, [theta], tf.constant([1.0, 3.0]), tf.zeros(2)
        ... )
        >>> [round(float(entry), 2) for entry in operator.linearize().matvec(tf.constant([1.0]))]
        [5.0]
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
        super().__init__(loss, variables, x, y, chunk_size, with_accuracy, mean_of_chunks)
        structure = (self._x, self._y)

        def traced(*arrays: tf.Tensor) -> tuple[Scalar, Vector, Scalar]:
            return self._first_derivatives(*_packed(structure, arrays))

        self._traced = tf.function(traced, autograph=False)
        self._moved = [tf.Variable(variable, trainable=False) for variable in self.variables]

    def linearize(self) -> Linearization:
        """Loss, gradient and product at the variables' present values; callable inside a `tf.function`."""
        theta = self.flatten([tf.convert_to_tensor(variable) for variable in self.variables])
        loss, gradient, accuracy = self._derivatives_at(theta)
        step = self._best_step(theta, gradient)

        def matvec(vector: Vector) -> Vector:
            return self._product(theta, vector, step)

        def doubt(vector: Vector) -> Vector:
            return matvec(vector) - self._product(theta, vector, 2 * step)

        return Linearization(loss, gradient, matvec, tf.cast(accuracy, self.dtype), doubt)

    def _product(self, theta: Vector, vector: Vector, step: Scalar) -> Vector:
        """|v| (g(theta + h u) - g(theta - h u)) / 2h."""
        size = length(vector)
        along = step * tf.math.divide_no_nan(vector, size)
        ahead, behind = (self._derivatives_at(theta + moved)[1] for moved in (along, -along))
        return size / (2 * step) * (ahead - behind)

    def _best_step(self, theta: Vector, gradient: Vector) -> Scalar:
        """The step between the two neighbouring ones of `_TRIED` whose products with the gradient agree best."""
        eps = float(np.finfo(self.dtype.as_numpy_dtype).eps)
        typical = (3 * eps) ** (1 / 3) * self._turning(theta)
        steps = typical * tf.constant(_TRIED, self.dtype)
        direction = tf.math.divide_no_nan(gradient, length(gradient))

        def compared(i: Scalar, before: Vector, least: Scalar, best: Scalar) -> tuple[Scalar, Vector, Scalar, Scalar]:
            product = self._product(theta, direction, steps[i])
            apart = length(product - before)
            better = apart < least  # not where one is not finite
            between = tf.sqrt(steps[i] * steps[i - 1])
            return i + 1, product, tf.where(better, apart, least), tf.where(better, between, best)

        first = self._product(theta, direction, steps[0])
        unknown = tf.constant(float("inf"), self.dtype)
        _, _, _, best = tf.while_loop(
            lambda i, *_: i < len(_TRIED), compared, (1, first, unknown, typical), parallel_iterations=1
        )
        return best

    def _turning(self, theta: Vector) -> Scalar:
        """The length over which the loss is expected to bend.

        A unit step in all weights changes what a matrix W of random entries, with a root mean square of s, maps to by
        1 / |W| with |W| ~ s (sqrt(rows) + sqrt(columns)); over all matrices that adds up to (sum |W|^-2)^(1/2).

        Returns:
            (sum |W|^-2)^(-1/2); of vectors and scalars their length counts; 1 where all weights are zero.
        """
        sizes = [
            tf.sqrt(tf.reduce_mean(tf.square(part))) * _spread(shape)
            for part, shape in zip(self.unflatten(theta), self._shapes, strict=True)
        ]
        inverse = tf.add_n([tf.square(tf.math.reciprocal_no_nan(size)) for size in sizes])
        return tf.where(inverse > 0, tf.math.rsqrt(inverse), tf.ones_like(inverse))

    def _derivatives_at(self, theta: Vector) -> tuple[Scalar, Vector, Scalar]:
        """Loss, gradient and accuracy at theta, whatever the variables hold."""
        for moved, value in zip(self._moved, self.unflatten(theta), strict=True):
            moved.assign(value)
        if self._chunks is None:
            return self._derivatives(self._x, self._y)
        return self._chunks.mean(self._derivatives, ([], [self.size], []), self.dtype)

    def _derivatives(self, x: Nested, y: Nested) -> tuple[Scalar, Vector, Scalar]:
        """Loss, gradient and accuracy of examples, at the values of `_moved`."""
        arrays = arrays_of((x, y))
        concrete = self._traced.get_concrete_function(*(tf.TensorSpec(a.shape, a.dtype) for a in arrays))
        own = {id(here.handle): there.handle for here, there in zip(self.variables, self._moved, strict=True)}
        concrete.set_external_captures([own.get(id(capture), capture) for capture in concrete.captured_inputs])
        return concrete(*arrays)

    def _first_derivatives(self, x: Nested, y: Nested) -> tuple[Scalar, Vector, Scalar]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            loss, accuracy = self._loss(x, y)
        return tf.cast(loss, self.dtype), self._flat(tape.gradient(loss, self.variables)), tf.cast(accuracy, self.dtype)


OPERATORS: dict[Products, type[HessianOperator]] = {"exact": HessianOperator, "differences": DifferenceOperator}
"""The operator of each way."""


def with_doubt(result: EigenResult, doubt: Vector, tolerance: float) -> EigenResult:
    """What a solver found from products that are not exact, with what is known of their error.

    Args:
        result: The solver's result, with theta and its unit vector v.
        doubt: How far H v may be off, shape (n,).
        tolerance: Relative error that was asked for.

    Returns:
        The result with a residual and an error estimate larger by |doubt| and by |v.doubt|; it has converged only if
        |doubt| is at most `tolerance` |theta|, too.
    """
    noise, along = length(doubt), tf.abs(tf.reduce_sum(doubt * result.eigenvector))
    return result._replace(
        residual=result.residual + noise,
        error=result.error + along,
        converged=tf.logical_and(result.converged, noise <= tolerance * tf.abs(result.eigenvalue)),
    )


def _packed(structure: tuple[Nested, Nested], arrays: Sequence[tf.Tensor]) -> tuple[Nested, Nested]:
    """Arrays in the structure of others; None stays None."""
    left = iter(arrays)
    leaves = [None if leaf is None else next(left) for leaf in tf.nest.flatten(structure)]
    return tf.nest.pack_sequence_as(structure, leaves)


def _spread(shape: tuple[int, ...]) -> float:
    """sqrt(rows) + sqrt(columns) of a kernel, whose last axis is that of outputs; sqrt(n) of n entries otherwise."""
    if len(shape) < 2:
        return math.sqrt(math.prod(shape))
    return math.sqrt(math.prod(shape[:-1])) + math.sqrt(shape[-1])

"""The largest eigenvalue from central differences of TensorFlow's gradient in float64: no second derivative is taken.

Neither the project's Hessian nor its solver nor its substitutes for TensorFlow's operations take part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from catalogue.architecture import Problem, built
from catalogue.spectrum import largest_of

STEPS = (1e-7, 1e-8, 1e-9)
"""Of the differences, along unit vectors: two in turn whose eigenvalues agree to `AGREEMENT` are small enough for the
curvature and the kinks around, and large enough for rounding. A MobileNet whose batch statistics are of 6 numbers, and
whose sharpness is 1,015,875, has 5,816,425 with 1e-6, 1,015,875.3 with 1e-8 and 1e-9; rounding leaves 1e-7 of a
gradient with 1e-9."""

AGREEMENT = 1e-4
"""A tenth of what an entry must hold."""


def largest_eigenvalue(name: str, weights: list[np.ndarray]) -> tuple[float, float]:
    """Loss and largest eigenvalue of the Hessian of an entry, built anew in float64, at the given weights; else NaN."""
    with _in_double_precision(), _batch_statistics(), _resizing_by_matrices():
        problem = built(name)
        problem.network.set_weights(weights)
        loss, gradient, size = _gradient_of(problem)
        theta = np.concatenate([v.numpy().ravel() for v in problem.network.trainable_variables])

        def product(vector: np.ndarray, step: float) -> np.ndarray:
            unit = step * vector / np.linalg.norm(vector)
            ahead, behind = (gradient(theta + sign * unit) for sign in (1, -1))
            return (ahead - behind) * (np.linalg.norm(vector) / (2 * step))

        before = float("nan")
        for step in STEPS:
            found = largest_of(lambda vector, step=step: product(vector, step), size)
            if abs(found - before) <= AGREEMENT * abs(found):
                return loss(), found
            before = found
        return loss(), float("nan")


def _gradient_of(problem: Problem):
    """The loss, its gradient at weights (n,), and n."""
    network = problem.network
    network.compile(loss=problem.loss, loss_weights=problem.loss_weights)
    x, y = (keras.tree.map_structure(_constant, part) for part in (problem.x, problem.y))
    variables = [v.value for v in network.trainable_variables]
    ends = np.cumsum([int(np.prod(v.shape)) for v in variables])

    def loss() -> tf.Tensor:
        outputs = network(x, training=False)
        return network.compute_loss(x=x, y=y, y_pred=outputs, training=False)

    loss()  # builds Keras' metrics of each output, which must not be made in a graph

    @tf.function(jit_compile=False, autograph=False)
    def gradient(theta: tf.Tensor) -> tf.Tensor:
        for variable, part in zip(variables, tf.split(theta, np.diff(ends, prepend=0)), strict=True):
            variable.assign(tf.reshape(part, variable.shape))
        with tf.GradientTape() as tape:
            value = loss()
        found = tape.gradient(value, variables, unconnected_gradients="zero")
        return tf.concat([tf.reshape(tf.convert_to_tensor(each), [-1]) for each in found], 0)

    return lambda: float(loss()), lambda theta: gradient(tf.constant(theta)).numpy(), int(ends[-1])


def _constant(array: np.ndarray | None) -> tf.Tensor | None:
    if array is None:
        return None
    return tf.constant(array, tf.float64 if np.issubdtype(array.dtype, np.floating) else array.dtype)


@contextmanager
def _in_double_precision() -> Iterator[None]:
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


@contextmanager
def _batch_statistics() -> Iterator[None]:
    """Let batch normalisation that trains use the statistics of its examples, as training does; all else infers."""
    call = keras.layers.BatchNormalization.call

    def with_statistics(layer, inputs, training=None, mask=None):
        return call(layer, inputs, training=bool(layer.trainable), mask=mask)

    keras.layers.BatchNormalization.call = with_statistics
    try:
        yield
    finally:
        keras.layers.BatchNormalization.call = call


@contextmanager
def _resizing_by_matrices() -> Iterator[None]:
    """Let images be resized in float64, by products with what TensorFlow, in float32, makes of rows that hold a one."""
    resize = tf.image.resize

    def matrix(length, size, **keywords):
        rows = tf.reshape(tf.eye(length), (length, length, 1, 1))
        return tf.cast(resize(rows, (size, 1), **keywords)[:, :, 0, 0], tf.float64)

    def by_matrices(images, size, **keywords):
        if images.dtype != tf.float64:
            return resize(images, size, **keywords)
        over, across = (matrix(images.shape[1 + i], int(size[i]), **keywords) for i in range(2))
        return tf.einsum("bhwc,hH,wW->bHWc", images, over, across)

    tf.image.resize = by_matrices
    try:
        yield
    finally:
        tf.image.resize = resize

"""One layer's second derivatives, on its own, compared with differences of its gradient."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.training.differences import Comparison, compare_products
from sharpness_phases.training.layer_calls import CallArguments, LayerCall
from sharpness_phases.training.layer_kinds import in_double_precision
from sharpness_phases.training.precision import in_precision_of_weights
from sharpness_phases.training.right_derivatives import BatchNorm, measured
from sharpness_phases.training.smooth import without_kinks

logger = logging.getLogger(__name__)

_NOISE = 0.1
"""Size of what is added to inputs and weights, relative to theirs: no zero stays where a kink may be, such as that of
black pixels or of biases, and no gradient vanishes because weights are at their first values."""


_CONSTANT = Comparison(0.0, None, agrees=True)
"""Of a layer through which no derivative flows: it takes or gives no real numbers, and has no weights."""


def probe(call: LayerCall, batch_norm: BatchNorm) -> Comparison:
    """Compare a product of a layer's Hessian with differences, with a smooth function in place of each kinked one.

    The Hessian is that of S = sum r sin(outputs / s) for random r and the outputs' size s, by inputs and weights. It is
    that of a copy in float64 with moved weights, made from the layer's settings; where no copy can be made or nothing
    is seen of it, that of the layer itself in its own precision, whose state is put back.

    Args:
        call: A layer with what it is called with; tensors of a graph count by shape and dtype.
        batch_norm: Which statistics batch normalisation uses.

    Returns:
        The comparison.
    """
    with ThreadPoolExecutor(1) as thread:  # which has a dtype policy of its own
        found = thread.submit(_probe_copy, call, batch_norm).result()
    if found is not None and (found.agrees or found.settled_on is not None):
        return found
    with _state_put_back(call.layer), in_precision_of_weights(call.layer):
        arguments, keywords = _moved(call, None)
        return _compare(call.layer, arguments, keywords, batch_norm)


def _probe_copy(call: LayerCall, batch_norm: BatchNorm) -> Comparison | None:
    keras.config.set_dtype_policy("float64")
    try:
        arguments, keywords = _moved(call, tf.float64)
        with measured(batch_norm):
            copy = type(call.layer).from_config(in_double_precision(call.layer.get_config()))
            copy(*arguments, **keywords)
        _copy_weights(call.layer, copy)
        return _compare(copy, arguments, keywords, batch_norm)
    except Exception as error:  # a layer of the user's may raise anything in a precision not its own
        logger.debug("No copy of %s in float64: %s", call.layer.name, error)
        return None


def _copy_weights(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """The layer's weights, moved, for the copy; of what is not trained, such as moving statistics, the same."""
    rng = np.random.default_rng(0)
    copy.trainable = layer.trainable
    for source, target in zip(layer.variables, copy.variables, strict=True):
        value = np.asarray(source)
        if np.issubdtype(value.dtype, np.floating) and source.trainable:
            value = value + _NOISE * (_size(value) or 1.0) * rng.standard_normal(value.shape)
        target.assign(value)


def _moved(call: LayerCall, dtype: tf.DType | None) -> tuple[tuple[CallArguments, ...], dict[str, CallArguments]]:
    """A layer's arguments with noise on them, of this dtype where they are real numbers."""
    rng = np.random.default_rng(1)

    def moved(value: CallArguments) -> CallArguments:
        if not tf.is_tensor(value):
            return value
        known = isinstance(value, tf.Tensor) and hasattr(value, "numpy")
        shape = [2 if length is None else length for length in value.shape]
        array = value.numpy() if known else np.zeros(shape)
        if not value.dtype.is_floating:
            return tf.constant(array, value.dtype)
        scale = (_NOISE * _size(array) or 1.0) if known else 1.0
        return tf.constant(array + scale * rng.standard_normal(array.shape), dtype or value.dtype)

    arguments, keywords = tf.nest.map_structure(moved, (call.arguments, call.keywords))
    if "training" in inspect.signature(call.layer.call).parameters:
        keywords = keywords | {"training": False}
    return arguments, keywords


def _compare(
    layer: keras.layers.Layer,
    arguments: tuple[CallArguments, ...],
    keywords: dict[str, CallArguments],
    batch_norm: BatchNorm,
) -> Comparison:
    """The comparison for the Hessian of S by all real inputs and trained weights."""
    flat = tf.nest.flatten((arguments, keywords))
    inputs = {i: tf.Variable(value) for i, value in enumerate(flat) if tf.is_tensor(value) and value.dtype.is_floating}
    variables = [*inputs.values(), *(v.value for v in layer.trainable_variables)]
    if not variables:
        return _CONSTANT  # such as the embedding of the time by sines
    rng = np.random.default_rng(2)

    def outputs() -> tf.Tensor:
        values = [tf.convert_to_tensor(inputs[i]) if i in inputs else value for i, value in enumerate(flat)]
        arguments_now, keywords_now = tf.nest.pack_sequence_as((arguments, keywords), values)
        with measured(batch_norm), without_kinks():
            found = tf.nest.flatten(layer(*arguments_now, **keywords_now))
        real = [tf.reshape(each, [-1]) for each in found if tf.is_tensor(each) and each.dtype.is_floating]
        return tf.concat(real or [tf.zeros([0], tf.as_dtype(variables[0].dtype))], axis=0)

    before = outputs()
    if not before.shape[0]:
        return _CONSTANT  # such as the numbers of the nearest neighbours
    size = tf.constant(_size(before.numpy()) or 1.0, before.dtype)
    weights = tf.constant(rng.standard_normal(before.shape), before.dtype)

    def scalar(x: tf.Tensor, y: tf.Tensor) -> Scalar:
        return tf.reduce_sum(weights * tf.sin(outputs() / size))

    nothing = tf.zeros([1], before.dtype)
    return compare_products(HessianOperator(scalar, variables, nothing, nothing), variables)


@contextmanager
def _state_put_back(layer: keras.layers.Layer) -> Iterator[None]:
    saved = [(variable, np.asarray(variable)) for variable in layer.variables]
    try:
        yield
    finally:
        for variable, value in saved:
            variable.assign(value)


def _size(array: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))) if array.size else 0.0

"""Checks that a network's second derivatives can be trusted.

Where a gradient is stopped inside a layer, its first derivative may be right and its second one wrong, without an error
and with a Hessian that stays symmetric: only a computation that takes no second derivative shows it. What is known to
be wrong in TensorFlow is put right (`sharpness_phases.training.right_derivatives`); of what is not known, each kind of
layer is tried on its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, arrays_of, map_arrays
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.training.differences import Comparison, compare_products
from sharpness_phases.training.first_derivative import slopes_along_gradient
from sharpness_phases.training.layer_calls import calls_of
from sharpness_phases.training.layer_kinds import is_known_right, kind_of
from sharpness_phases.training.layer_probe import probe
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.right_derivatives import BatchNorm, trained_batch_normalization

logger = logging.getLogger(__name__)

CHECKED_EXAMPLES = 4
"""Examples on which layers are tried: few, as a comparison takes up to ten gradients and one product."""

_LARGE_TARGETS = 10.0
"""Length of the targets of one example up to which outputs stay as they are: they may have to be probabilities."""

_THE_LOSS = "the loss, as a function of the network's outputs,"

_OTHER_SLOPE = 0.02
"""Relative difference of the slope of a loss from the length of its gradient from which on a gradient is stopped.

It was 0.04 and 0.09 in two halves of a SimSiam, 0.5 in a VQ-VAE; rounding leaves 0.005."""

_found_right = set[tuple[type, str, BatchNorm]]()
"""Kinds of layers that this process has tried and found right."""

_WITHOUT_THEM = (
    '`products="differences"` of `SharpnessModel` and `SharpnessCallback` needs none: it takes differences of the '
    "gradient. Nor does `critical_learning_rate`."
)

_WAY_OUT = (
    "Leave out `stop_gradient` where first derivatives do not need it; mean and variance with `keras.ops.mean` and "
    f"`keras.ops.var` have right derivatives. {_WITHOUT_THEM} `verify=False` measures anyway: what is then found is "
    "not the Hessian's."
)

_NOT_TWICE = (LookupError, NotImplementedError, tf.errors.UnimplementedError, tf.errors.NotFoundError)
"""What TensorFlow raises where an operation has a gradient, and that one has none."""


class SecondDerivativeError(ValueError):
    """The network holds an operation whose second derivative TensorFlow computes wrongly or not at all."""


def check_second_derivatives(
    network: keras.Model, objective: Objective, x: Nested, y: Nested, batch_norm: BatchNorm
) -> bool:
    """Refuse a network or a loss whose second derivatives are wrong.

    Each kind of layer that is not known is tried once, on its own, with a smooth function in place of each kinked one,
    and so is the loss as a function of the network's outputs; where there is such a layer, the gradient of the loss is
    compared with its slope. A layer or loss that is wrong, that cannot be
    differentiated twice, or that stops gradients by its definition, ends with `SecondDerivativeError`.

    Args:
        network: A Keras model that is built.
        objective: Its loss.
        x: Inputs of a few examples, shape (B, ...), one tensor or nested ones.
        y: Targets, likewise.
        batch_norm: Which statistics batch normalisation uses.

    Returns:
        Whether all were found right; False where noise hid the answer.

    """
    if batch_norm == "batch":
        _refuse_renormalization(network)
    layers = [
        layer for layer in network._flatten_layers() if not is_known_right(layer) and not _was_right(layer, batch_norm)
    ]
    undecided = []
    for call in calls_of(layers, lambda: objective.outputs(x)) if layers else []:
        if _was_right(call.layer, batch_norm):
            continue  # one before it was of its kind
        where = f"layer {call.layer.name!r} ({type(call.layer).__name__})"
        with _named(where):
            found = probe(call, batch_norm)
        _refuse(found, where)
        if not found.agrees:
            undecided.append(where)
        elif (kind := kind_of(call.layer)) is not None:
            _found_right.add((type(call.layer), kind, batch_norm))
    if not all(is_known_right(layer) for layer in network._flatten_layers()):
        _refuse_stopped_gradients(objective, x, y)
    with _named(_THE_LOSS):
        loss = _compare_loss(objective, x, y)
    _refuse(loss, _THE_LOSS)
    if undecided:
        logger.info("The check of second derivatives is inconclusive in %s.", ", ".join(undecided))
    return loss.agrees and not undecided


def _refuse_renormalization(network: keras.Model) -> None:
    wrong = [layer.name for layer in trained_batch_normalization(network) if getattr(layer, "renorm", False)]
    if wrong:
        raise SecondDerivativeError(
            "Batch renormalisation stops gradients by its definition, so that its loss has no Hessian: "
            f"{', '.join(wrong)}. "
            'Measure with moving statistics (`batch_norm="inference"`), or train with `renorm=False`. '
            "`critical_learning_rate` tells how far a step with it may go."
        )


def _refuse_stopped_gradients(objective: Objective, x: Nested, y: Nested) -> None:
    """Refuse what is trained with a gradient that is not the derivative of its loss."""
    slope = max(slopes_along_gradient(objective, x, y), key=lambda each: abs(each - 1), default=1.0)
    if abs(slope - 1) > _OTHER_SLOPE:
        raise SecondDerivativeError(
            "The gradient of the loss is not its derivative: along the gradient the loss rises "
            f"{slope:.3g} times as fast as the gradient is long, as where `stop_gradient` hides a part of the loss "
            "from training (SimSiam, BYOL, straight-through estimators). What is then descended is no loss and has no "
            "Hessian. Leave out `stop_gradient` to measure the curvature of the loss itself; `verify=False` measures "
            "anyway: what is then found is not the Hessian's."
        )


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say where, if TensorFlow has no second derivative."""
    try:
        yield
    except _NOT_TWICE as error:
        raise SecondDerivativeError(
            f"TensorFlow cannot differentiate {where} twice: {error}. {_WITHOUT_THEM}"
        ) from error


def _was_right(layer: keras.layers.Layer, batch_norm: BatchNorm) -> bool:
    kind = kind_of(layer)
    return kind is not None and (type(layer), kind, batch_norm) in _found_right


def _refuse(found: Comparison, where: str) -> None:
    if found.settled_on is not None:
        raise SecondDerivativeError(
            f"The second derivative of {where} is wrong: Hessian-vector products disagree with central differences of "
            f"the gradient by {found.settled_on:.1%}, as where a gradient is stopped. {_WAY_OUT}"
        )


def _compare_loss(objective: Objective, x: Nested, y: Nested) -> Comparison:
    """The comparison for the Hessian of the loss by the network's outputs, of those that are real numbers."""
    outputs = map_arrays(lambda part: _variable(part, y), objective.outputs(x))
    real = [part for part in arrays_of(outputs) if isinstance(part, tf.Variable)]

    def loss(x: Nested, y: Nested) -> Scalar:
        return objective.loss_of_outputs(x, y, map_arrays(tf.convert_to_tensor, outputs))

    return compare_products(HessianOperator(loss, real, x, y), real)


def _variable(outputs: tf.Tensor, y: Nested) -> tf.Variable | tf.Tensor:
    """Outputs to differentiate by."""
    return tf.Variable(_comparable(outputs, y)) if outputs.dtype.is_floating else outputs


def _comparable(outputs: tf.Tensor, y: Nested) -> tf.Tensor:
    """The outputs, or where targets are far larger, others as large as these, so that rounding swallows no step."""
    size = _length(outputs)
    targets = max((_length(part) for part in arrays_of(y) if part.dtype.is_floating), default=0.0)
    if targets <= max(_LARGE_TARGETS, size):
        return outputs
    noise = np.random.default_rng(0).standard_normal(outputs.shape)
    return outputs + tf.constant(targets * noise, outputs.dtype)


def _length(array: tf.Tensor) -> float:
    """Root mean square over examples of the norm of what belongs to one."""
    return float(tf.norm(tf.cast(array, tf.float64))) / int(array.shape[0]) ** 0.5

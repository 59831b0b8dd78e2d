"""What about the data and the network makes training go wrong at any learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, arrays_of
from sharpness_phases.training.batches import Batch
from sharpness_phases.training.data_faults import NO_LOSS, Faulty, require_loss
from sharpness_phases.training.layer_calls import calls_of
from sharpness_phases.training.measurement_set import with_weights
from sharpness_phases.training.objective import CompiledObjective

LARGE = 10.0
"""Root mean square of inputs or targets above which they count as unscaled. Initialisers keep the size of activations
for inputs of size 1 (He et al. 2015, Sec. 2.2); raw pixels have 100 or more. Chosen, not measured."""

UNEVEN = 100.0
"""The largest over the smallest standard deviation of features from which on they count as unevenly scaled: the
Hessian's condition number has the square of it (LeCun et al. 1998, Sec. 4.3). Chosen, not measured."""

SAME = 1e-6
"""Outputs that differ by less than this share of their size are the same: the precision of float32."""


class Health(NamedTuple):
    """What was seen, a sentence each.

    Attributes:
        data: Of the examples.
        network: Of the network.
        hopeless: Whether no learning rate can train it: there is no finite loss, or no gradient.
    """

    data: tuple[str, ...]
    network: tuple[str, ...]
    hopeless: bool


def look_at(model: keras.Model, batch: Batch) -> Health:
    """Look for what makes training go wrong at any learning rate.

    Told apart are: strings, NaN and labels out of range (which have no loss), inputs that are not scaled or unevenly,
    targets of a regression that are not scaled, targets that are all the same, and a network that gives the same for
    all examples or has no gradient.

    Args:
        model: A compiled model that is built; nothing of it changes.
        batch: Some of its training examples.

    Returns:
        What was seen.
    """
    if (words := fault_of(model, batch)) is not None:
        return Health((words[:1].upper() + words[1:],), (), True)
    objective = CompiledObjective(model, model)
    with tf.GradientTape() as tape:
        loss = objective.loss(batch.x, with_weights(batch.y, batch.sample_weight))
    size = _norm(tape.gradient(loss, objective.variables))
    data = (*_about_inputs(batch), *_about_targets(batch))
    if not np.isfinite(float(loss)):
        return Health(data, (f"The loss is {float(loss):g}, though no example holds NaN or infinity.",), True)
    network = [*_about_outputs(model, batch)]
    if not size > 0:
        network.append("The gradient is zero in all weights: nothing can be learnt.")
    return Health(data, tuple(network), not size > 0)


def fault_of(model: keras.Model, batch: Batch) -> str | None:
    """What is wrong with examples on which a model has no finite loss.

    Args:
        model: A compiled model that is built; nothing of it changes.
        batch: The examples.

    Returns:
        A sentence that begins in lower case; None if the loss is finite, or nothing is known.
    """
    objective = CompiledObjective(model, model)
    try:
        require_loss(objective.loss, objective.outputs, batch.x, with_weights(batch.y, batch.sample_weight), 2**30)
    except Faulty as fault:
        return fault.words
    except NO_LOSS:
        return None
    return None


def first_fault(model: keras.Model, batches: Iterable[Batch]) -> str | None:
    """What is wrong with the first of some batches on which a model has no finite loss.

    Args:
        model: A compiled model that is built; nothing of it changes.
        batches: The batches, as they are trained on.

    Returns:
        A sentence with the number of the batch, from 0 on; None if no batch is known to be at fault.
    """
    faults = ((number, fault_of(model, batch)) for number, batch in enumerate(batches))
    return next((f"In batch {number} {words}" for number, words in faults if words is not None), None)


def _about_inputs(batch: Batch) -> list[str]:
    """Whether inputs of real numbers have the size and the evenness that initialisers count on."""
    said = []
    for array in arrays_of(batch.x):
        if not array.dtype.is_floating and array.dtype != tf.uint8:
            continue
        values = np.asarray(tf.cast(array, tf.float64))
        size = float(np.sqrt(np.mean(values**2)))
        if size > LARGE:
            said.append(
                f"The inputs are not scaled: from {values.min():.3g} to {values.max():.3g}, of root mean square "
                f"{size:.3g}. Standardise them (pixels: divide by 255)."
            )
        elif values.ndim == 2 and len(values) > 2:
            spread = values.std(axis=0)
            spread = spread[spread > 0]
            if len(spread) and spread.max() > UNEVEN * spread.min():
                said.append(
                    f"The features are scaled unevenly: their standard deviations go from {spread.min():.3g} to "
                    f"{spread.max():.3g}. Standardise each."
                )
    return said


def _about_targets(batch: Batch) -> list[str]:
    """Whether targets are of size 1, and not all the same."""
    said = []
    for array in arrays_of(batch.y):
        values = np.asarray(array)
        if len(values) > 2 and (values == values[:1]).all():
            said.append(f"All {len(values)} targets are the same: there is nothing to tell apart.")
        elif array.dtype.is_floating and (size := float(np.sqrt(np.mean(values.astype(float) ** 2)))) > LARGE:
            said.append(f"The targets are not scaled: their root mean square is {size:.3g}. Standardise them.")
    return said


def _about_outputs(model: keras.Model, batch: Batch) -> list[str]:
    """Whether the network gives the same for all examples, and which layer is the first that does."""
    if not _differ(arrays_of(batch.x)):
        return []
    outputs: list[Nested] = []
    calls = calls_of(model._flatten_layers(include_self=False), lambda: outputs.append(model(batch.x, training=False)))
    if _differ(arrays_of(outputs[0])):
        return []
    inner = [call for call in calls if not isinstance(call.layer, keras.layers.InputLayer)]
    dead = next((call.layer.name for call in inner if not _differ(arrays_of(call.outputs))), None)
    where = f", from layer {dead!r} on" if dead else ""
    return [
        f"The network gives the same output for all examples{where}: it is dead. Initialise it anew, scale its inputs, "
        "or take an activation that lets gradients through."
    ]


def _differ(arrays: list[tf.Tensor]) -> bool:
    """Whether any of some arrays (B, ...) has examples that are not all the same."""
    for array in arrays:
        if not array.dtype.is_floating:
            values = np.asarray(array)
            if len(values) < 2 or (values != values[:1]).any():
                return True
            continue
        values = np.asarray(tf.cast(array, tf.float64))
        if len(values) < 2 or np.abs(values - values[:1]).max() > SAME * max(np.abs(values).max(), 1e-300):
            return True
    return False


def _norm(gradients: list[tf.Tensor | tf.IndexedSlices | None]) -> float:
    return float(
        sum(
            float(tf.reduce_sum(tf.abs(tf.cast(tf.convert_to_tensor(part), tf.float64))))
            for part in gradients
            if part is not None
        )
    )

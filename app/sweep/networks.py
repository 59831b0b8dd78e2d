"""The network of a cell: a family of `models`, or the user's own."""

from __future__ import annotations

import keras
import psutil
import tensorflow as tf

from sharpness_phases.config.sections import ModelConfig
from sharpness_phases.custom_code import load_custom
from sharpness_phases.data.catalogue import DataSetInfo
from sharpness_phases.errors import MachineError, UserError
from sharpness_phases.models import FAMILIES, family
from sharpness_phases.models.families import OWN_SETTINGS, Tokens
from sharpness_phases.models.initial import subtract_initial_output
from sharpness_phases.runs.spec import Cell
from sharpness_phases.training.measurement_set import require_one_precision

_COPIES = 4
"""Vectors of as many numbers as there are weights that training and measuring need at least: the weights, those before
training, a gradient, and an eigenvector; of 4 bytes a number."""


def build_network(config: ModelConfig, cell: Cell, data: DataSetInfo) -> keras.Model:
    """Build a cell's network with its initial weights.

    A function of the user's own that cannot be imported, fails, or does not return such a model ends with `UserError`,
    a network that does not fit into the memory with `MachineError`.

    Args:
        config: The `model` section.
        cell: Depth, width and seed.
        data: What is known of the examples.

    Returns:
        A Keras model from (batch, *data.shape) to (batch, *data.output_shape).
    """
    network = _build(config, cell, data)
    if config.subtract_initial:
        return subtract_initial_output(network, _build(config, cell, data))
    return network


def _build(config: ModelConfig, cell: Cell, data: DataSetInfo) -> keras.Model:
    if config.is_custom:
        return _build_own(config.family, cell, data)
    _require_memory(config, cell)
    info = FAMILIES[config.family]
    others = {"family", "subtract_initial", *OWN_SETTINGS} - set(info.settings)
    if info.normalizations == ("none",):
        others.add("normalization")
    settings = config.model_dump(exclude=others)
    settings["dtype"] = keras.config.floatx()
    factory = family(config.family)(width=cell.width, depth=cell.depth, **settings)
    tokens = Tokens(data.vocabulary, data.everywhere) if data.kind == "tokens" else None
    try:
        return factory.build(data.shape, data.classes, cell.seed, tokens)
    except (tf.errors.ResourceExhaustedError, MemoryError):
        raise MachineError(_too_large(cell, "its weights do not fit into the memory")) from None


def _require_memory(config: ModelConfig, cell: Cell) -> None:
    """Refuse a network that is too large for this machine for certain, before the system ends what asks for too much.

    Counted are the square matrices between hidden layers alone, of width^2 weights each; the exact number is not known
    before it is built. On a GPU, whose memory is refused and not overdrawn, nothing is refused here.

    Raises:
        MachineError: If it is.
    """
    if config.family == "uv" or cell.depth < 3 or tf.config.list_physical_devices("GPU"):
        return
    matrices = cell.depth - 2 if config.family in ("fcn", "linear_fcn") else 1
    needed, there = 4 * _COPIES * matrices * cell.width**2, psutil.virtual_memory().total
    if needed > there:
        reason = f"it needs at least {needed / 2**30:.0f} GiB, and this machine has {there / 2**30:.0f}"
        raise MachineError(_too_large(cell, reason))


def _too_large(cell: Cell, reason: str) -> str:
    return f"{cell.name} is too large for this machine: {reason}. Lower sweep.widths or sweep.depths."


def _build_own(location: str, cell: Cell, data: DataSetInfo) -> keras.Model:
    function = load_custom(location, "model.family")
    try:
        network = function(
            width=cell.width, depth=cell.depth, input_shape=data.shape, classes=data.classes, seed=cell.seed
        )
    except Exception as error:
        raise UserError(f"model.family: {location} failed for {cell.name}: {type(error).__name__}: {error}") from error
    shape, needed = getattr(network, "output_shape", None), (None, *data.output_shape)
    if isinstance(network, keras.Model) and shape is not None and tuple(shape) == needed:
        try:
            require_one_precision(network)
        except ValueError as error:
            raise UserError(f"model.family: {location}: {error}") from None
        return network
    found = type(network).__name__
    if isinstance(network, keras.Model):
        found = f"outputs {shape}" if shape else "a model without inputs; begin it with keras.Input(input_shape)"
    raise UserError(f"model.family: {location} must return a Keras model with outputs {needed}; got {found}")

"""The network of a cell: a family of `models`, or the user's own."""

from __future__ import annotations

import keras

from sharpness_phases.config.sections import ModelConfig
from sharpness_phases.custom_code import load_custom
from sharpness_phases.errors import UserError
from sharpness_phases.models import FAMILIES, family
from sharpness_phases.models.initial import subtract_initial_output
from sharpness_phases.runs.spec import Cell


def build_network(config: ModelConfig, cell: Cell, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Build a cell's network with its initial weights.

    A function of the user's own that cannot be imported, fails, or does not return such a model ends with `UserError`.

    Args:
        config: The `model` section.
        cell: Depth, width and seed.
        input_shape: Shape of one example.
        classes: Number of outputs.

    Returns:
        A Keras model from (batch, *input_shape) to (batch, classes).
    """
    network = _build(config, cell, input_shape, classes)
    if config.subtract_initial:
        return subtract_initial_output(network, _build(config, cell, input_shape, classes))
    return network


def _build(config: ModelConfig, cell: Cell, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    if config.is_custom:
        return _build_own(config.family, cell, input_shape, classes)
    settings = config.model_dump(exclude={"family", "subtract_initial"})
    if not FAMILIES[config.family].normalizes:
        del settings["normalization"]
    return family(config.family)(width=cell.width, depth=cell.depth, **settings).build(input_shape, classes, cell.seed)


def _build_own(location: str, cell: Cell, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    function = load_custom(location, "model.family")
    try:
        network = function(width=cell.width, depth=cell.depth, input_shape=input_shape, classes=classes, seed=cell.seed)
    except Exception as error:
        raise UserError(f"model.family: {location} failed for {cell.name}: {type(error).__name__}: {error}") from error
    shape = getattr(network, "output_shape", None)
    if isinstance(network, keras.Model) and shape is not None and tuple(shape) == (None, classes):
        return network
    found = type(network).__name__
    if isinstance(network, keras.Model):
        found = f"outputs {shape}" if shape else "a model without inputs; begin it with keras.Input(input_shape)"
    raise UserError(f"model.family: {location} must return a Keras model with outputs (None, {classes}); got {found}")

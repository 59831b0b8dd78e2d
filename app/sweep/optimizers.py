"""The optimizers that a config may name."""

from __future__ import annotations

import keras

from sharpness_phases.config.optimizer import OptimizerConfig
from sharpness_phases.custom_code import load_custom
from sharpness_phases.errors import UserError
from sharpness_phases.training.gi_adam import GIAdam
from sharpness_phases.training.optimizers import BY_NAME


def build_optimizer(section: OptimizerConfig) -> keras.optimizers.Optimizer:
    """Build an optimizer by its section of a config; runs set its learning rate.

    One of the user's own that cannot be imported or built, or keeps its learning rate to itself, ends with `UserError`.

    Args:
        section: A name of `sharpness_phases.config.optimizer.ARGUMENTS` with arguments, or "package.module:Optimizer":
            a class of Keras optimizers, or a function that returns one, either called without arguments.

    Returns:
        The optimizer, with a learning rate that can be set.
    """
    if section.is_custom:
        return _own(section.name)
    arguments = section.arguments
    kind = GIAdam if arguments.pop("initial_second_moment", None) == "gradient" else BY_NAME[section.name]
    if kind is not keras.optimizers.AdamW:  # which Keras refuses without a decay
        arguments["weight_decay"] = arguments["weight_decay"] or None
    return kind(learning_rate=0.0, **arguments)


def _own(location: str) -> keras.optimizers.Optimizer:
    make = load_custom(location, "optimizer.name")
    if not callable(make):
        raise UserError(f"optimizer.name: {location} must be a class or a function; got {make!r}")
    try:
        optimizer = make()
    except Exception as error:
        raise UserError(f"optimizer.name: {location}() failed: {type(error).__name__}: {error}") from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError(f"optimizer.name: {location}() must be a Keras optimizer; got {type(optimizer).__name__}")
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise UserError(f"optimizer.name: {location}() must not scale the loss: training is in float32")
    try:
        optimizer.learning_rate = 0.0
    except TypeError:
        raise UserError(
            f"optimizer.name: {location}() must have a constant learning rate, which runs set; it has a schedule"
        ) from None
    return optimizer

"""The losses that a config may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from sharpness_phases.custom_code import load_custom, names_custom_code
from sharpness_phases.errors import UserError
from sharpness_phases.training.losses import HalfMeanSquaredError, SparseHalfMeanSquaredError

LOSSES = ("mse", "xent")

Tensor: TypeAlias = Any  # a tensor of TensorFlow, or what Keras makes one of


def build_loss(name: str, dtype: str = "float32", of_labels: bool = False) -> keras.losses.Loss:
    """Build a loss by its name in a config.

    A loss of the user's own that cannot be imported, or is no loss, ends with `UserError`.

    Args:
        name: "mse" (half mean squared error), "xent" (softmax cross-entropy on logits), or "package.module:name" of a
            Keras loss: a class, an object, or a function (targets, outputs) -> losses of the examples.
        dtype: Dtype of the computation.
        of_labels: Whether targets are labels, of the shape of the outputs without their last axis, instead of one-hot;
            a loss of the user's own gets them as they are.

    Returns:
        The Keras loss object.

    Raises:
        ValueError: If the name is unknown.
    """
    if name == "mse":
        return (SparseHalfMeanSquaredError if of_labels else HalfMeanSquaredError)(dtype=dtype)
    if name == "xent":
        kinds = keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy
        return kinds[0 if of_labels else 1](from_logits=True, dtype=dtype)
    if names_custom_code(name):
        return _own_loss(name, dtype)
    raise ValueError(f"Unknown loss {name!r}; allowed: {', '.join(LOSSES)}.")


def _own_loss(location: str, dtype: str) -> keras.losses.Loss:
    own = load_custom(location, "loss")
    if isinstance(own, type) and issubclass(own, keras.losses.Loss):
        try:
            own = own(dtype=dtype)
        except Exception as error:
            raise UserError(
                f"loss: {location}(dtype={dtype!r}) failed: {type(error).__name__}: {error}. A class must take `dtype` "
                "and hand it to keras.losses.Loss; or name an object or a function"
            ) from error
    if isinstance(own, keras.losses.Loss):
        return own
    if callable(own) and not isinstance(own, type):
        return _FunctionLoss(own, location.partition(":")[2], dtype)
    raise UserError(f"loss: {location} must be a Keras loss or a function (targets, outputs); got {own!r}")


class _FunctionLoss(keras.losses.Loss):
    """A loss from a function (targets, outputs) -> losses of the examples."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self._function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self._function(y_true, y_pred)

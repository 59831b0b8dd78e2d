"""The losses of the phase diagrams; targets are one-hot and outputs are logits."""

from __future__ import annotations

from typing import Any

import keras

from app.errors import UserError
from app.own import is_own, load_own


@keras.saving.register_keras_serializable(package="sharpness_phases")
class HalfMeanSquaredError(keras.losses.Loss):
    """Half the mean squared error: L = 1/(2 B K) sum_i |f(x_i) - y_i|^2.

    The mean goes over the B examples and the K outputs (Kalra & Barkeshli 2023, Sec. 2). Keras'
    `MeanSquaredError` is twice as large, and so is its sharpness; c = eta lambda_0 is the same.

    Args:
        reduction: As for every Keras loss; the default gives L above.
        name: Name of the loss.
        dtype: Dtype of the computation; Keras' default, or "float64".
    """

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str = "half_mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each example.

        Args:
            y_true: Targets (batch, K), one-hot for classification.
            y_pred: Outputs (batch, K).

        Returns:
            Losses (batch,).

        Raises:
            ValueError: If the two shapes differ, as with integer labels.
        """
        if len(y_true.shape) != len(y_pred.shape) or y_true.shape[-1] != y_pred.shape[-1]:
            raise ValueError(
                "HalfMeanSquaredError needs targets of the outputs' shape (one-hot for classification). "
                f"Received: targets {tuple(y_true.shape)}, outputs {tuple(y_pred.shape)}."
            )
        return 0.5 * keras.ops.mean(keras.ops.square(y_pred - y_true), axis=-1)


LOSSES = ("mse", "xent")


def build_loss(name: str, dtype: str = "float32") -> keras.losses.Loss:
    """Build a loss by its name in a config.

    Args:
        name: "mse" (half mean squared error), "xent" (softmax cross-entropy on logits), or "package.module:name" of a
            Keras loss: a class, an object, or a function (targets, outputs) -> losses of the examples.
        dtype: Dtype of the computation.

    Returns:
        The Keras loss object.

    Raises:
        ValueError: If the name is unknown.
        UserError: If the user's own loss cannot be imported, or is no loss.
    """
    if name == "mse":
        return HalfMeanSquaredError(dtype=dtype)
    if name == "xent":
        return keras.losses.CategoricalCrossentropy(from_logits=True, dtype=dtype)
    if is_own(name):
        return _own_loss(name, dtype)
    raise ValueError(f"Unknown loss {name!r}; allowed: {', '.join(LOSSES)}.")


def _own_loss(location: str, dtype: str) -> keras.losses.Loss:
    own = load_own(location, "loss")
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

    def __init__(self, function: Any, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)

"""The losses of the phase diagrams; targets are one-hot, or labels, and outputs are logits."""

from __future__ import annotations

from typing import TypeAlias

import keras

Tensor: TypeAlias = keras.KerasTensor
"""Numbers of a batch, (batch, ...): a symbol while a model is built, a TensorFlow tensor while it computes."""


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
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "half_mean_squared_error",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
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


@keras.saving.register_keras_serializable(package="sharpness_phases")
class SparseHalfMeanSquaredError(HalfMeanSquaredError):
    """`HalfMeanSquaredError` of labels, which are as one-hot targets: of a million tokens these take much memory.

    The mean goes over the examples, the tokens of each where every token has a target, and the K outputs.

    Args:
        reduction: As for every Keras loss.
        name: Name of the loss.
        dtype: Dtype of the computation; Keras' default, or "float64".
    """

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str = "sparse_half_mean_squared_error",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Loss of each example, or token.

        Args:
            y_true: Labels from 0 to K - 1, shape (batch,) or (batch, length).
            y_pred: Outputs of the same shape and one axis more, of length K.

        Returns:
            Losses of the shape of the labels.

        Raises:
            ValueError: If the shapes do not fit, as with one-hot targets.
        """
        if len(y_true.shape) != len(y_pred.shape) - 1:
            raise ValueError(
                "SparseHalfMeanSquaredError needs labels of the outputs' shape without its last axis. "
                f"Received: targets {tuple(y_true.shape)}, outputs {tuple(y_pred.shape)}."
            )
        labels = keras.ops.cast(y_true, "int32")
        return super().call(keras.ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype), y_pred)

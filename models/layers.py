"""Layers whose second derivatives are right, where Keras' own are not."""

from __future__ import annotations

from typing import Any, TypeAlias

import keras

Tensor: TypeAlias = keras.KerasTensor
"""Examples in a network (batch, ...): a symbol while the network is built, numbers while it computes."""

LayerSetting: TypeAlias = str | bool | None
"""The value of a setting that every Keras layer has: `name`, `dtype`, `trainable`."""


@keras.saving.register_keras_serializable(package="sharpness_phases")
class LayerNorm(keras.layers.Layer):
    """Layer normalisation over the last axis: gamma (x - mean) / sqrt(var + epsilon) + beta (Ba et al. 2016).

    Keras' `LayerNormalization` takes its moments from `tf.nn.moments`, which stops a gradient: its first derivative is
    right, its second one silently wrong, but for the measurements of this project, which put it right. Here the
    variance is the plain mean of squares.

    Args:
        epsilon: Added to the variance.
        **kwargs: As for every Keras layer.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: LayerSetting) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create gamma (ones) and beta (zeros), of the last axis' length."""
        self.gamma = self.add_weight(shape=input_shape[-1:], initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="beta")

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise inputs (batch, ..., channels)."""
        centred = inputs - keras.ops.mean(inputs, axis=-1, keepdims=True)
        variance = keras.ops.mean(keras.ops.square(centred), axis=-1, keepdims=True)
        return self.gamma * centred * keras.ops.rsqrt(variance + self.epsilon) + self.beta

    def get_config(self) -> dict[str, Any]:
        """Arguments, for saving."""
        return super().get_config() | {"epsilon": self.epsilon}

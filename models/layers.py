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
        multiplier: m, with which gamma = m g and beta = m b for weights g (1/m at first) and b (zeros).
        **kwargs: As for every Keras layer.
    """

    def __init__(self, epsilon: float = 1e-5, multiplier: float = 1.0, **kwargs: LayerSetting) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.multiplier = multiplier

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights of gamma and beta, of the last axis' length."""
        self.gamma = self.add_weight(shape=input_shape[-1:], initializer=_one_over(self.multiplier), name="gamma")
        self.beta = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="beta")

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise inputs (batch, ..., channels)."""
        centred = inputs - keras.ops.mean(inputs, axis=-1, keepdims=True)
        variance = keras.ops.mean(keras.ops.square(centred), axis=-1, keepdims=True)
        gamma, beta = self.gamma, self.beta
        if self.multiplier != 1.0:
            gamma, beta = self.multiplier * gamma, self.multiplier * beta
        return gamma * centred * keras.ops.rsqrt(variance + self.epsilon) + beta

    def get_config(self) -> dict[str, Any]:
        """Arguments, for saving."""
        return super().get_config() | {"epsilon": self.epsilon, "multiplier": self.multiplier}


@keras.saving.register_keras_serializable(package="sharpness_phases")
class RMSNorm(keras.layers.Layer):
    """gamma x / sqrt(mean x^2 + epsilon) over the last axis (Zhang & Sennrich 2019).

    Args:
        epsilon: Added to the mean of squares.
        multiplier: m, with which gamma = m g for a weight g, 1/m at first.
        **kwargs: As for every Keras layer.
    """

    def __init__(self, epsilon: float = 1e-6, multiplier: float = 1.0, **kwargs: LayerSetting) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.multiplier = multiplier

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weight of gamma, of the last axis' length."""
        self.gamma = self.add_weight(shape=input_shape[-1:], initializer=_one_over(self.multiplier), name="gamma")

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise inputs (batch, ..., channels)."""
        size = keras.ops.mean(keras.ops.square(inputs), axis=-1, keepdims=True)
        return self.multiplier * self.gamma * inputs * keras.ops.rsqrt(size + self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """Arguments, for saving."""
        return super().get_config() | {"epsilon": self.epsilon, "multiplier": self.multiplier}


def _one_over(multiplier: float) -> keras.Initializer:
    return keras.initializers.Constant(1 / multiplier)

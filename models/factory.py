"""The base of all model families: width and depth in, a Keras model out."""

from __future__ import annotations

import abc
import math
from collections.abc import Collection

import keras
import numpy as np

from sharpness_phases.models.families import FAMILIES, Tokens
from sharpness_phases.models.layers import Tensor
from sharpness_phases.models.normalization import normalization_layer
from sharpness_phases.models.parameterization import GAINS, PARAMETERIZATIONS, LayerScale, Role, layer_scale

OUTPUT_LAYERS = ("default", "zero")


class ModelFactory(abc.ABC):
    """Builds networks of one family; a factory object fixes everything but the data's shape and the seed.

    Depth counts weight layers, the output layer included (Kalra & Barkeshli 2023, Sec. 2), and blocks of attention
    networks.

    Args:
        width: Number of units (or base channels) of a hidden layer, at least 1.
        depth: Number of weight layers, or blocks; some families have only certain depths.
        activation: "relu", "tanh" or "linear".
        parameterization: "standard", "ntk" or "mup".
        bias: Whether layers have biases (initially zero).
        output_layer: "default", or "zero" for an output layer initialised to zero.
        output_scale: Constant alpha > 0 that multiplies the network's output.
        output_power: The output is divided by width^output_power.
        dtype: Keras dtype (policy) of the layers; "float64" for exact checks.
        normalization: "none", or "batch", "layer", "group" or "rms" between every hidden weight layer and its
            activation, of the families that have them (see `normalization_layer`).

    Raises:
        ValueError: If an argument is not allowed; the message names it.
    """

    name: str

    def __init__(
        self,
        width: int,
        depth: int,
        activation: str = "relu",
        parameterization: str = "standard",
        bias: bool = False,
        output_layer: str = "default",
        output_scale: float = 1.0,
        output_power: float = 0.0,
        dtype: str = "float32",
        normalization: str = "none",
    ) -> None:
        _at_least_one("width", width)
        _at_least_one("depth", depth)
        depths = FAMILIES[self.name].depths
        if depths is not None and depth not in depths:
            raise ValueError(f"`depth` of {self.name} must be one of {depths}. Received: {depth!r}.")
        _one_of("activation", activation, GAINS)
        _one_of("parameterization", parameterization, PARAMETERIZATIONS)
        _one_of("output_layer", output_layer, OUTPUT_LAYERS)
        _one_of("normalization", normalization, FAMILIES[self.name].normalizations)
        if not (math.isfinite(output_scale) and output_scale > 0):
            raise ValueError(f"`output_scale` must be a finite number above 0. Received: {output_scale!r}.")
        if not math.isfinite(output_power):
            raise ValueError(f"`output_power` must be a finite number. Received: {output_power!r}.")
        self.width = width
        self.depth = depth
        self.activation = activation
        self.parameterization = parameterization
        self.bias = bias
        self.output_layer = output_layer
        self.output_scale = output_scale
        self.output_power = output_power
        self.dtype = dtype
        self.normalization = normalization
        for key, value in FAMILIES[self.name].fixed.items():
            if getattr(self, key) != value:
                raise ValueError(f"`{key}` of {self.name} must be {value!r}. Received: {getattr(self, key)!r}.")

    def build(self, input_shape: tuple[int, ...], classes: int, seed: int, tokens: Tokens | None = None) -> keras.Model:
        """Build a network with freshly drawn weights.

        Args:
            input_shape: Shape of one example, such as (28, 28, 1).
            classes: Number of outputs K.
            seed: Fixes the initial weights; equal seeds give equal weights.
            tokens: Of a family of tokens, what these are; by default the classes are the tokens, and each has a target.

        Returns:
            A functional Keras model from (batch, *input_shape) to logits (batch, classes), or (batch, length, classes)
            where each token has a target.

        Raises:
            ValueError: If `classes` is below 1, or the family needs images, vectors or tokens, or does not take tokens,
                and `input_shape` or `tokens` say otherwise.
        """
        _at_least_one("classes", classes)
        info = FAMILIES[self.name]
        if info.images and len(input_shape) != 3:
            raise ValueError(f"{self.name} needs inputs (height, width, channels). Received: {tuple(input_shape)}.")
        if (info.vectors or info.tokens) and len(input_shape) != 1:
            kind = "tokens (length,)" if info.tokens else "vectors"
            raise ValueError(f"{self.name} needs inputs that are {kind}. Received: {tuple(input_shape)}.")
        if tokens is not None and not info.tokens:
            raise ValueError(f"{self.name} does not take tokens. Received: {tokens!r}.")
        dtype = "int32" if info.tokens else keras.DTypePolicy(self.dtype).compute_dtype
        inputs = keras.Input(shape=input_shape, dtype=dtype)
        outputs = self._network(inputs, classes, _LayerSeeds(seed), tokens)
        scale = self.output_scale * self.width**-self.output_power
        if scale != 1.0:
            outputs = keras.layers.Rescaling(scale, dtype=self.dtype, name="output_scale")(outputs)
        return keras.Model(inputs, outputs, name=f"{self.name}_d{self.depth}_w{self.width}")

    @abc.abstractmethod
    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds, tokens: Tokens | None) -> Tensor:
        """Connect the family's layers from the input tensor to the logits; `tokens` is of families of tokens only."""

    def _dense(self, x: Tensor, units: int, role: Role, seeds: _LayerSeeds) -> Tensor:
        """Append a dense weight layer; unless it is the output layer, with normalisation and activation behind it."""
        x = self._linear(x, units, role, seeds)
        return x if role == "output" else self._activate(self._normalize(x))

    def _linear(self, x: Tensor, units: int, role: Role, seeds: _LayerSeeds, gain: float | None = None) -> Tensor:
        """Append a dense weight layer and nothing else; the default of its variance gain is as for `_scaled`."""
        x, initializer = self._scaled(x, x.shape[-1], role, seeds, gain)
        return keras.layers.Dense(units, use_bias=self.bias, kernel_initializer=initializer, dtype=self.dtype)(x)

    def _conv(
        self,
        x: Tensor,
        channels: int,
        role: Role,
        seeds: _LayerSeeds,
        size: int = 3,
        strides: int = 1,
        gain: float | None = None,
    ) -> Tensor:
        """Append a convolution that keeps the image's size (but for strides); nothing behind it."""
        x, initializer = self._scaled(x, size * size * x.shape[-1], role, seeds, gain)
        return keras.layers.Conv2D(
            channels,
            size,
            strides=strides,
            padding="same",
            use_bias=self.bias,
            kernel_initializer=initializer,
            dtype=self.dtype,
        )(x)

    def _activate(self, x: Tensor) -> Tensor:
        return keras.layers.Activation(self.activation, dtype=self.dtype)(x)

    def _normalize(self, x: Tensor) -> Tensor:
        """Append the normalisation, if the network has one."""
        if self.normalization == "none":
            return x
        return normalization_layer(self.normalization, x.shape[-1], self.dtype)(x)

    def _scaled(
        self, x: Tensor, fan_in: int, role: Role, seeds: _LayerSeeds, gain: float | None = None
    ) -> tuple[Tensor, keras.Initializer | str]:
        """A weight layer's input, times its multiplier, and its initialiser; by default with the activation's gain."""
        if gain is None:
            gain = 1.0 if role == "output" else GAINS[self.activation]
        scale = self._scale_of(fan_in, role, gain)
        seed = seeds.next()
        zero = role == "output" and self.output_layer == "zero"
        initializer = "zeros" if zero else keras.initializers.RandomNormal(stddev=scale.stddev, seed=seed)
        if scale.multiplier != 1.0:
            x = keras.layers.Rescaling(scale.multiplier, dtype=self.dtype)(x)
        return x, initializer

    def _scale_of(self, fan_in: int, role: Role, gain: float) -> LayerScale:
        return layer_scale(self.parameterization, role, fan_in, self.width, gain)


class _LayerSeeds:
    """An independent seed for every layer of a network, all derived from one."""

    def __init__(self, seed: int) -> None:
        self._sequence = np.random.SeedSequence(seed)

    def next(self) -> int:
        return int(self._sequence.spawn(1)[0].generate_state(1)[0] >> 1)


def _at_least_one(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {value!r}.")


def _one_of(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {', '.join(allowed)}. Received: {value!r}.")

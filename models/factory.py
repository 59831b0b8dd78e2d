"""The base of all model families: width and depth in, a Keras model out."""

from __future__ import annotations

import abc
import math
from typing import Any

import keras
import numpy as np

from models.parameterization import GAINS, PARAMETERIZATIONS, Role, layer_scale

OUTPUT_LAYERS = ("default", "zero")


class ModelFactory(abc.ABC):
    """Builds networks of one family; a factory object fixes everything but the data's shape and the seed.

    Depth counts weight layers, the output layer included (Kalra & Barkeshli 2023, Sec. 2).

    Args:
        width: Number of units (or base channels) of a hidden layer, at least 1.
        depth: Number of weight layers, at least 1.
        activation: "relu", "tanh" or "linear".
        parameterization: "standard", "ntk" or "mup".
        bias: Whether layers have biases (initially zero).
        output_layer: "default", or "zero" for an output layer initialised to zero.
        output_scale: Constant alpha > 0 that multiplies the network's output.
        dtype: Keras dtype (policy) of the layers; "float64" for exact checks.

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
        dtype: str = "float32",
    ) -> None:
        _at_least_one("width", width)
        _at_least_one("depth", depth)
        _one_of("activation", activation, GAINS)
        _one_of("parameterization", parameterization, PARAMETERIZATIONS)
        _one_of("output_layer", output_layer, OUTPUT_LAYERS)
        if not (math.isfinite(output_scale) and output_scale > 0):
            raise ValueError(f"`output_scale` must be a finite number above 0. Received: {output_scale!r}.")
        self.width = width
        self.depth = depth
        self.activation = activation
        self.parameterization = parameterization
        self.bias = bias
        self.output_layer = output_layer
        self.output_scale = output_scale
        self.dtype = dtype

    def build(self, input_shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
        """Build a network with freshly drawn weights.

        Args:
            input_shape: Shape of one example, such as (28, 28, 1).
            classes: Number of outputs K.
            seed: Fixes the initial weights; equal seeds give equal weights.

        Returns:
            A functional Keras model from (batch, *input_shape) to logits (batch, classes).

        Raises:
            ValueError: If `classes` is below 1.
        """
        _at_least_one("classes", classes)
        inputs = keras.Input(shape=input_shape, dtype=keras.DTypePolicy(self.dtype).compute_dtype)
        outputs = self._network(inputs, classes, _LayerSeeds(seed))
        if self.output_scale != 1.0:
            outputs = keras.layers.Rescaling(self.output_scale, dtype=self.dtype, name="output_scale")(outputs)
        return keras.Model(inputs, outputs, name=f"{self.name}_d{self.depth}_w{self.width}")

    @abc.abstractmethod
    def _network(self, inputs: Any, classes: int, seeds: _LayerSeeds) -> Any:
        """Connect the family's layers from the input tensor to the logits."""

    def _dense(self, x: Any, units: int, role: Role, seeds: _LayerSeeds) -> Any:
        """Append a dense weight layer, with the activation behind it unless it is the output layer."""
        is_output = role == "output"
        scale = layer_scale(
            self.parameterization, role, x.shape[-1], self.width, 1.0 if is_output else GAINS[self.activation]
        )
        zero = is_output and self.output_layer == "zero"
        initializer = "zeros" if zero else keras.initializers.RandomNormal(stddev=scale.stddev, seed=seeds.next())
        x = keras.layers.Dense(units, use_bias=self.bias, kernel_initializer=initializer, dtype=self.dtype)(
            x * scale.multiplier if scale.multiplier != 1.0 else x
        )
        return x if is_output else keras.layers.Activation(self.activation, dtype=self.dtype)(x)


class _LayerSeeds:
    """An independent seed for every layer of a network, all derived from one."""

    def __init__(self, seed: int) -> None:
        self._sequence = np.random.SeedSequence(seed)

    def next(self) -> int:
        return int(self._sequence.spawn(1)[0].generate_state(1)[0] >> 1)


def _at_least_one(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {value!r}.")


def _one_of(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {', '.join(allowed)}. Received: {value!r}.")

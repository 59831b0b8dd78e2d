"""Fully connected networks."""

from __future__ import annotations

from typing import Unpack

import keras

from sharpness_phases.models.factory import ModelFactory, _LayerSeeds
from sharpness_phases.models.families import CommonSettings, Tokens
from sharpness_phases.models.layers import Tensor


class FCN(ModelFactory):
    """Fully connected network: d - 1 hidden layers of w units and a linear output layer.

    Standard parameterisation: hidden weights ~ N(0, g/fan_in) with g = 2 for ReLU and 1 for tanh and linear,
    output weights ~ N(0, 1/fan_in); no biases and no normalisation by default (Kalra & Barkeshli 2023, Sec. 2 and
    App. A).

    Example:
        >>> FCN(width=64, depth=4).build(input_shape=(28, 28, 1), classes=10, seed=0).count_params()
        59008
    """

    name = "fcn"

    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds, tokens: Tokens | None) -> Tensor:
        x = keras.layers.Flatten(dtype=self.dtype)(inputs)
        for layer in range(self.depth - 1):
            x = self._dense(x, self.width, "input" if layer == 0 else "hidden", seeds)
        return self._dense(x, classes, "output", seeds)


class LinearFCN(FCN):
    """Deep linear network in NTK parameterisation, its output divided by w^s (Kalra & Barkeshli 2023, App. G).

    Args:
        width: Number of units w of a hidden layer.
        depth: Number of weight layers.
        output_power: The exponent s; 0 for the NTK scaling, 1/2 for the mean-field one.
        parameterization: "ntk" by default.
        activation: "linear".
        **settings: The other settings of `ModelFactory`.

    Raises:
        ValueError: If an argument is not allowed.
    """

    name = "linear_fcn"

    def __init__(
        self,
        width: int,
        depth: int,
        output_power: float = 0.0,
        parameterization: str = "ntk",
        activation: str = "linear",
        **settings: Unpack[CommonSettings],
    ) -> None:
        super().__init__(width, depth, activation, parameterization, output_power=output_power, **settings)

"""How a layer's initial variance and multiplier follow from its fan-in.

A layer computes `multiplier * (x W)` with `W ~ N(0, stddev^2)`. At initialisation all three
parameterisations give the same hidden activations; they differ in how far a gradient step moves them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Role = Literal["input", "hidden", "output"]
PARAMETERIZATIONS = ("standard", "ntk", "mup")

GAINS = {"relu": 2.0, "tanh": 1.0, "linear": 1.0}
"""Variance gain g of the weights that feed an activation (Kalra & Barkeshli 2023, Sec. 2; He et al. 2015)."""


@dataclass(frozen=True)
class LayerScale:
    """Initial standard deviation of a layer's weights and the constant its output is multiplied by."""

    stddev: float
    multiplier: float


def layer_scale(parameterization: str, role: Role, fan_in: int, width: int, gain: float) -> LayerScale:
    """Scale of one weight layer.

    - `standard`: W ~ N(0, g/fan_in), multiplier 1.
    - `ntk`: W ~ N(0, g), multiplier 1/sqrt(fan_in) (Jacot et al. 2018).
    - `mup`: the maximal-update parameterisation for SGD, whose learning rate does not scale with the width
      (Yang & Hu 2021, Table 1): at width w the input layer has multiplier sqrt(w) and variance g/(fan_in w), a hidden
      layer is the standard one, and the output layer has multiplier 1/sqrt(w).

    Args:
        parameterization: One of `PARAMETERIZATIONS`.
        role: Place of the layer in the network; a network's only layer is an "output".
        fan_in: Number of inputs that one output sums over.
        width: Width w of the network.
        gain: Variance gain g of the activation behind the layer; 1 for the output layer.

    Returns:
        The layer's scale.

    Raises:
        ValueError: If the parameterisation is unknown.
    """
    standard = math.sqrt(gain / fan_in)
    if parameterization == "standard":
        return LayerScale(standard, 1.0)
    if parameterization == "ntk":
        return LayerScale(math.sqrt(gain), 1.0 / math.sqrt(fan_in))
    if parameterization == "mup":
        if role == "input":
            return LayerScale(standard / math.sqrt(width), math.sqrt(width))
        if role == "output":
            return LayerScale(standard, 1.0 / math.sqrt(width))
        return LayerScale(standard, 1.0)
    raise ValueError(f"Unknown parameterization {parameterization!r}; allowed: {', '.join(PARAMETERIZATIONS)}.")

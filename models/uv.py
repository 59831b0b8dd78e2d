"""The uv model, whose training is solved exactly."""

from __future__ import annotations

import math
from typing import Unpack, cast

import numpy as np

from sharpness_phases.models.factory import ModelFactory, _LayerSeeds
from sharpness_phases.models.families import FAMILIES, Settings, Tokens
from sharpness_phases.models.layers import Tensor


class UV(ModelFactory):
    """f(x) = v.u x / sqrt(n) with u, v in R^n, entries N(0, 1): a linear network of depth 2 (Lewkowycz et al. 2020).

    On one example (x, y) = (1, 0) with L = f^2 / 2 gradient descent follows exact recursions of f and the trace of the
    Hessian (Kalra & Barkeshli 2023, Sec. 5); see `sharpness_phases.analysis.uv`. From balanced weights, with a target
    y != 0, it follows a map of one variable; see `sharpness_phases.analysis.bifurcation`.

    Args:
        width: n.
        depth: 2, given for the sake of a common interface.
        **settings: `output_scale`, `output_power` and `dtype` of `ModelFactory`; the others are fixed.

    Raises:
        ValueError: If an argument is not allowed.
    """

    name = "uv"

    def __init__(self, width: int, depth: int = 2, **settings: Unpack[Settings]) -> None:
        super().__init__(width, depth, **cast(Settings, {**FAMILIES[self.name].fixed, **settings}))

    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds, tokens: Tokens | None) -> Tensor:
        return self._dense(self._dense(inputs, self.width, "input", seeds), classes, "output", seeds)

    def balanced_weights(self, output: float, seed: int) -> list[np.ndarray]:
        """Weights with u = v, or u = -v for an output below 0, in a random direction: gradient descent keeps them so.

        Args:
            output: f(1), the network's output for the input 1.
            seed: Fixes the direction.

        Returns:
            u of shape (1, n) and v of shape (n, 1), float64, as `keras.Model.set_weights` takes them for a network with
            one input and one output.

        Raises:
            ValueError: If `output` is not finite.
        """
        if not math.isfinite(output):
            raise ValueError(f"`output` must be a finite number. Received: {output!r}.")
        direction = np.random.default_rng(seed).standard_normal(self.width)
        scale = self.output_scale * self.width**-self.output_power
        u = direction / np.linalg.norm(direction) * math.sqrt(abs(output) * math.sqrt(self.width) / scale)
        return [u[None], math.copysign(1.0, output) * u[:, None]]

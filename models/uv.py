"""The uv model, whose training is solved exactly."""

from __future__ import annotations

from typing import Unpack, cast

from sharpness_phases.models.factory import ModelFactory, _LayerSeeds
from sharpness_phases.models.families import FAMILIES, Settings
from sharpness_phases.models.layers import Tensor


class UV(ModelFactory):
    """f(x) = v.u x / sqrt(n) with u, v in R^n, entries N(0, 1): a linear network of depth 2 (Lewkowycz et al. 2020).

    On one example (x, y) = (1, 0) with L = f^2 / 2 gradient descent follows exact recursions of f and the trace of the
    Hessian (Kalra & Barkeshli 2023, Sec. 5); see `sharpness_phases.analysis.uv`.

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

    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds) -> Tensor:
        return self._dense(self._dense(inputs, self.width, "input", seeds), classes, "output", seeds)

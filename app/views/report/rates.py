"""The learning rates that the report tells beside learning-rate constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from sharpness_phases.runs.edge import Rate


class Rates(NamedTuple):
    """From learning-rate constants to learning rates.

    Attributes:
        sharpness: The median of lambda_0 over the initialisations of a network, by (depth, width).
        rate: Function (c, lambda_0) -> eta, as `sharpness_phases.runs.axis.Axis.rate`.
    """

    sharpness: Mapping[tuple[int, int], float]
    rate: Callable[[Rate, float], Rate]

    def at(self, c: float, sharpness: float) -> float:
        """The learning rate eta at a constant.

        Args:
            c: The constant.
            sharpness: lambda_0.

        Returns:
            eta; NaN where c is censored or not known.
        """
        return float(self.rate(c, sharpness)) if 0 < c < math.inf and sharpness > 0 else math.nan

    def told(self, c: float, sharpness: float) -> str:
        """Such as ", η = 0.012"; nothing where eta is not known."""
        eta = self.at(c, sharpness)
        return "" if math.isnan(eta) else f", η = {eta:.3g}"


def rates_of(constants: pd.DataFrame, rate: Callable[[Rate, float], Rate]) -> Rates:
    """The learning rates of an experiment.

    Args:
        constants: A table as `analysis.tables.constants_table` returns it.
        rate: As in `Rates`.

    Returns:
        The rates.
    """
    medians = constants.groupby(["depth", "width"], as_index=False)["lambda_0"].median()
    rows = zip(*(medians[name].tolist() for name in ("depth", "width", "lambda_0")), strict=True)
    return Rates({(int(depth), int(width)): float(value) for depth, width, value in rows}, rate)

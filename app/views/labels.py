"""What runs and constants are called in pages and tables."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

import pandas as pd

from sharpness_phases.analysis.boundaries import boundary
from sharpness_phases.analysis.phases import BOUNDARIES, classify

CellKey: TypeAlias = tuple[Hashable, ...]
"""An initialisation of an experiment: depth, width, seed."""

UNKNOWN_PHASE = "unknown"
"""The phase of a run whose initialisation has no constants, as its search is not complete."""


def phase_of(c: float, constants: pd.Series | None) -> str:
    """The phase of a run by the constants of its own initialisation.

    Args:
        c: Its learning-rate constant.
        constants: A row of a table as `analysis.tables.constants_table` returns it; None where there is none.

    Returns:
        The name of the phase, or `UNKNOWN_PHASE`.
    """
    if constants is None:
        return UNKNOWN_PHASE
    bounds = ((float(constants[name]), str(constants[f"{name}_censored"])) for name in BOUNDARIES)
    return str(classify(c, *(boundary([value], [side]).value for value, side in bounds)))


def by_cell(constants: pd.DataFrame) -> dict[CellKey, pd.Series]:
    """The rows of a table of constants by depth, width and seed."""
    return {(row["depth"], row["width"], row["seed"]): row for _, row in constants.iterrows()}

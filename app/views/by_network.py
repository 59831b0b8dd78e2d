"""A summary read network by network, for tables of a row a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from sharpness_phases.analysis.tables import CONSTANTS


class Averaged(NamedTuple):
    """One constant of one network: a row of a table as `analysis.tables.summary_table` returns it.

    Attributes:
        mean: Over initialisations; NaN where none is known.
        q25: Lower quartile.
        q75: Upper quartile.
        n: Number of initialisations that are averaged.
        n_low: Number of initialisations whose constant lies below the grid of c.
        n_high: Number of initialisations whose constant lies above it.
    """

    mean: float
    q25: float
    q75: float
    n: int
    n_low: int
    n_high: int

    @property
    def n_censored(self) -> int:
        """Number of initialisations that are not averaged in."""
        return self.n_low + self.n_high


class Network(NamedTuple):
    """One network's constants.

    Attributes:
        depth: Its depth.
        width: Its width.
        constants: Its constants by name.
    """

    depth: int
    width: int
    constants: dict[str, Averaged]

    @property
    def seeds(self) -> int:
        """Number of initialisations."""
        return max(row.n + row.n_censored for row in self.constants.values())


def networks(summary: pd.DataFrame) -> Iterator[Network]:
    """The networks of a summary, by depth and width.

    Args:
        summary: A table as `analysis.tables.summary_table` returns it.

    Yields:
        Every network.
    """
    numbers = {"mean": float, "q25": float, "q75": float, "n": int, "n_low": int, "n_high": int}
    for _, group in summary.groupby(["depth", "width"], sort=True):
        constants = {
            str(row["constant"]): Averaged(**{name: number(row[name]) for name, number in numbers.items()})
            for row in group.to_dict("records")
        }
        yield Network(int(group["depth"].iloc[0]), int(group["width"].iloc[0]), constants)


def measured_constants(summary: pd.DataFrame) -> list[str]:
    """The constants that were asked for: known or censored for some network, in the order of `CONSTANTS`."""
    measured = set(summary[(summary["n"] > 0) | (summary["n_censored"] > 0)]["constant"])
    return [name for name in CONSTANTS if name in measured]


def censored_sides(row: Averaged) -> list[str]:
    """How many initialisations are censored on which side, such as "2 low"."""
    return [f"{count} {side}" for side, count in (("low", row.n_low), ("high", row.n_high)) if count]

"""A summary read network by network, for tables of a row a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from sharpness_phases.analysis.boundaries import side_of
from sharpness_phases.analysis.tables import CONSTANTS


class Averaged(NamedTuple):
    """One constant of one network: a row of a table as `analysis.tables.summary_table` returns it.

    Attributes:
        boundary: The network's boundary; 0 where it is censored low, infinite where high, NaN where not measured.
        boundary_q25: Its lower quartile likewise.
        boundary_q75: Its upper quartile likewise.
        interval95_low: Lower end of the 95% interval of c_crit; NaN where there is none.
        interval95_high: Its upper end.
        n: Number of initialisations for which it is known.
        n_low: Number of initialisations whose constant lies below the grid of c.
        n_high: Number of initialisations whose constant lies above it.
    """

    boundary: float
    boundary_q25: float
    boundary_q75: float
    interval95_low: float
    interval95_high: float
    n: int
    n_low: int
    n_high: int

    @property
    def n_censored(self) -> int:
        """Number of initialisations for which it is censored."""
        return self.n_low + self.n_high

    @property
    def bar(self) -> tuple[float, float]:
        """What is told beside the boundary: its quartiles, or, of c_crit, its interval; NaN where there is neither."""
        if math.isnan(self.boundary_q25):
            return self.interval95_low, self.interval95_high
        return self.boundary_q25, self.boundary_q75


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
    for _, group in summary.groupby(["depth", "width"], sort=True):
        constants = {
            str(row["constant"]): Averaged._make(row[name] for name in Averaged._fields)
            for row in group.to_dict("records")
        }
        yield Network(int(group["depth"].iloc[0]), int(group["width"].iloc[0]), constants)


def written(c: float) -> str:
    """A boundary or a quartile as tables write it: three digits, "low", "high", or "-" where it is not known."""
    return side_of(c) or ("-" if math.isnan(c) else f"{c:.3g}")


def measured_constants(summary: pd.DataFrame) -> list[str]:
    """The constants that were asked for: known or censored for some network, in the order of `CONSTANTS`."""
    measured = set(summary[summary["boundary"].notna() | (summary["n"] + summary["n_censored"] > 0)]["constant"])
    return [name for name in CONSTANTS if name in measured]


def censored_sides(row: Averaged) -> list[str]:
    """How many initialisations are censored on which side, such as "2 low"."""
    return [f"{count} {side}" for side, count in (("low", row.n_low), ("high", row.n_high)) if count]

"""Orbits of the uv model with a target, as training visits them, against the exact map and its thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sharpness_phases.analysis.bifurcation import (
    accumulation,
    balanced_map,
    divergence_threshold,
    lyapunov_exponent,
    period_doublings,
    period_of,
)
from sharpness_phases.analysis.uv import recursion

SETTLED, APART = 1e-6, 1e-3
"""Difference of r_t and r_{t+p} below which an orbit has come to its cycle of period p, and that which shorter shifts
exceed on a cycle. Chosen so: at g = 0.999 an orbit that approaches the minimum from side to side is 2.5e-4 away from it
when r_t and r_{t+2} differ by 1e-6, while at g = 1.001 the new cycle is 0.06 wide."""

SMALLEST_TARGET, LARGEST_TARGET = 1e-3, 400.0
"""The |y| that can be simulated. The map is the same for all; with a larger one the loss y^2 (r - 1)^2 / 2 exceeds the
1e5 of a diverged run while r is still bounded by 2. The smaller bound is chosen: with it the sharpness of the minimum,
2 |y| / sqrt(n), is 1e-3, and no solver meets the smallest numbers."""


class Orbit(NamedTuple):
    """What training visits at one learning rate, after a transient.

    Attributes:
        g: eta |y| / sqrt(n).
        learning_rate: eta.
        first: The step of the first of the visited points; 0 is the state before training.
        r: f / y at the steps `first`, `first` + 1, ..., shape (steps,); empty where training diverged.
        sharpness: Top eigenvalue of the Hessian at these points, as it was measured.
    """

    g: float
    learning_rate: float
    first: int
    r: np.ndarray
    sharpness: np.ndarray

    @property
    def diverged(self) -> bool:
        """Whether training diverged."""
        return not len(self.r)


class Start(NamedTuple):
    """The model and the balanced weights that all orbits start from.

    Attributes:
        target: y.
        width: n.
        r_0: f_0 / y.
    """

    target: float
    width: int
    r_0: float


class Onset(NamedTuple):
    """Something that begins at a g, exactly and as it was seen on a grid of g.

    Attributes:
        name: What begins.
        exact: The g from which on it is there.
        simulated: The smallest g of the grid at which training showed it; NaN if it did not.
        before: The largest g of the grid below that; NaN if there is none.
    """

    name: str
    exact: float
    simulated: float
    before: float


def ratio_of(loss: np.ndarray, sharpness: np.ndarray, target: float, width: int) -> np.ndarray:
    """The ratio r = f / y of balanced weights, from what is measured while training.

    |r - 1| = sqrt(2 L) / |y|. The top eigenvalue of the Hessian is mu = (|y| / sqrt(n)) max(3r - 1, 1 - r)
    (`analysis.bifurcation.relative_sharpness`), which exceeds that of the minimum, 2 |y| / sqrt(n), iff r > 1.

    Args:
        loss: L.
        sharpness: mu.
        target: y.
        width: n.

    Returns:
        r, of the arguments' shape.
    """
    distance = np.sqrt(2 * loss) / abs(target)
    return np.where(sharpness * math.sqrt(width) > 2 * abs(target), 1 + distance, 1 - distance)


def orbit_table(orbits: Sequence[Orbit], start: Start) -> pd.DataFrame:
    """Each orbit, and how exactly training follows the map on it.

    Args:
        orbits: In the order of g.
        start: Where they start.

    Returns:
        A row for each: g, learning_rate, first; `kind`: "stable" (period 1), "periodic", "aperiodic" (no
        period, and neighbours part), "unsettled" (no period yet, but neighbours approach) or "divergent"; `period`, 0
        where there is none; `exponent`, its Lyapunov exponent; `one_step`, the largest |r_{t+1} - F(r_t)|;
        `whole`, the largest difference of r_t from the exact recursion since step 0, which only orbits with a period
        have: others amplify each rounding error without bound.
    """
    return pd.DataFrame([_orbit_row(orbit, start) for orbit in orbits])


def _orbit_row(orbit: Orbit, start: Start) -> dict[str, object]:
    row = {"g": orbit.g, "learning_rate": orbit.learning_rate, "first": orbit.first}
    nothing = math.nan
    if orbit.diverged:
        return row | {"kind": "divergent", "period": 0, "exponent": nothing, "one_step": nothing, "whole": nothing}
    period = period_of(orbit.r, SETTLED, APART)
    exponent = float(lyapunov_exponent(orbit.r, orbit.g))
    without = "aperiodic" if exponent > 0 else "unsettled"
    kind = without if period is None else "stable" if period == 1 else "periodic"
    return row | {
        "kind": kind,
        "period": period or 0,
        "exponent": exponent,
        "one_step": float(np.max(np.abs(orbit.r[1:] - balanced_map(orbit.r[:-1], orbit.g)))),
        "whole": nothing if period is None else float(np.max(np.abs(orbit.r - _exact_ratio(orbit, start)))),
    }


def _exact_ratio(orbit: Orbit, start: Start) -> np.ndarray:
    """The ratio r at the visited steps by the recursion of f and lambda, which knows nothing of the balance."""
    f_0 = start.r_0 * start.target
    last = orbit.first + len(orbit.r) - 1
    lambda_0 = 2 * abs(f_0) / math.sqrt(start.width)
    f, _ = recursion(f_0, lambda_0, start.width, orbit.learning_rate, last, start.target)
    return f[orbit.first :] / start.target


def onsets(table: pd.DataFrame) -> list[Onset]:
    """The exact thresholds, and where training was first seen beyond them.

    Args:
        table: As `orbit_table` returns it.

    Returns:
        Period 2, 4 and 8, orbits without a period, divergence.
    """
    doublings = period_doublings()
    seen = {f"period {doubling.period}": table["period"] == doubling.period for doubling in doublings[:3]}
    exact = [doubling.g for doubling in doublings[:3]]
    seen |= {"aperiodic": table["kind"] == "aperiodic", "divergent": table["kind"] == "divergent"}
    exact += [accumulation(doublings), divergence_threshold()]
    grid = table["g"].to_numpy()
    found = []
    for (name, rows), threshold in zip(seen.items(), exact, strict=True):
        at = np.flatnonzero(rows.to_numpy())
        first = float(grid[at[0]]) if len(at) else math.nan
        before = float(grid[at[0] - 1]) if len(at) and at[0] > 0 else math.nan
        found.append(Onset(name, threshold, first, before))
    return found


def points_table(orbits: Sequence[Orbit]) -> pd.DataFrame:
    """All visited points.

    Args:
        orbits: The orbits.

    Returns:
        A row for each: g, learning_rate, step, r, sharpness.
    """
    tables = [
        pd.DataFrame(
            {
                "g": orbit.g,
                "learning_rate": orbit.learning_rate,
                "step": orbit.first + np.arange(len(orbit.r)),
                "r": orbit.r,
                "sharpness": orbit.sharpness,
            }
        )
        for orbit in orbits
    ]
    return pd.concat(tables, ignore_index=True)

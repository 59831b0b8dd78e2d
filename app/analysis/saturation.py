"""Intermediate saturation: the critical constant c_crit, from how the saturated sharpness depends on c.

After the early transient the sharpness settles. Learning rates are compared at equal c tau: r(c) is lambda_tau /
lambda_0 at the step tau with c tau = 200 (100 with cross-entropy), averaged over initialisations (`averaging`) and
smoothed over c (`smoothing`). The susceptibility is chi = -dr/dc, and c_crit = argmax_c dchi/dc, where the sharpness
starts its steep fall (Kalra & Barkeshli 2023, Sec. 3), with a 95% interval (`steepest`).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from sharpness_phases.analysis.averaging import averaged
from sharpness_phases.analysis.critical import Constant
from sharpness_phases.analysis.smoothing import smooth
from sharpness_phases.analysis.steepest import NO_INTERVAL, Interval, c_crit_of, fall_of, interval_of
from sharpness_phases.runs.questions import Question

MIN_POINTS = 5
"""Fewest different c from which c_crit can be found: a fall, and one more c on either side of it. Chosen so."""


class SaturationCurves(NamedTuple):
    """The smoothed saturated sharpness of one network, its derivatives, and where they say that the fall begins.

    Attributes:
        c: Learning-rate constants, increasing, shape (points,).
        ratio: lambda_tau / lambda_0, averaged over initialisations and smoothed.
        chi: Susceptibility -d ratio / dc.
        chi_prime: d chi / dc.
        c_crit: Where chi' is largest, up to the largest chi; censored `low` at the first c, `high` without a fall.
        interval: Its 95% interval; NaN where it is censored, and with one initialisation.
    """

    c: np.ndarray
    ratio: np.ndarray
    chi: np.ndarray
    chi_prime: np.ndarray
    c_crit: Constant
    interval: Interval


class NetworkSaturation(NamedTuple):
    """c_crit of one network; the fields are the columns of `critical_table`.

    Attributes:
        depth: Depth of the network.
        width: Its width.
        c_crit: c_crit of the curve averaged over initialisations; NaN where it is censored.
        censored: "", "low" or "high".
        interval95_low: Lower end of the 95% interval of c_crit; NaN where it is censored, and with one initialisation.
        interval95_high: Its upper end.
        n: Number of initialisations.
    """

    depth: int
    width: int
    c_crit: float
    censored: str
    interval95_low: float
    interval95_high: float
    n: int


def saturation_curves(c: np.ndarray, ratios: np.ndarray) -> SaturationCurves:
    """Average over initialisations, smooth and differentiate.

    Args:
        c: Learning-rate constants, increasing, shape (k,), at least `MIN_POINTS` of them with a ratio.
        ratios: lambda_tau / lambda_0, shape (initialisations, k); NaN from where an initialisation diverges.

    Returns:
        The curves, and c_crit with its interval.

    Raises:
        ValueError: If there are fewer than `MIN_POINTS` different c, or they do not increase.
    """
    c, ratios = np.asarray(c, np.float64), np.asarray(ratios, np.float64)
    if np.isfinite(ratios).any(axis=0).sum() < MIN_POINTS or np.any(np.diff(c) <= 0):
        raise ValueError(f"c_crit needs at least {MIN_POINTS} different c in increasing order. Received: {c!r}.")
    measured = averaged(c, ratios)
    curve = smooth(measured)
    fall = fall_of(curve)
    c_crit = c_crit_of(curve, fall)
    interval = NO_INTERVAL if fall is None or c_crit.censored else interval_of(curve, fall, measured)
    return SaturationCurves(curve.c, curve.ratio, curve.chi, curve.chi_prime, c_crit, interval)


def saturated_sharpness(runs: pd.DataFrame, last_exponent: float) -> pd.DataFrame:
    """The saturated sharpness of every initialisation for which it is completely measured.

    Args:
        runs: All runs, a row per step.
        last_exponent: The largest x of the grid c = 2^x. Runs are carried out from the smallest c up to the first that
            diverges, or to this one; an initialisation that has got to neither is left out.

    Returns:
        A row per (depth, width, seed, c): tau and ratio = lambda_tau / lambda_0, below the first c at which the
        initialisation diverges. A run whose last sharpness is not finite counts as diverged.
    """
    names = ["depth", "width", "seed", "c"]
    chosen = runs[runs["question"] == Question.SATURATION.value].sort_values("step", kind="stable")
    by_run = chosen.groupby("run_id", sort=False)
    # `last` and `first` of a group would pass over NaN: the rows themselves are taken.
    table = by_run.tail(1).set_index("run_id")[[*names, "step", "lr_exponent", "diverged", "sharpness"]]
    first = by_run.head(1).set_index("run_id")["sharpness"]
    table = table.assign(ratio=table["sharpness"] / first).rename(columns={"step": "tau"})
    table["diverged"] = table["diverged"].astype(bool) | ~np.isfinite(table["ratio"])
    cell = [table[name] for name in names[:-1]]
    complete = (table["diverged"] | (table["lr_exponent"] >= last_exponent)).groupby(cell).transform("any")
    diverges = table["c"].where(table["diverged"], np.inf).groupby(cell).transform("min")
    kept = table[complete & (table["c"] < diverges)]
    return kept[[*names, "tau", "ratio"]].sort_values(names).reset_index(drop=True)


def critical_table(saturated: pd.DataFrame) -> pd.DataFrame:
    """c_crit of every network, with its uncertainty.

    Args:
        saturated: A table as `saturated_sharpness` returns it.

    Returns:
        A row per (depth, width) with enough c, with the fields of `NetworkSaturation`.
    """
    rows = []
    for key, group in saturated.groupby(["depth", "width"]):
        c, ratios = by_initialisation(group)
        if len(c) < MIN_POINTS:
            continue
        found = saturation_curves(c, ratios)
        depth, width = cast(tuple[int, int], key)
        constant = found.c_crit
        rows.append(NetworkSaturation(depth, width, constant.value, constant.censored, *found.interval, len(ratios)))
    return pd.DataFrame(rows, columns=NetworkSaturation._fields)


def critical_rows(table: pd.DataFrame) -> list[NetworkSaturation]:
    """The rows of a table as `critical_table` returns it."""
    return [NetworkSaturation._make(row) for row in table.itertuples(index=False)]


def by_initialisation(saturated: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The ratios of one network as an array.

    Args:
        saturated: Rows of one network, as `saturated_sharpness` returns them.

    Returns:
        c, shape (k,), and the ratios, shape (initialisations, k), NaN where an initialisation has diverged.
    """
    ratios = saturated.pivot(index="seed", columns="c", values="ratio")
    return ratios.columns.to_numpy(np.float64), ratios.to_numpy(np.float64)

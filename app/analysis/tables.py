"""From the table of all runs to the tables that users read."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import pandas as pd

from sharpness_phases.analysis.boundaries import Boundary, boundary, side_of
from sharpness_phases.analysis.critical import Constant, critical_constants
from sharpness_phases.analysis.saturation import (
    MIN_POINTS,
    NetworkSaturation,
    critical_rows,
    saturated_sharpness,
    saturation_curves,
)
from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.runs.trajectory import COLUMNS, PER_RUN, PER_STEP, Column, Trajectory

RunLabels: TypeAlias = dict[str, Any]
"""The columns that are the same in all rows of a run: run_id, question, those of `CELL`, lr_exponent, c, diverged."""

Initialisation: TypeAlias = tuple[int, int, int]
"""Depth, width and seed."""

JsonObject: TypeAlias = dict[str, Any]
"""Plain values that JSON has."""

CONSTANTS = ("c_loss", "c_sharp", "c_barrier", "c_max", "c_crit")
"""All critical constants, in their usual order along c; every other list of them derives from this one."""

OF_THE_TRANSIENT = tuple(name for name in CONSTANTS if name != "c_crit")
"""The constants that the first T steps decide; c_crit comes from the saturated sharpness, many steps later."""

_NOT_MEASURED = Constant(np.nan)


class CellKey(NamedTuple):
    """What tells the initialisations of an experiment apart; the fields are columns of a table of runs."""

    family: str
    dataset: str
    loss_name: str
    depth: int
    width: int
    seed: int

    @property
    def initialisation(self) -> Initialisation:
        """Depth, width and seed, which tell them apart within one experiment."""
        return self.depth, self.width, self.seed


CELL = list(CellKey._fields)

_AT_ONE_C = [*CELL, "lr_exponent"]
"""The columns of what goes through the same weights: all runs of one initialisation at one c."""

_MODEL = ["model", "dataset", "loss", "depth", "width", "seed"]
"""The fields of a `CellKey`, as the table of constants calls them."""

_CENSORED = tuple(f"{name}_censored" for name in CONSTANTS)

_STATISTICS = ("mean", "median", "q25", "q75", "n", "n_low", "n_high", "n_censored")
"""Columns about the initialisations for which a constant is known, to compare with the paper; no phase uses them."""

_PLACES = ("boundary", "boundary_q25", "boundary_q75")
"""The boundary of a network and its quartiles: what tables, pictures and phases show."""

_INTERVAL = ("interval95_low", "interval95_high")
"""The ends of the 95% interval of c_crit."""

_SUMMARY = [*_STATISTICS, *(column for place in _PLACES for column in (place, f"{place}_censored")), *_INTERVAL]


def split_runs(runs: pd.DataFrame) -> Iterator[tuple[RunLabels, Trajectory]]:
    """The runs of a table one by one.

    Args:
        runs: A row per step, the rows of a run together and in order.

    Yields:
        The columns that describe the run, and its trajectory.
    """
    if runs.empty:
        return
    ids = runs["run_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    ends = [*starts[1:], len(ids)]
    values = {column.name: _values_of(runs, column) for column in COLUMNS if column.measured}
    described: list[RunLabels] = runs.iloc[starts][
        ["run_id", "question", *CELL, "lr_exponent", "c", "diverged"]
    ].to_dict("records")  # type: ignore[assignment]
    for labels, start, end in zip(described, starts, ends, strict=True):
        measured: dict[str, Any] = {name: values[name][start:end] for name in PER_STEP}
        measured |= {name: values[name][start].item() for name in PER_RUN}
        yield labels, Trajectory(**measured)


def _values_of(runs: pd.DataFrame, column: Column) -> np.ndarray:
    """A column of a table of runs; where it is missing, what stands for that."""
    if column.name not in runs and column.missing is not None:
        return np.full(len(runs), column.missing)
    return runs[column.name].to_numpy(column.type)


def constants_table(runs: pd.DataFrame, exponents: Sequence[float], criteria: Criteria) -> pd.DataFrame:
    """Critical constants of every initialisation whose search is complete.

    Args:
        runs: All runs, a row per step.
        exponents: The grid of x, c = 2^x, increasing.
        criteria: What counts as rising.

    Returns:
        A row per (model, dataset, loss, depth, width, seed): lambda_0, loss_0, the constants and for each a
        `*_censored` column ("", "low" or "high"). c_barrier and c_crit are NaN where the runs do not measure them;
        c_crit is here that of the one initialisation's curve.
    """
    grid = [2.0**x for x in exponents]
    c_crit = _one_by_one(saturated_sharpness(runs, exponents[-1]))
    rows = []
    for cell, found in _on_the_grid(runs[runs["question"] != Question.SATURATION.value], exponents).items():
        constants = critical_constants(grid, found, criteria)
        if all(constant.known for constant in constants.values()):
            constants["c_crit"] = c_crit.get(cell.initialisation, _NOT_MEASURED)
            rows.append(_constants_row(cell, next(iter(found.values()))[0], constants))
    return pd.DataFrame(rows, columns=[*_MODEL, "lambda_0", "loss_0", *CONSTANTS, *_CENSORED])


def _on_the_grid(runs: pd.DataFrame, exponents: Sequence[float]) -> dict[CellKey, dict[int, list[Trajectory]]]:
    """The trajectories of every initialisation by their index on the grid of c.

    Args:
        runs: Rows of runs.
        exponents: The grid of x, c = 2^x.

    Returns:
        An entry for every initialisation, in the order of the rows; an empty one if it has no run on this grid.
    """
    position = {round(x, 10): i for i, x in enumerate(exponents)}
    cells: dict[CellKey, dict[int, list[Trajectory]]] = {}
    for labels, trajectory in split_runs(runs):
        found = cells.setdefault(CellKey(*(labels[name] for name in CELL)), {})
        index = position.get(round(labels["lr_exponent"], 10))  # none for the state before training, or another grid
        if index is not None:
            found.setdefault(index, []).append(trajectory)
    return cells


def _constants_row(cell: CellKey, run: Trajectory, constants: Mapping[str, Constant]) -> dict[str, object]:
    """The row of one initialisation, with its loss and sharpness before training, which all its runs share."""
    named = {name: constants.get(name, _NOT_MEASURED) for name in CONSTANTS}
    return (
        dict(zip(_MODEL, cell, strict=True))
        | {"lambda_0": float(run.sharpness[0]), "loss_0": float(run.loss[0])}
        | {name: constant.value for name, constant in named.items()}
        | {f"{name}_censored": constant.censored for name, constant in named.items()}
    )


def _one_by_one(saturated: pd.DataFrame) -> dict[Initialisation, Constant]:
    """c_crit of every initialisation from its own curve."""
    found = {}
    for key, runs in saturated.groupby(["depth", "width", "seed"]):
        if len(runs) >= MIN_POINTS:
            curves = saturation_curves(runs["c"].to_numpy(), runs["ratio"].to_numpy()[None])
            found[cast(Initialisation, key)] = curves.c_crit
    return found


def summary_table(constants: pd.DataFrame, saturation: pd.DataFrame | None = None) -> pd.DataFrame:
    """The constants of every network.

    Args:
        constants: A table as `constants_table` returns it.
        saturation: c_crit as `analysis.saturation.critical_table` returns it: its definition averages curves, not
            constants, so that it is the network's c_crit.

    Returns:
        A row per (depth, width, constant):

        - mean, median, q25, q75 over the n initialisations for which it is known, n_low and n_high, the numbers of
          those for which it is censored, and n_censored, their sum;
        - boundary, boundary_q25, boundary_q75: the network's boundary and its quartiles
          (`analysis.boundaries.boundary`): 0 where they are censored low, infinite where high, NaN where not measured;
          `*_censored` is "low", "high" or "" for each. The boundary of c_crit is that of the averaged curve, without
          quartiles;
        - interval95_low and interval95_high, the ends of the 95% interval of c_crit; NaN for other constants.
    """
    networks = [] if saturation is None else critical_rows(saturation)
    averaged: dict[Hashable, NetworkSaturation] = {(row.depth, row.width): row for row in networks}
    rows = []
    for (depth, width), group in constants.groupby(["depth", "width"], sort=True):
        for name in CONSTANTS:
            values, censored = group[name], group[f"{name}_censored"]
            row = {"depth": depth, "width": width, "constant": name, **_statistics(values, censored)}
            if name == "c_crit":
                rows.append(row | _of_the_averaged_curve(averaged.get((depth, width))))
            else:
                rows.append(row | _places(boundary(values.tolist(), censored.tolist())))
    return pd.DataFrame(rows, columns=["depth", "width", "constant", *_SUMMARY])


def _statistics(values: pd.Series, censored: pd.Series) -> dict[str, float]:
    """Mean and quartiles of the known values of one constant, and how many are known or censored on each side."""
    known = values.dropna().to_numpy()
    q25, median, q75 = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else [np.nan] * 3
    low, high = int((censored == "low").sum()), int((censored == "high").sum())
    return {
        # A sum rounds: clipped, the mean of equal constants is that constant to the last bit.
        "mean": float(np.clip(known.mean(), known.min(), known.max())) if len(known) else np.nan,
        "median": float(median),
        "q25": float(q25),
        "q75": float(q75),
        "n": len(known),
        "n_low": low,
        "n_high": high,
        "n_censored": low + high,
    }


def _places(found: Boundary) -> dict[str, float | str]:
    """The columns of a boundary and its quartiles."""
    columns: dict[str, float | str] = {}
    for name, place in zip(_PLACES, found, strict=True):
        columns |= {name: place, f"{name}_censored": side_of(place)}
    return columns


def _of_the_averaged_curve(row: NetworkSaturation | None) -> dict[str, float | str]:
    """The columns of a network's c_crit, where its saturated sharpness was measured."""
    if row is None:
        return _places(Boundary(np.nan, np.nan, np.nan))
    value = boundary([row.c_crit], [row.censored]).value
    interval = dict(zip(_INTERVAL, (row.interval95_low, row.interval95_high), strict=True))
    return _places(Boundary(value, np.nan, np.nan)) | interval


def summary_json(summary: pd.DataFrame) -> list[JsonObject]:
    """A summary as plain JSON values: a list of {depth, width, <constant>: {mean, median, ...}}.

    Args:
        summary: A table as `summary_table` returns it.

    Returns:
        An entry per (depth, width); null for what is not known, as for a boundary or a quartile that is censored: its
        `*_censored` says on which side. Only c_crit has an interval. Where initialisations are censored a `note` says
        of how many the mean, the median and the quartiles are.
    """
    entries = []
    for _, group in summary.groupby(["depth", "width"], sort=True):
        entry: JsonObject = {name: int(group[name].iloc[0]) for name in ("depth", "width")}
        for row in group.drop(columns=["depth", "width"]).to_dict("records"):
            name = str(row.pop("constant"))
            censored = {place for place in _PLACES if row[f"{place}_censored"]}
            without = () if name == "c_crit" else _INTERVAL
            entry[name] = {
                str(key): None if key in censored or pd.isna(value) else value
                for key, value in row.items()
                if key not in without
            }
            if row["n_censored"]:
                entry[name]["note"] = _note(int(row["n"]), int(row["n_low"]), int(row["n_high"]))
        entries.append(entry)
    return entries


def _note(n: int, n_low: int, n_high: int) -> str:
    """What mean and quartiles leave out."""
    sides = [f"{count} {side} the grid of c" for count, side in ((n_low, "below"), (n_high, "above")) if count]
    total = n + n_low + n_high
    said = f"mean, median, q25 and q75 are of {n} of {total} initialisations only; {' and '.join(sides)}"
    return f"{said}: the network's place is `boundary`"


def violations(constants: pd.DataFrame) -> pd.DataFrame:
    """Initialisations whose constants are not in the usual order c_loss <= c_sharp <= c_barrier <= c_max.

    Args:
        constants: A table as `constants_table` returns it.

    Returns:
        Its rows out of order. What is censored `low` lies below everything known; what is not measured, or censored
        `high` (there is no such c), is passed over.
    """
    names = list(OF_THE_TRANSIENT)
    censored = constants[[f"{name}_censored" for name in names]].to_numpy()
    values = np.where(censored == "low", 0.0, constants[names].to_numpy(float))
    pairs = combinations(values.T, 2)
    swapped = np.any([before > after for before, after in pairs], axis=0)
    return constants.iloc[np.flatnonzero(swapped)]


def merge_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """One trajectory for each initialisation and c, out of the runs that answered yes-or-no questions there.

    All runs of an initialisation at one c go through the same weights, so rows of one step agree but for how well the
    sharpness is known: the one with the smallest relative residual is taken.

    Args:
        runs: All runs, a row per step.

    Returns:
        The same columns, sorted by initialisation, c and step; `run_id` and `question` are those of the longest run (of
        equally long ones, of that whose last sharpness is known worst), `diverged` tells whether any has diverged.
    """
    trained = runs[runs["lr_exponent"].notna() & (runs["question"] != Question.SATURATION.value)]
    ranked = _best_known_first(trained)
    at_c = ranked.groupby(_AT_ONE_C, sort=False)
    # The last row at one c belongs to the last step, to which only the longest runs come.
    longest = {name: at_c[name].transform("last") for name in ("run_id", "question")}
    diverged = at_c["diverged"].transform("any").astype(bool)
    best = ranked.assign(**longest, diverged=diverged).drop_duplicates([*_AT_ONE_C, "step"])
    return best.reset_index(drop=True)


def _best_known_first(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of initialisation, c and step, and of one step in the order of preference.

    Args:
        runs: Rows of runs.

    Returns:
        The same rows; of one step first those with a sharpness lambda_t, by the relative residual ||Hv - lambda_t v|| /
        |lambda_t|, and those of longer runs first where that is the same.
    """
    preference = pd.DataFrame(
        {
            "unmeasured": runs["sharpness"].isna(),
            "relative_residual": runs["residual"] / runs["sharpness"].abs(),
            "missing_steps": -runs.groupby("run_id")["step"].transform("max"),
        }
    )
    keys = pd.concat([runs[[*_AT_ONE_C, "step"]], preference], axis=1)
    order = keys.reset_index(drop=True).sort_values(list(keys.columns), kind="stable").index
    return runs.iloc[order]

"""From the table of all runs to the tables that users read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from sharpness_phases.analysis.critical import Constant, critical_constants
from sharpness_phases.analysis.saturation import MIN_POINTS, saturated_sharpness, saturation_curves
from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.runs.trajectory import Trajectory

CONSTANTS = ("c_loss", "c_sharp", "c_barrier", "c_max", "c_crit")
"""All critical constants, in their usual order along c; every other list of them derives from this one."""

OF_THE_TRANSIENT = tuple(name for name in CONSTANTS if name != "c_crit")
"""The constants that the first T steps decide; c_crit comes from the saturated sharpness, many steps later."""

CELL = ["family", "dataset", "loss_name", "depth", "width", "seed"]


def split_runs(runs: pd.DataFrame) -> Iterator[tuple[dict[str, Any], Trajectory]]:
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
    steps = {name: runs[name].to_numpy() for name in ("loss", "accuracy", "sharpness", "residual", "hvps")}
    barriers = runs["barrier"].to_numpy() if "barrier" in runs else np.full(len(runs), np.nan)
    described: list[dict[str, Any]] = runs.iloc[starts][
        ["run_id", "question", *CELL, "lr_exponent", "c", "diverged"]
    ].to_dict("records")  # type: ignore[assignment]
    for labels, start, end in zip(described, starts, ends, strict=True):
        arrays: dict[str, Any] = {name: values[start:end] for name, values in steps.items()}
        yield labels, Trajectory(**arrays, diverged=labels["diverged"], barrier=float(barriers[start]))


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
    position = {round(x, 10): i for i, x in enumerate(exponents)}
    cells: dict[tuple[Any, ...], dict[int, list[Trajectory]]] = {}
    saturated = _one_by_one(saturated_sharpness(runs, exponents[-1]))
    for labels, trajectory in split_runs(runs[runs["question"] != Question.SATURATION.value]):
        at = cells.setdefault(tuple(labels[name] for name in CELL), {})
        index = position.get(round(labels["lr_exponent"], 10))  # none for the state before training, or another grid
        if index is not None:
            at.setdefault(index, []).append(trajectory)
    grid = [2.0**x for x in exponents]
    rows = []
    for cell, found in cells.items():
        constants = critical_constants(grid, found, criteria)
        if not all(constant.known for constant in constants.values()):
            continue
        constants["c_crit"] = saturated.get(cell[-3:], Constant(np.nan))
        first = next(iter(found.values()))[0]
        row = dict(zip(["model", "dataset", "loss", "depth", "width", "seed"], cell, strict=True))
        row |= {"lambda_0": float(first.sharpness[0]), "loss_0": float(first.loss[0])}
        row |= {name: constants[name].value if name in constants else np.nan for name in CONSTANTS}
        row |= {f"{name}_censored": constants[name].censored if name in constants else "" for name in CONSTANTS}
        rows.append(row)
    names = ["model", "dataset", "loss", "depth", "width", "seed", "lambda_0", "loss_0"]
    return pd.DataFrame(rows, columns=[*names, *CONSTANTS, *(f"{name}_censored" for name in CONSTANTS)])


def _one_by_one(saturated: pd.DataFrame) -> dict[tuple[Any, ...], Constant]:
    """c_crit of every (depth, width, seed) from its own curve."""
    found = {}
    for cell, runs in saturated.groupby(["depth", "width", "seed"]):
        if len(runs) >= MIN_POINTS:
            found[cell] = saturation_curves(runs["c"].to_numpy(), runs["ratio"].to_numpy()[None]).c_crit
    return found


def summary_table(constants: pd.DataFrame, saturation: pd.DataFrame | None = None) -> pd.DataFrame:
    """Averages over initialisations; censored values are counted, never averaged in.

    Args:
        constants: A table as `constants_table` returns it.
        saturation: c_crit as `analysis.saturation.critical_table` returns it: its definition averages curves, not
            constants. `mean` is then that of the averaged curve, the quantiles those of the bootstrap.

    Returns:
        A row per (depth, width, constant): mean, median, q25, q75, n (values averaged), n_low, n_high, n_censored.
    """
    rows = []
    averaged: dict[Any, Any] = {}
    if saturation is not None:
        averaged = {(row.depth, row.width): row for row in saturation.itertuples()}
    for (depth, width), group in constants.groupby(["depth", "width"], sort=True):
        for name in CONSTANTS:
            values = group[name].dropna().to_numpy()
            censored = group[f"{name}_censored"]
            quartiles = np.quantile(values, [0.25, 0.5, 0.75]) if len(values) else [np.nan] * 3
            row: dict[str, Any] = {
                "depth": depth,
                "width": width,
                "constant": name,
                "mean": float(values.mean()) if len(values) else np.nan,
                "median": float(quartiles[1]),
                "q25": float(quartiles[0]),
                "q75": float(quartiles[2]),
                "n": len(values),
                "n_low": int((censored == "low").sum()),
                "n_high": int((censored == "high").sum()),
            }
            if name == "c_crit" and (depth, width) in averaged:
                row |= _averaged_c_crit(averaged[depth, width])
            rows.append(row | {"n_censored": row["n_low"] + row["n_high"]})
    names = ["depth", "width", "constant", "mean", "median", "q25", "q75", "n", "n_low", "n_high", "n_censored"]
    return pd.DataFrame(rows, columns=names)


def _averaged_c_crit(row: Any) -> dict[str, Any]:
    """c_crit of a network's averaged curve, in the columns of a summary."""
    counts = {f"n_{side}": row.n if row.censored == side else 0 for side in ("low", "high")}
    quantiles = {name: getattr(row, name) for name in ("median", "q25", "q75")}
    return {"mean": row.c_crit, "n": 0 if row.censored else row.n} | quantiles | counts


def summary_json(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """A summary as plain JSON values: a list of {depth, width, <constant>: {mean, median, ...}}, null where not known.

    Args:
        summary: A table as `summary_table` returns it.

    Returns:
        An entry per (depth, width).
    """
    entries = []
    for _, group in summary.groupby(["depth", "width"], sort=True):
        entry: dict[str, Any] = {name: int(group[name].iloc[0]) for name in ("depth", "width")}
        for row in group.drop(columns=["depth", "width"]).to_dict("records"):
            name = str(row.pop("constant"))
            entry[name] = {str(key): None if pd.isna(value) else value for key, value in row.items()}
        entries.append(entry)
    return entries


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
        The same columns; `run_id` and `question` are those of the longest run.
    """
    trained = runs[runs["lr_exponent"].notna() & (runs["question"] != Question.SATURATION.value)]
    length = trained.groupby("run_id")["step"].transform("max")
    measured, unsure = trained["sharpness"].notna(), trained["residual"] / trained["sharpness"].abs()
    order = trained.assign(_length=length, _measured=measured, _unsure=unsure)
    key = [*CELL, "lr_exponent", "step"]
    better = {"_measured": False, "_unsure": True, "_length": False}  # whether ascending
    order = order.sort_values([*key, *better], ascending=[True] * len(key) + [*better.values()], kind="stable")
    first = order.drop_duplicates(key).drop(columns=list(better))
    longest = order.sort_values("_length", kind="stable").groupby([*CELL, "lr_exponent"], sort=False)
    for name in ("run_id", "question"):
        chosen = longest[name].last().rename(f"_{name}").reset_index()
        first = first.merge(chosen, on=[*CELL, "lr_exponent"], how="left")
        first[name] = first.pop(f"_{name}")
    ended = trained.groupby([*CELL, "lr_exponent"])["diverged"].any().rename("_diverged").reset_index()
    first = first.merge(ended, on=[*CELL, "lr_exponent"], how="left")
    first["diverged"] = first.pop("_diverged").astype(bool)
    return first.sort_values(key, kind="stable").reset_index(drop=True)

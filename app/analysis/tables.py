"""From the table of all runs to the tables that users read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from app.analysis.critical import Criteria, critical_constants
from app.trajectory import Trajectory

CONSTANTS = ("c_loss", "c_sharp", "c_barrier", "c_max", "c_crit")
"""The critical constants, in the order in which they are usually found along c."""

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
        `*_censored` column ("", "low" or "high"). c_barrier and c_crit are NaN: these runs do not measure them.
    """
    position = {round(x, 10): i for i, x in enumerate(exponents)}
    cells: dict[tuple[Any, ...], dict[int, list[Trajectory]]] = {}
    for labels, trajectory in split_runs(runs):
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
        first = next(iter(found.values()))[0]
        row = dict(zip(["model", "dataset", "loss", "depth", "width", "seed"], cell, strict=True))
        row |= {"lambda_0": float(first.sharpness[0]), "loss_0": float(first.loss[0])}
        row |= {name: constants[name].value if name in constants else np.nan for name in CONSTANTS}
        row |= {f"{name}_censored": constants[name].censored if name in constants else "" for name in CONSTANTS}
        rows.append(row)
    names = ["model", "dataset", "loss", "depth", "width", "seed", "lambda_0", "loss_0"]
    return pd.DataFrame(rows, columns=[*names, *CONSTANTS, *(f"{name}_censored" for name in CONSTANTS)])


def summary_table(constants: pd.DataFrame) -> pd.DataFrame:
    """Averages over initialisations; censored values are counted, never averaged in.

    Args:
        constants: A table as `constants_table` returns it.

    Returns:
        A row per (depth, width, constant): mean, median, q25, q75, n (values averaged), n_low, n_high, n_censored.
    """
    rows = []
    for (depth, width), group in constants.groupby(["depth", "width"], sort=True):
        for name in CONSTANTS:
            values = group[name].dropna().to_numpy()
            censored = group[f"{name}_censored"]
            n_low, n_high = int((censored == "low").sum()), int((censored == "high").sum())
            quartiles = np.quantile(values, [0.25, 0.5, 0.75]) if len(values) else [np.nan] * 3
            rows.append(
                {
                    "depth": depth,
                    "width": width,
                    "constant": name,
                    "mean": float(values.mean()) if len(values) else np.nan,
                    "median": float(quartiles[1]),
                    "q25": float(quartiles[0]),
                    "q75": float(quartiles[2]),
                    "n": len(values),
                    "n_low": n_low,
                    "n_high": n_high,
                    "n_censored": n_low + n_high,
                }
            )
    names = [
        "depth",
        "width",
        "constant",
        "mean",
        "median",
        "q25",
        "q75",
        "n",
        "n_low",
        "n_high",
        "n_censored",
    ]
    return pd.DataFrame(rows, columns=names)


def violations(constants: pd.DataFrame) -> pd.DataFrame:
    """Initialisations whose constants are not in the usual order c_loss <= c_sharp <= c_max.

    Args:
        constants: A table as `constants_table` returns it.

    Returns:
        Its rows out of order.
    """
    below = (constants["c_sharp"] < constants["c_loss"]) | (constants["c_max"] < constants["c_sharp"])
    return constants[below | (constants["c_max"] < constants["c_loss"])]


def merge_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """One trajectory for each initialisation and c, out of the runs that answered different questions there.

    All runs of an initialisation at one c go through the same weights, so rows of one step agree; what one run did not
    measure is taken from another.

    Args:
        runs: All runs, a row per step.

    Returns:
        The same columns; `run_id` and `question` are those of the longest run.
    """
    trained = runs[runs["lr_exponent"].notna()]
    length = trained.groupby("run_id")["step"].transform("max")
    measured = trained["sharpness"].notna()
    order = trained.assign(_length=length, _measured=measured)
    key = [*CELL, "lr_exponent", "step"]
    order = order.sort_values(
        [*key, "_measured", "_length"], ascending=[True] * len(key) + [False, False], kind="stable"
    )
    first = order.drop_duplicates(key).drop(columns=["_length", "_measured"])
    longest = order.sort_values("_length", kind="stable").groupby([*CELL, "lr_exponent"], sort=False)
    for name in ("run_id", "question"):
        chosen = longest[name].last().rename(f"_{name}").reset_index()
        first = first.merge(chosen, on=[*CELL, "lr_exponent"], how="left")
        first[name] = first.pop(f"_{name}")
    ended = trained.groupby([*CELL, "lr_exponent"])["diverged"].any().rename("_diverged").reset_index()
    first = first.merge(ended, on=[*CELL, "lr_exponent"], how="left")
    first["diverged"] = first.pop("_diverged").astype(bool)
    return first.sort_values(key, kind="stable").reset_index(drop=True)

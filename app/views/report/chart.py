"""The data behind the report's interactive chart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from sharpness_phases.analysis.tables import CONSTANTS
from sharpness_phases.runs.edge import edge_constant, edge_in_words
from sharpness_phases.views.chosen_runs import joined
from sharpness_phases.views.labels import CellKey, by_cell, phase_of
from sharpness_phases.views.thinning import few_steps, first_initialisations

MAX_POINTS = 100_000
"""Points of runs in the page, about 2 MB; with more, the first initialisations of all networks are there."""

MAX_STEPS = 300
"""Steps of one run in the page; longer ones are thinned, ever sparser toward their end."""

_SHADES = 48  # of the colour scale
_ON_WHITE, _ON_BLACK = (0.0, 0.92), (0.22, 1.0)  # the part of it that is seen well


class ChartEdge(NamedTuple):
    """The stability edge that the chart draws.

    Attributes:
        words: Its formula.
        constant: c times the edge over lambda_0, where that is the same for all runs; else None: every run tells its
            own edge, if any.
        c_in_words: What c is.
    """

    words: str = edge_in_words()
    constant: float | None = edge_constant()
    c_in_words: str = "ηλ₀"


def chart_data(
    trajectories: pd.DataFrame, constants: pd.DataFrame, edge: ChartEdge | None = None, every: int = 1
) -> tuple[dict[str, object], list[str]]:
    """What the chart draws.

    Args:
        trajectories: A row per step, one run for each initialisation and c, as `analysis.tables.merge_runs` returns
            them.
        constants: A table as `analysis.tables.constants_table` returns it.
        edge: The optimizer's stability edge; that of plain gradient descent if None.
        every: Steps from one measurement of the sharpness to the next in runs that are measured throughout.

    Returns:
        Plain JSON values, and sentences about what was left out.
    """
    last = trajectories.groupby("run_id")["step"].max()
    counted = pd.Series(trajectories["step"] < MAX_STEPS)
    chosen = trajectories[first_initialisations(trajectories, counted, MAX_POINTS)]
    omitted = []
    keys = ["depth", "width", "seed"]
    if len(chosen) < len(trajectories):
        shown, of = (len(table[keys].drop_duplicates()) for table in (chosen, trajectories))
        omitted.append(
            f"The page has the trajectories of {shown} of {of} initialisations, the first ones of all networks; "
            "the folder runs/ has them all."
        )
    if (last >= MAX_STEPS).any():
        omitted.append(f"Of long runs at most {MAX_STEPS} steps are drawn, ever sparser toward the end.")
    known = by_cell(constants)
    edge = edge or ChartEdge()
    with_edges = edge.constant is None and "edge" in chosen
    initialisations = [_initialisation(runs, known, with_edges, every) for _, runs in chosen.groupby(keys, sort=True)]
    data = {
        "range": [float(chosen["c"].min()), float(chosen["c"].max())],
        "logarithmic": bool(last.max() > 100),
        "light": _scale(*_ON_WHITE),
        "dark": _scale(*_ON_BLACK),
        "edge": edge._asdict(),
        "initialisations": initialisations,
    }
    return data, omitted


def json_for_html(data: Mapping[str, object]) -> str:
    """JSON that can stand within a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _initialisation(
    runs: pd.DataFrame, known: Mapping[CellKey, pd.Series], with_edges: bool, every: int
) -> dict[str, object]:
    depth, width, seed = (int(runs[name].iloc[0]) for name in ("depth", "width", "seed"))
    constants = known.get((depth, width, seed))
    found = {} if constants is None else {name: _constant(constants, name) for name in CONSTANTS}
    return {
        "depth": depth,
        "width": width,
        "seed": seed,
        "constants": {name: value for name, value in found.items() if value},
        "rate_per_c": _rate_per_c(runs),
        "runs": [_run(run, constants, with_edges, every) for _, run in runs.groupby("lr_exponent", sort=True)],
    }


def _rate_per_c(runs: pd.DataFrame) -> float:
    """The quotient eta / c, the same for all runs of an initialisation (`sharpness_phases.runs.axis.Axis.rate`)."""
    first = runs.iloc[0]
    return float(f"{first['learning_rate'] / first['c']:.6g}")


def _constant(row: pd.Series, name: str) -> str:
    return f"{row[name]:.3g}" if np.isfinite(row[name]) else str(row[f"{name}_censored"])


def _run(run: pd.DataFrame, constants: pd.Series | None, with_edges: bool, every: int) -> dict[str, object]:
    measured = run["sharpness"].notna().to_numpy()
    thinned = run.iloc[_few_rows(measured)]
    entry: dict[str, object] = {
        "x": float(run["lr_exponent"].iloc[0]),
        "phase": phase_of(float(run["c"].iloc[0]), constants),
        "loss": _numbers(thinned["loss"].tolist()),
        "sharpness": _numbers(thinned["sharpness"].tolist()),
    }
    if with_edges:
        entry["edge"] = _numbers(thinned["edge"].tolist())
    steps = [int(step) for step in thinned["step"]]
    begins = run["step"].to_numpy()[measured]
    if apart := [int(begins[part.start]) for part in joined(begins, every)[1:]]:
        entry["apart"] = apart  # steps of the sharpness before which nothing was measured
    if steps != list(range(len(steps))):
        entry["steps"] = steps
    return entry


def _few_rows(measured: np.ndarray) -> np.ndarray:
    """Rows of a run to show: half of them have a sharpness, which may be measured at few steps only."""
    if len(measured) <= MAX_STEPS:
        return np.arange(len(measured))
    with_sharpness = np.flatnonzero(measured)
    chosen = [few_steps(len(measured) - 1, MAX_STEPS // 2)]
    if len(with_sharpness):
        chosen.append(with_sharpness[few_steps(len(with_sharpness) - 1, MAX_STEPS // 2)])
    return np.unique(np.concatenate(chosen))


def _numbers(values: Sequence[float]) -> list[float | None]:
    """Four digits of every value; None where it is not finite."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def _scale(low: float, high: float) -> list[str]:
    return [to_hex(color) for color in matplotlib.colormaps["viridis"](np.linspace(low, high, _SHADES))]

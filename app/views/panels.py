"""What the panels of phase diagrams hold: the networks, lines through their constants, the areas of the phases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, cast

import numpy as np
import pandas as pd

from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.analysis.tables import CONSTANTS

MARKED = tuple(name for name in CONSTANTS if name != "c_crit")
"""The constants that have markers, where they are known: all but c_crit, which has pictures of its own."""


class Over(StrEnum):
    """The vertical axis of a phase diagram."""

    WIDTH = "width"
    """1/w, a panel for every depth."""
    DEPTH = "depth"
    """d, a panel for every width."""
    RATIO = "ratio"
    """d/w, all networks pooled in one panel (Kalra & Barkeshli 2023, Sec. 2.2)."""


class Panel(NamedTuple):
    """One panel: networks along one line through the plane of depth and width.

    Attributes:
        title: What is fixed.
        rows: Summary rows with a column `position`, the vertical coordinate.
        over: What the coordinate is.
        edge: The c at the optimizer's stability edge (`sharpness_phases.runs.edge.edge_constant`).
    """

    title: str
    rows: pd.DataFrame
    over: Over
    edge: float = 2.0

    @property
    def positions(self) -> np.ndarray:
        """The vertical coordinates of the networks, increasing."""
        return np.sort(self.rows["position"].unique())


class Range(NamedTuple):
    """The range of c that is shown.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float


def panels_of(summary: pd.DataFrame, over: Over | None) -> list[Panel]:
    """Distribute networks over panels.

    Args:
        summary: A table as `analysis.tables.summary_table` returns it.
        over: The vertical axis; by default the width, or the depth where there is one width and several depths.

    Returns:
        The panels, by increasing depth or width.
    """
    depths, widths = sorted(summary["depth"].unique()), sorted(summary["width"].unique())
    if over is None:
        over = Over.DEPTH if len(widths) == 1 and len(depths) > 1 else Over.WIDTH
    if over is Over.RATIO:
        title = "all depths and widths" if len(depths) > 1 else f"depth {depths[0]}"
        return [Panel(title, summary.assign(position=summary["depth"] / summary["width"]), over)]
    if over is Over.DEPTH:
        panels = [(f"width {width}", summary[summary["width"] == width]) for width in widths]
        return [Panel(title, rows.assign(position=rows["depth"].astype(float)), over) for title, rows in panels]
    panels = [(f"depth {depth}", summary[summary["depth"] == depth]) for depth in depths]
    return [Panel(title, rows.assign(position=1.0 / rows["width"]), over) for title, rows in panels]


class ConstantRow(Protocol):
    """One constant of one network: a row of `analysis.tables.summary_table`; in a `Panel` with its position."""

    mean: float
    q25: float
    q75: float
    n_censored: int
    position: float


def known_rows(rows: pd.DataFrame, name: str) -> Iterator[ConstantRow]:
    """The rows of the networks for which a constant is known."""
    return cast(Iterator[ConstantRow], rows[(rows["constant"] == name) & (rows["n"] > 0)].itertuples())


def known_somewhere(panels: Sequence[Panel], name: str) -> bool:
    """Whether a constant is known for at least one network of the panels."""
    return any(bool((panel.rows[panel.rows["constant"] == name]["n"] > 0).any()) for panel in panels)


def common_range(panels: Sequence[Panel]) -> Range:
    """The range of c with room for all constants and the stability edge.

    Args:
        panels: All panels that are drawn on it.

    Returns:
        Whole octaves, with at least half an octave free below the lowest c and 0.3 of one above the highest.
    """
    table = pd.concat([panel.rows for panel in panels])
    values = table[table["constant"].isin(MARKED)][["mean", "q25", "q75"]].to_numpy().ravel()
    values = np.append(values[np.isfinite(values) & (values > 0)], [panel.edge for panel in panels])
    return Range(2.0 ** math.floor(np.log2(values.min()) - 0.5), 2.0 ** math.ceil(np.log2(values.max()) + 0.3))


def heights_of(panel: Panel) -> np.ndarray:
    """Vertical coordinates to draw curves over: those of the networks with a margin around.

    Around a single network the margin is half an octave; else 0.15 of the closest distance of two networks, and at most
    of an octave, so that no marker lies on the frame and little is drawn where nothing was measured.

    Args:
        panel: The networks.

    Returns:
        Increasing coordinates, shape (200,), evenly spaced on a logarithmic axis.
    """
    positions = panel.positions
    octaves = 0.5 if len(positions) == 1 else 0.15 * min(1.0, float(np.diff(np.log2(positions)).min()))
    margin = 2.0**octaves
    return np.geomspace(positions[0] / margin, positions[-1] * margin, 200)


def fitted_boundaries(panel: Panel) -> dict[str, np.ndarray]:
    """Fits through the networks for which a constant is known at least as often as it is censored.

    Args:
        panel: The networks.

    Returns:
        For each constant of `BOUNDARIES` that has such networks the coefficients, highest power first, of log2 c as a
        polynomial in log2 of the vertical coordinate: quadratic from four networks on, linear for two or three.
    """
    rows, fits = panel.rows, {}
    for name in BOUNDARIES:
        known = rows[(rows["constant"] == name) & (rows["n"] > 0) & (rows["n"] >= rows["n_censored"])]
        if len(known):
            degree = 2 if len(known) > 3 else min(1, len(known) - 1)
            fits[name] = np.polyfit(np.log2(known["position"]), np.log2(known["mean"]), degree)
    return fits


def curve_of(fit: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The c along a fitted boundary at vertical coordinates, of their shape."""
    return 2.0 ** np.polyval(fit, np.log2(heights))


def phase_edges(panel: Panel, heights: np.ndarray, shown: Range) -> list[np.ndarray]:
    """Where each phase begins and ends, as `analysis.phases.classify` decides whatever the order of the constants.

    Args:
        panel: The networks.
        heights: Vertical coordinates, shape (n,).
        shown: The range of c; no edge lies outside.

    Returns:
        Five edges of shape (n,), from low c to high c; the k-th phase lies between the k-th and the next.
    """
    fits = fitted_boundaries(panel)
    c_loss, c_sharp, c_max = (_boundary(panel, name, fits.get(name), heights, shown) for name in BOUNDARIES)
    # `classify` asks c > c_max first, then c >= c_sharp, then c >= c_loss: the earlier answer cuts off the later ones.
    divergent = c_max
    both_catapults = np.minimum(c_sharp, divergent)
    loss_catapult = np.minimum(c_loss, both_catapults)
    return [
        np.full(len(heights), shown.low),
        loss_catapult,
        both_catapults,
        divergent,
        np.full(len(heights), shown.high),
    ]


def _boundary(panel: Panel, name: str, fit: np.ndarray | None, heights: np.ndarray, shown: Range) -> np.ndarray:
    """One boundary's c over the heights, within the range shown; its upper end where nothing is known of the constant.

    At the heights nearest to a network for which the constant is mostly censored, the boundary is at that end of the
    range to which the constant is censored.

    Returns:
        The boundary, shape (n,).
    """
    curve = np.full(len(heights), shown.high) if fit is None else curve_of(fit, heights)
    nearest = _nearest(panel.positions, heights)
    rows = panel.rows[panel.rows["constant"] == name]
    counts = rows.groupby("position")[["n", "n_low", "n_high"]].sum()
    for position, known, low, high in zip(counts.index, *counts.to_numpy().T, strict=True):
        if known < low + high:
            curve = np.where(nearest == position, shown.low if low > high else shown.high, curve)
    return np.clip(curve, *shown)


def _nearest(positions: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """For each height the position that is nearest on a logarithmic axis."""
    distances = np.abs(np.log2(heights)[:, None] - np.log2(positions))
    return positions[np.argmin(distances, axis=1)]

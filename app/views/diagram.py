"""The phase diagram: the phases of early training over c and the network's shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sharpness_phases.analysis.phases import BOUNDARIES, Phase
from sharpness_phases.analysis.tables import OF_THE_TRANSIENT as MARKED
from sharpness_phases.views.style import (
    CONSTANT_COLORS,
    CONSTANT_LABELS,
    CONSTANT_MARKERS,
    PHASE_FILLS,
    Picture,
    columns_for,
    figure_size,
    house_style,
    is_narrow,
    log2_axis,
    octaves,
)

_PANEL = (4.6, 3.6)  # inches


class Over(StrEnum):
    """The vertical axis of a phase diagram."""

    WIDTH = "width"
    """1/w, a panel for every depth."""
    DEPTH = "depth"
    """d, a panel for every width."""
    RATIO = "ratio"
    """d/w, all networks pooled in one panel (Kalra & Barkeshli 2023, Sec. 2.2)."""


class _Slice(NamedTuple):
    """One panel: networks along one line through the plane of depth and width.

    Attributes:
        title: What is fixed.
        rows: Summary rows with a column `position`, the vertical coordinate.
        over: What the coordinate is.
    """

    title: str
    rows: pd.DataFrame
    over: Over


class PhaseDiagram(Picture):
    """Phase diagram in the plane of c and 1/w at fixed depth, of c and d at fixed width, or of c and d/w.

    Markers are means over initialisations with bars from the lower to the upper quartile; an initialisation whose
    constant is censored is not averaged in, and a marker that lacks some is hollow. Lines are fits of log2 c, quadratic
    at most in the logarithm of the vertical coordinate, through the networks for which at least half are known; they
    bound the filled phases (Kalra & Barkeshli 2023, Fig. 1), which are those of `PhaseAnalyzer.phase`.

    Args:
        summary: A table as `analysis.tables.summary_table` returns it.
        title: What the diagram is of.
        exact: An exact c_loss to draw on top: columns depth, width, c_loss.
        over: The vertical axis; by default the width, or the depth where there is one width and several depths.

    Raises:
        ValueError: If the summary is empty.
    """

    def __init__(
        self, summary: pd.DataFrame, title: str = "", exact: pd.DataFrame | None = None, over: Over | None = None
    ) -> None:
        if summary.empty:
            raise ValueError("A phase diagram needs at least one network whose constants are known. Received: none.")
        self._slices = _slices(summary, over)
        self._title = title
        self._exact = exact

    def boundaries(self) -> pd.DataFrame:
        """The fitted boundaries.

        Returns:
            A row per panel and constant: panel, constant, and the coefficients a0, a1, a2 of log2 c = a0 + a1 z + a2
            z^2 with z = log2 of the vertical coordinate (1/w, d or d/w).
        """
        rows = []
        for panel in self._slices:
            for name, fit in _fits(panel.rows).items():
                a = [*fit[::-1], 0.0, 0.0][:3]
                rows.append({"panel": panel.title, "constant": name, "a0": a[0], "a1": a[1], "a2": a[2]})
        return pd.DataFrame(rows, columns=["panel", "constant", "a0", "a1", "a2"])

    def draw(self) -> Figure:
        """Draw the diagram.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        return _draw_sheet(self._slices, self._title, self._exact)


class ComparisonSheet(Picture):
    """Phase diagrams of several experiments on one range of c, a panel for each.

    Args:
        summaries: Title and summary (as `analysis.tables.summary_table` returns it) of every experiment.
        over: The vertical axis of the panels; an experiment of which it needs several has as many panels.

    Raises:
        ValueError: If there is no experiment, or one without constants.
    """

    def __init__(self, summaries: Sequence[tuple[str, pd.DataFrame]], over: Over = Over.RATIO) -> None:
        if not summaries or any(summary.empty for _, summary in summaries):
            raise ValueError(
                "A comparison needs experiments whose constants are known. Received: none, or an empty one."
            )
        self._slices = []
        for title, summary in summaries:
            found = _slices(summary, over)
            self._slices += [
                panel._replace(title=title if len(found) == 1 else f"{title}, {panel.title}") for panel in found
            ]

    def draw(self) -> Figure:
        """Draw the sheet.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        return _draw_sheet(self._slices)


def _slices(table: pd.DataFrame, over: Over | None) -> list[_Slice]:
    depths, widths = sorted(table["depth"].unique()), sorted(table["width"].unique())
    if over is None:
        over = Over.DEPTH if len(widths) == 1 and len(depths) > 1 else Over.WIDTH
    if over is Over.RATIO:
        title = "all depths and widths" if len(depths) > 1 else f"depth {depths[0]}"
        return [_Slice(title, table.assign(position=table["depth"] / table["width"]), over)]
    if over is Over.DEPTH:
        panels = [(f"width {width}", table[table["width"] == width]) for width in widths]
        return [_Slice(title, rows.assign(position=rows["depth"].astype(float)), over) for title, rows in panels]
    panels = [(f"depth {depth}", table[table["depth"] == depth]) for depth in depths]
    return [_Slice(title, rows.assign(position=1.0 / rows["width"]), over) for title, rows in panels]


def _draw_sheet(slices: Sequence[_Slice], title: str = "", exact: pd.DataFrame | None = None) -> Figure:
    """All panels on one range of c, with one legend."""
    with house_style():
        columns = columns_for(len(slices), 3, _PANEL[0])
        rows = math.ceil(len(slices) / columns)
        figure = Figure(figsize=figure_size(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        limits = _limits(slices)
        for ax, panel in zip(axes.flat, slices, strict=False):
            _draw_panel(ax, panel, limits)
            if exact is not None and panel.over is Over.WIDTH:
                known = exact[exact["depth"].isin(panel.rows["depth"])].sort_values("width")
                ax.plot(known["c_loss"], 1 / known["width"], color="black", linestyle=":", linewidth=1.5, zorder=6)
        for ax in axes.flat[len(slices) :]:
            ax.remove()
        if title:
            figure.suptitle(title)
        shown = [name for name in MARKED if any(_known(panel.rows, name) for panel in slices)]
        fills, marks = _legend(shown, exact is not None)
        # Matplotlib fills column by column: pairs make the first row the phases and the second the lines.
        handles = [*fills, *marks] if is_narrow() else [h for pair in zip(fills, marks, strict=True) for h in pair]
        ncols = 2 if is_narrow() else len(fills)
        figure.legend(handles=handles, loc="outside lower center", ncols=ncols, columnspacing=1.4)
    return figure


def _limits(slices: Sequence[_Slice]) -> tuple[float, float]:
    """Range of c: whole octaves around all constants and c = 2."""
    table = pd.concat([panel.rows for panel in slices])
    values = table[table["constant"].isin(MARKED)][["mean", "q25", "q75"]].to_numpy().ravel()
    values = np.append(values[np.isfinite(values) & (values > 0)], 2.0)
    return 2.0 ** math.floor(np.log2(values.min()) - 0.5), 2.0 ** math.ceil(np.log2(values.max()) + 0.3)


def _legend(shown: Sequence[str], exact: bool) -> tuple[list[Any], list[Any]]:
    """As many entries for the phases as for the constants."""
    fills: list[Any] = [
        Patch(facecolor=color, edgecolor="#888888", linewidth=0.5, label=str(phase))
        for phase, color in PHASE_FILLS.items()
    ]
    marks = [
        Line2D(
            [],
            [],
            color=CONSTANT_COLORS[name],
            marker=CONSTANT_MARKERS[name],
            linestyle="-" if name in BOUNDARIES else "none",
            markersize=5,
            label=CONSTANT_LABELS[name],
        )
        for name in MARKED
        if name in BOUNDARIES or name in shown
    ]
    marks.append(Line2D([], [], color="black", linestyle="--", linewidth=1, label="$c = 2$"))
    if exact:
        marks[-1] = Line2D([], [], color="black", linestyle=":", linewidth=1.5, label=r"exact $c_{\mathrm{loss}}$")
    fills += [Line2D([], [], linestyle="none", label=" ") for _ in range(len(marks) - len(fills))]
    return fills, marks


def _known(rows: pd.DataFrame, name: str) -> bool:
    return bool((rows[rows["constant"] == name]["n"] > 0).any())


def _draw_panel(ax: Any, panel: _Slice, limits: tuple[float, float]) -> None:
    positions = np.sort(panel.rows["position"].unique())
    margin = 2.0 ** (0.5 if len(positions) == 1 else 0.15 * min(1.0, float(np.diff(np.log2(positions)).min())))
    heights = np.geomspace(positions[0] / margin, positions[-1] * margin, 200)
    _fill_phases(ax, heights, _edges(panel.rows, heights, limits), limits)
    for name, fit in _fits(panel.rows).items():
        curve = 2.0 ** np.polyval(fit, np.log2(heights))
        ax.plot(curve, heights, color=CONSTANT_COLORS[name], linewidth=1.3, zorder=2)
    for name in MARKED:
        _draw_constant(ax, panel.rows[panel.rows["constant"] == name], name)
    ax.axvline(2.0, color="black", linestyle="--", linewidth=1, zorder=3)
    log2_axis(ax.xaxis, octaves(*limits))
    ticks = list(positions) if panel.over is not Over.RATIO else octaves(heights[0], heights[-1])
    if len(ticks) < 2:
        ticks = list(positions)
    log2_axis(ax.yaxis, ticks, [_written(position) for position in ticks])
    ax.set_xlim(*limits)
    ax.set_ylim(heights[0], heights[-1])
    ax.set_xlabel(r"learning-rate constant $c = \eta\,\lambda_0$")
    ax.set_ylabel({Over.WIDTH: "1 / width", Over.DEPTH: "depth", Over.RATIO: "depth / width"}[panel.over])
    ax.set_title(panel.title)


def _written(position: float) -> str:
    """A vertical coordinate, below 1 as a fraction."""
    if position >= 1:
        return f"{position:g}"
    inverse = 1 / position
    return f"1/{inverse:.0f}" if inverse >= 100 else f"1/{inverse:.3g}"


def _draw_constant(ax: Any, rows: pd.DataFrame, name: str) -> None:
    color = CONSTANT_COLORS[name]
    for row in rows[rows["n"] > 0].itertuples():
        bar = {"linewidth": 2.2, "alpha": 0.75, "zorder": 4, "solid_capstyle": "butt"}
        ax.plot([row.q25, row.q75], [row.position] * 2, color=color, **bar)
        ax.plot(
            row.mean,
            row.position,
            marker=CONSTANT_MARKERS[name],
            markersize=6,
            color=color,
            markerfacecolor="white" if row.n_censored else color,
            markeredgecolor=color if row.n_censored else "white",
            markeredgewidth=1.0 if row.n_censored else 0.6,
            zorder=5,
            linestyle="none",
            clip_on=False,
        )


def _fits(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Polynomial of log2 c in log2 of the position, through networks for which it is mostly known."""
    fits = {}
    for name in BOUNDARIES:
        known = rows[(rows["constant"] == name) & (rows["n"] > 0) & (rows["n"] >= rows["n_censored"])]
        if len(known):
            degree = min(2, len(known) - 1) if len(known) > 3 else min(1, len(known) - 1)
            fits[name] = np.polyfit(np.log2(known["position"]), np.log2(known["mean"]), degree)
    return fits


def _edges(rows: pd.DataFrame, heights: np.ndarray, limits: tuple[float, float]) -> list[np.ndarray]:
    """Where each phase ends, as `analysis.phases.classify` decides: above c_max first, then c_sharp, then c_loss.

    Near a network for which a constant is mostly censored, it is at the side where it is.
    """
    positions = np.sort(rows["position"].unique())
    nearest = positions[np.argmin(np.abs(np.log2(heights)[:, None] - np.log2(positions)), axis=1)]
    fits = _fits(rows)
    edges = [np.full(len(heights), limits[1])]
    for name in reversed(BOUNDARIES):
        edge = 2.0 ** np.polyval(fits[name], np.log2(heights)) if name in fits else edges[0]
        counts = rows[rows["constant"] == name].groupby("position")[["n", "n_low", "n_high"]].sum()
        for position, known, low, high in zip(counts.index, *counts.to_numpy().T, strict=True):
            if known < low + high:
                edge = np.where(nearest == position, limits[0] if low > high else limits[1], edge)
        edges.insert(0, np.clip(np.minimum(edge, edges[0]), *limits))
    return [np.full(len(heights), limits[0]), *edges]


def _fill_phases(ax: Any, heights: np.ndarray, edges: list[np.ndarray], limits: tuple[float, float]) -> None:
    for phase, left, right in zip(Phase, edges, edges[1:], strict=False):
        ax.fill_betweenx(heights, left, right, color=PHASE_FILLS[phase], linewidth=0, zorder=1)

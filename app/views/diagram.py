"""The phase diagram: the phases of early training over c and the network's shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sharpness_phases.analysis.phases import BOUNDARIES, Phase
from sharpness_phases.views.panels import (
    MARKED,
    Over,
    Panel,
    Range,
    common_range,
    curve_of,
    fitted_boundaries,
    heights_of,
    known_rows,
    known_somewhere,
    panels_of,
    phase_edges,
)
from sharpness_phases.views.style import (
    CONSTANT_COLORS,
    CONSTANT_LABELS,
    CONSTANT_MARKERS,
    PHASE_FILLS,
    Picture,
    columns_for,
    edge_label,
    figure_size,
    house_style,
    is_narrow,
    log2_axis,
    octaves,
)

__all__ = ["ComparisonSheet", "Over", "PhaseDiagram"]

_PANEL_WIDTH, _PANEL_HEIGHT = 4.6, 3.6  # inches, on a screen
_MOST_COLUMNS = 3  # 14 inches: about what a screen shows
_AXIS_LABELS = {Over.WIDTH: "1 / width", Over.DEPTH: "depth", Over.RATIO: "depth / width"}


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
        edge: The c at the optimizer's stability edge, to draw a dashed line at.

    Raises:
        ValueError: If the summary is empty.
    """

    def __init__(
        self,
        summary: pd.DataFrame,
        title: str = "",
        exact: pd.DataFrame | None = None,
        over: Over | None = None,
        edge: float = 2.0,
    ) -> None:
        if summary.empty:
            raise ValueError("A phase diagram needs at least one network whose constants are known. Received: none.")
        self._panels = [panel._replace(edge=edge) for panel in panels_of(summary, over)]
        self._title = title
        self._exact = exact

    def boundaries(self) -> pd.DataFrame:
        """The fitted boundaries.

        Returns:
            A row per panel and constant: panel, constant, and the coefficients a0, a1, a2 of log2 c = a0 + a1 z + a2
            z^2 with z = log2 of the vertical coordinate (1/w, d or d/w).
        """
        rows = []
        for panel in self._panels:
            for name, fit in fitted_boundaries(panel).items():
                a = [*fit[::-1], 0.0, 0.0][:3]
                rows.append({"panel": panel.title, "constant": name, "a0": a[0], "a1": a[1], "a2": a[2]})
        return pd.DataFrame(rows, columns=["panel", "constant", "a0", "a1", "a2"])

    def draw(self) -> Figure:
        """Draw the diagram.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        return _draw_sheet(self._panels, self._title, self._exact)


class ComparisonSheet(Picture):
    """Phase diagrams of several experiments on one range of c, a panel for each.

    Args:
        summaries: Title and summary (as `analysis.tables.summary_table` returns it) of every experiment.
        over: The vertical axis of the panels; an experiment of which it needs several has as many panels.
        edges: The c at the stability edge of every experiment; 2 for all if None.

    Raises:
        ValueError: If there is no experiment, or one without constants.
    """

    def __init__(
        self,
        summaries: Sequence[tuple[str, pd.DataFrame]],
        over: Over = Over.RATIO,
        edges: Sequence[float] | None = None,
    ) -> None:
        if not summaries or any(summary.empty for _, summary in summaries):
            raise ValueError(
                "A comparison needs experiments whose constants are known. Received: none, or an empty one."
            )
        self._panels: list[Panel] = []
        for (title, summary), edge in zip(summaries, edges or [2.0] * len(summaries), strict=True):
            found = panels_of(summary, over)
            self._panels += [
                panel._replace(title=title if len(found) == 1 else f"{title}, {panel.title}", edge=edge)
                for panel in found
            ]

    def draw(self) -> Figure:
        """Draw the sheet.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        return _draw_sheet(self._panels)


def _draw_sheet(panels: Sequence[Panel], title: str = "", exact: pd.DataFrame | None = None) -> Figure:
    """All panels on one range of c, with one legend."""
    with house_style():
        figure, axes = _empty_sheet(len(panels))
        shown = common_range(panels)
        for ax, panel in zip(axes, panels, strict=True):
            _draw_panel(ax, panel, shown)
            if exact is not None and panel.over is Over.WIDTH:
                _draw_exact(ax, panel, exact)
        if title:
            figure.suptitle(title)
        _add_legend(figure, panels, exact is not None)
    return figure


def _empty_sheet(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with the axes of so many panels, row by row."""
    columns = columns_for(count, _MOST_COLUMNS, _PANEL_WIDTH)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=figure_size(_PANEL_WIDTH * columns, _PANEL_HEIGHT * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def _draw_panel(ax: Axes, panel: Panel, shown: Range) -> None:
    heights = heights_of(panel)
    for phase, (left, right) in zip(Phase, pairwise(phase_edges(panel, heights, shown)), strict=True):
        ax.fill_betweenx(heights, left, right, color=PHASE_FILLS[phase], linewidth=0, zorder=1)
    for name, fit in fitted_boundaries(panel).items():
        ax.plot(curve_of(fit, heights), heights, color=CONSTANT_COLORS[name], linewidth=1.3, zorder=2)
    for name in MARKED:
        _draw_constant(ax, panel, name)
    ax.axvline(panel.edge, color="black", linestyle="--", linewidth=1, zorder=3)
    _set_axes(ax, panel, heights, shown)
    ax.set_title(panel.title)


def _draw_constant(ax: Axes, panel: Panel, name: str) -> None:
    """Markers at the means, with bars from quartile to quartile; hollow where an initialisation is censored."""
    color = CONSTANT_COLORS[name]
    for row in known_rows(panel.rows, name):
        ax.plot(
            [row.q25, row.q75],
            [row.position] * 2,
            color=color,
            linewidth=2.2,
            alpha=0.75,
            zorder=4,
            solid_capstyle="butt",
        )
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


def _draw_exact(ax: Axes, panel: Panel, exact: pd.DataFrame) -> None:
    """The exact c_loss over 1/w."""
    known = exact[exact["depth"].isin(panel.rows["depth"])].sort_values("width")
    ax.plot(known["c_loss"], 1 / known["width"], color="black", linestyle=":", linewidth=1.5, zorder=6)


def _set_axes(ax: Axes, panel: Panel, heights: np.ndarray, shown: Range) -> None:
    """Scales, ticks, limits and labels of the axes."""
    log2_axis(ax.xaxis, octaves(*shown))
    ticks = _vertical_ticks(panel, heights)
    log2_axis(ax.yaxis, ticks, [_written(tick) for tick in ticks])
    ax.set_xlim(*shown)
    ax.set_ylim(heights[0], heights[-1])
    ax.set_xlabel(r"learning-rate constant $c = \eta\,\lambda_0$")
    ax.set_ylabel(_AXIS_LABELS[panel.over])


def _vertical_ticks(panel: Panel, heights: np.ndarray) -> list[float]:
    """At every network; over d/w, where networks crowd, at powers of 2, if at least two of them are in the panel."""
    if panel.over is Over.RATIO:
        ticks = octaves(heights[0], heights[-1])
        if len(ticks) >= 2:
            return ticks
    return list(panel.positions)


def _written(position: float) -> str:
    """A vertical coordinate, below 1 as a fraction."""
    if position >= 1:
        return f"{position:g}"
    inverse = 1 / position
    return f"1/{inverse:.0f}" if inverse >= 100 else f"1/{inverse:.3g}"


def _add_legend(figure: Figure, panels: Sequence[Panel], exact: bool) -> None:
    """The phases and the constants: in one column each where it is narrow, else in one row each."""
    phases = _phase_entries()
    constants = _constant_entries(
        [name for name in MARKED if name in BOUNDARIES or known_somewhere(panels, name)],
        exact,
        {panel.edge for panel in panels},
    )
    blanks: list[Artist] = [Line2D([], [], linestyle="none", label=" ") for _ in range(len(constants) - len(phases))]
    phases += blanks
    # Matplotlib fills column by column: pairs make the first row the phases and the second the constants.
    handles = [*phases, *constants] if is_narrow() else list(chain(*zip(phases, constants, strict=True)))
    ncols = 2 if is_narrow() else len(phases)
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, columnspacing=1.4)


def _phase_entries() -> list[Artist]:
    return [
        Patch(facecolor=color, edgecolor="#888888", linewidth=0.5, label=str(phase))
        for phase, color in PHASE_FILLS.items()
    ]


def _constant_entries(names: Sequence[str], exact: bool, edges: set[float]) -> list[Artist]:
    """An entry for each constant, and one for the line that they are held against: the exact c_loss, or the edge."""
    entries = [
        Line2D(
            [],
            [],
            color=CONSTANT_COLORS[name],
            marker=CONSTANT_MARKERS[name],
            linestyle="-" if name in BOUNDARIES else "none",
            markersize=5,
            label=CONSTANT_LABELS[name],
        )
        for name in names
    ]
    if exact:
        line = Line2D([], [], color="black", linestyle=":", linewidth=1.5, label=r"exact $c_{\mathrm{loss}}$")
    else:
        line = Line2D([], [], color="black", linestyle="--", linewidth=1, label=edge_label(edges))
    return [*entries, line]

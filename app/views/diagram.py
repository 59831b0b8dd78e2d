"""The phase diagram: the phases of early training over c and the network's shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.views.areas import phase_areas
from sharpness_phases.views.fits import fitted_boundaries, fitted_lines
from sharpness_phases.views.markers import SIZE, draw_constant, sizes_by_depth
from sharpness_phases.views.panels import (
    MARKED,
    Over,
    Panel,
    Range,
    common_range,
    ends_of,
    measured_rows,
    measured_somewhere,
    panels_along,
    panels_of,
)
from sharpness_phases.views.style import (
    CONSTANT_COLORS,
    CONSTANT_LABELS,
    CONSTANT_MARKERS,
    PHASE_FILLS,
    Picture,
    c_label,
    columns_for,
    edge_label,
    entitle,
    figure_size,
    house_style,
    is_narrow,
    log2_axis,
    octaves,
)

__all__ = ["ComparisonSheet", "Over", "PhaseDiagram"]

_PANEL_WIDTH, _PANEL_HEIGHT = 4.6, 3.6  # inches, on a screen
_MOST_COLUMNS = 3  # 14 inches: about what a screen shows
_LEAST = 1.2  # inches in print at which a panel still is read; chosen by eye
_AXIS, _TALLEST_AXIS, _TICK = 1.5, 3.7, 0.155
"""Inches on a screen: of a vertical axis in a panel of `_PANEL_HEIGHT`, of the tallest where networks crowd, and from
one tick's label to the next. Measured on pictures of one panel, whose legend leaves least."""
_CROWDED = 1 / 6
"""Share of the axis below which the distance of two ticks is looked at: seven labels fit into the lowest panels."""
_LINE = 1.05
"""Least distance of two labels, in sizes of their font: digits are lower than a line."""


class _LineStyle(TypedDict):
    """How a line is drawn."""

    linewidth: float
    linestyle: str
    zorder: float


_FIT_LINE = _LineStyle(linewidth=0.8, linestyle="-", zorder=2)
_AXIS_LABELS = {Over.WIDTH: "1 / width", Over.DEPTH: "depth", Over.RATIO: "depth / width"}


class PhaseDiagram(Picture):
    """Phase diagram in the plane of c and 1/w at fixed depth, of c and d at fixed width, or of c and d/w.

    Markers are the boundaries of the networks, the medians over initialisations of log2 c, with bars from the lower to
    the upper quartile; a boundary that is censored itself is a hollow marker at that end of the range of c, with an
    arrow. The filled phases pass through every marker, and their edges are straight between networks: at the height of
    every network they are those of `PhaseAnalyzer.phase` (Kalra & Barkeshli 2023, Fig. 1). Over d/w, where several
    networks share a position, they pass through the median of their boundaries. Thin lines are smooth fits, quadratic
    at most in the logarithm of the vertical coordinate, which decide no phase.

    Args:
        summary: A table as `analysis.tables.summary_table` returns it.
        title: What the diagram is of.
        exact: An exact c_loss to draw on top: columns depth, width, c_loss.
        over: The vertical axis; by default the width, or the depth where there is one width and several depths.
        edge: The c at the optimizer's stability edge, to draw a dashed line at; NaN for none.
        c_in_words: What c is (`sharpness_phases.runs.axis.Axis`).
        along: Column of the summary that is the vertical axis, of an experiment over `sweep.over`; "" for none.

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
        c_in_words: str = "ηλ₀",
        along: str = "",
    ) -> None:
        if summary.empty:
            raise ValueError("A phase diagram needs at least one network whose constants are known. Received: none.")
        panels = panels_along(summary, along) if along else panels_of(summary, over)
        self._panels = [panel._replace(edge=edge, c_in_words=c_in_words) for panel in panels]
        self._title = title
        self._exact = exact

    @property
    def panels(self) -> list[Panel]:
        """Its panels, in the order in which they are drawn; the k-th has the frame `frame_name(k)` in an SVG file."""
        return list(self._panels)

    def boundaries(self) -> pd.DataFrame:
        """The smooth fits through the networks whose boundary is known.

        Returns:
            A row per panel and constant: panel, constant, and the coefficients a0, a1, a2 of log2 c = a0 + a1 z + a2
            z^2 with z = log2 of the vertical coordinate (1/w, d or d/w).
        """
        rows = []
        for panel in self._panels:
            for name, fit in fitted_boundaries(panel).items():
                a = [*fit.convert().coef, 0.0, 0.0][:3]
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
        c_in_words: What c is in every experiment; c = eta lambda_0 for all if None.

    Raises:
        ValueError: If there is no experiment, or one without constants.
    """

    def __init__(
        self,
        summaries: Sequence[tuple[str, pd.DataFrame]],
        over: Over = Over.RATIO,
        edges: Sequence[float] | None = None,
        c_in_words: Sequence[str] | None = None,
    ) -> None:
        if not summaries or any(summary.empty for _, summary in summaries):
            raise ValueError(
                "A comparison needs experiments whose constants are known. Received: none, or an empty one."
            )
        self._panels: list[Panel] = []
        count = len(summaries)
        axes = zip(summaries, edges or [2.0] * count, c_in_words or ["ηλ₀"] * count, strict=True)
        for (title, summary), edge, words in axes:
            found = [panel._replace(edge=edge, c_in_words=words) for panel in panels_of(summary, over)]
            self._panels += [
                panel._replace(title=title if len(found) == 1 else f"{title}, {panel.title}") for panel in found
            ]

    def draw(self) -> Figure:
        """Draw the sheet.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        return _draw_sheet(self._panels)


def frame_name(panel: int) -> str:
    """What the frame of a panel is called in an SVG file, by the panel's number from 0 on."""
    return f"frame_of_panel_{panel}"


def _draw_sheet(panels: Sequence[Panel], title: str = "", exact: pd.DataFrame | None = None) -> Figure:
    """All panels on one range of c, with one legend."""
    with house_style():
        figure, axes = _empty_sheet(panels)
        shown, sizes = common_range(panels), _sizes(panels)
        for number, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
            _draw_panel(ax, panel, shown, sizes)
            ax.patch.set_gid(frame_name(number))
            if exact is not None and panel.over is Over.WIDTH:
                _draw_exact(ax, panel, exact)
        entitle(figure, title)
        _add_legend(figure, panels, exact is not None)
        if any(_are_crowded(panel) for panel in panels):
            figure.draw_without_rendering()  # how high axes are is known then
            for ax, panel in zip(axes, panels, strict=True):
                _thin_labels(ax, panel, ax.get_position().height * figure.get_figheight())
    return figure


def _empty_sheet(panels: Sequence[Panel]) -> tuple[Figure, list[Axes]]:
    """A figure with the axes of these panels, row by row, taller where networks crowd."""
    count = len(panels)
    columns = columns_for(count, _MOST_COLUMNS, _PANEL_WIDTH, _LEAST)
    rows = math.ceil(count / columns)
    height = _PANEL_HEIGHT + max(_height_of_axis(panel) for panel in panels) - _AXIS
    figure = Figure(figsize=figure_size(_PANEL_WIDTH * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def _draw_panel(ax: Axes, panel: Panel, shown: Range, sizes: Mapping[int, float]) -> None:
    for area in phase_areas(panel, shown):
        ax.fill_betweenx(area.heights, area.left, area.right, color=PHASE_FILLS[area.phase], linewidth=0, zorder=1)
    for name, lines in fitted_lines(panel).items():
        for line in lines:
            ax.plot(line.c, line.heights, color=CONSTANT_COLORS[name], **_FIT_LINE)
    _set_axes(ax, panel, shown)
    for name in MARKED:
        # The largest lie below: of networks at one place all are seen.
        for row in sorted(measured_rows(panel.rows, name), key=lambda row: -row.depth):
            bar = (row.boundary_q25, row.boundary_q75)
            draw_constant(ax, name, row.boundary, bar, row.position, shown, sizes.get(row.depth, SIZE))
    ax.axvline(panel.edge, color="black", linestyle="--", linewidth=1, zorder=3)
    ax.set_title(panel.title)


def _draw_exact(ax: Axes, panel: Panel, exact: pd.DataFrame) -> None:
    """The exact c_loss over 1/w."""
    known = exact[exact["depth"].isin(panel.rows["depth"])].sort_values("width")
    ax.plot(known["c_loss"], 1 / known["width"], color="black", linestyle=":", linewidth=1.5, zorder=6)


def _set_axes(ax: Axes, panel: Panel, shown: Range) -> None:
    """Scales, ticks, limits and labels of the axes."""
    log2_axis(ax.xaxis, octaves(*shown))
    log2_axis(ax.yaxis, panel.positions.tolist(), _tick_labels(panel))
    ax.set_xlim(*shown)
    ax.set_ylim(*ends_of(panel))
    grid = ax.get_gridspec()
    side_by_side = is_narrow() and grid is not None and grid.ncols > 1
    ax.set_xlabel(c_label(panel.c_in_words) if side_by_side else f"learning-rate constant {c_label(panel.c_in_words)}")
    ax.set_ylabel(panel.key or _AXIS_LABELS[panel.over])


def _sizes(panels: Sequence[Panel]) -> dict[int, float]:
    """The sizes of markers by the depths that they tell apart: those of panels over d/w; of others none."""
    return sizes_by_depth({depth for panel in panels if panel.over is Over.RATIO for depth in panel.rows["depth"]})


def _height_of_axis(panel: Panel) -> float:
    """The inches on a screen at which every network's tick has room for its label, up to `_TALLEST_AXIS`."""
    places = np.log2([ends_of(panel)[0], *panel.positions, ends_of(panel)[1]])
    closest = float(np.diff(places[1:-1]).min(initial=np.inf))
    return float(np.clip(_TICK * (places[-1] - places[0]) / closest, _AXIS, _TALLEST_AXIS))


def _are_crowded(panel: Panel) -> bool:
    """Whether two networks may be too near for two labels, in a panel of usual height."""
    places = np.log2(panel.positions)
    return len(places) > 2 and float(np.diff(places).min()) < _CROWDED * (places[-1] - places[0])


def _thin_labels(ax: Axes, panel: Panel, inches: float) -> None:
    """Leave out the labels that would overlap the one below, on an axis of some inches; their ticks stay."""
    low, high = np.log2(ends_of(panel))
    places = (np.log2(panel.positions) - low) / (high - low) * inches * 72  # points, as sizes of fonts
    least = _LINE * float(ax.yaxis.get_major_ticks()[0].label1.get_fontsize())
    labels, last = [], -math.inf
    for label, place in zip(_tick_labels(panel), places.tolist(), strict=True):
        fits = place - last >= least
        labels.append(label if fits else "")
        last = place if fits else last
    log2_axis(ax.yaxis, panel.positions.tolist(), labels)


def _tick_labels(panel: Panel) -> list[str]:
    """Labels of the ticks at the networks, from the lowest on."""
    if panel.values:
        return [f"{value:g}" for value in panel.values]
    return [_written(position) for position in panel.positions.tolist()]


def _written(position: float) -> str:
    """A vertical coordinate, below 1 as a fraction."""
    if position >= 1:
        return f"{position:g}"
    inverse = 1 / position
    return f"1/{inverse:.0f}" if inverse >= 100 else f"1/{inverse:.3g}"


def _add_legend(figure: Figure, panels: Sequence[Panel], exact: bool) -> None:
    """The phases, the constants, and what else is drawn: each a row, or a column where one panel is as wide."""
    constants = _constant_entries(
        [name for name in MARKED if name in BOUNDARIES or measured_somewhere(panels, name)],
        exact,
        {panel.edge for panel in panels},
    )
    phases, others, depths = _phase_entries(), _other_entries(panels), _depth_entries(_sizes(panels))
    rows = [phases, constants, [*others, *depths]]
    if is_narrow() or len(panels) == 1:
        columns = [[*phases, *depths], [*constants, *others]] if is_narrow() else rows
        longest = max(map(len, columns))
        handles = list(chain(*(_padded(column, longest) for column in columns)))
        ncols = len(columns)
    else:
        # Matplotlib fills column by column: triples make the rows the phases, the constants and the rest.
        ncols = max(map(len, rows))
        handles = list(chain(*zip(*(_padded(row, ncols) for row in rows), strict=True)))
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, columnspacing=1.4)


def _padded(entries: list[Artist], length: int) -> list[Artist]:
    """Entries, and behind them empty ones."""
    return entries + [Line2D([], [], linestyle="none", label=" ") for _ in range(length - len(entries))]


def _phase_entries() -> list[Artist]:
    return [
        Patch(facecolor=color, edgecolor="#888888", linewidth=0.5, label=str(phase))
        for phase, color in PHASE_FILLS.items()
    ]


def _constant_entries(names: Sequence[str], exact: bool, edges: set[float]) -> list[Artist]:
    """An entry for each constant, and one for the line that they are held against: the exact c_loss, or the edge."""
    entries: list[Artist] = [
        Line2D(
            [],
            [],
            color=CONSTANT_COLORS[name],
            marker=CONSTANT_MARKERS[name],
            linestyle="none",
            markersize=5,
            label=CONSTANT_LABELS[name],
        )
        for name in names
    ]
    if exact:
        line = Line2D([], [], color="black", linestyle=":", linewidth=1.5, label=r"exact $c_{\mathrm{loss}}$")
    else:
        line = Line2D([], [], color="black", linestyle="--", linewidth=1, label=edge_label(edges))
    return [*entries, line] if line.get_label() else entries


def _other_entries(panels: Sequence[Panel]) -> list[Artist]:
    """The bars, the hollow markers, and the fits where there are any."""
    entries: list[Artist] = [
        Line2D([], [], color="black", linewidth=2.2, alpha=0.75, label="quartiles"),
        Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="none", label="censored"),
    ]
    if any(fitted_lines(panel) for panel in panels):
        entries.append(Line2D([], [], color="black", label="smooth fit", **_FIT_LINE))
    return entries


def _depth_entries(sizes: Mapping[int, float]) -> list[Artist]:
    """The depths that sizes of markers tell apart, if they do."""
    return [
        Line2D([], [], color="#666666", marker="o", linestyle="none", markersize=size, label=f"depth {depth}")
        for depth, size in sizes.items()
        if len(sizes) > 1
    ]

"""Intermediate saturation in pictures: the curves that give c_crit, and the diagram over c and the networks' shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sharpness_phases.analysis.saturation import MIN_POINTS, by_initialisation, saturation_curves
from sharpness_phases.views.by_network import networks
from sharpness_phases.views.cells import cell_edges
from sharpness_phases.views.markers import draw_constant
from sharpness_phases.views.panels import Range
from sharpness_phases.views.style import (
    CONSTANT_COLORS,
    CONSTANT_LABELS,
    CONSTANT_MARKERS,
    Picture,
    c_label,
    columns_for,
    entitle,
    figure_size,
    house_style,
    is_narrow,
    log2_axis,
    octaves,
)

_COLORS = "cividis"
_CURVES_WIDTH, _CURVES_HEIGHT = 2.7, 5.2  # inches on a screen, of the three panels of a network
_MOST_COLUMNS = 4  # 11 inches: about what a screen shows
_DIAGRAM_SIZE = 3.6  # inches on a screen, of a panel of the diagram, either way
_CURVES_LEAST, _DIAGRAM_LEAST = 2.4, 1.2  # inches in print at which they still are read; chosen by eye
_ROOM_ABOVE = 1.5  # the panel of lambda_tau / lambda_0 ends there above the highest average: with cross-entropy, single
# initialisations far beyond the edge lie hundreds of times above it
_CURVES = (
    ("ratio", r"$\lambda_\tau\,/\,\lambda_0$"),
    ("chi", r"$\chi = -\mathrm{d}(\lambda_\tau/\lambda_0)/\mathrm{d}c$"),
    ("chi_prime", r"$\chi' = \mathrm{d}\chi/\mathrm{d}c$"),
)


class _Critical(Protocol):
    """A row of `analysis.saturation.critical_table`."""

    depth: int
    width: int
    c_crit: float
    interval95_low: float
    interval95_high: float
    censored: str


class SaturationFigure(Picture):
    """lambda_tau / lambda_0, the susceptibility chi and its slope chi' over c: three panels for every (depth, width).

    Dots are initialisations, triangles at the upper end those beyond it, lines the smoothed averages; c_crit is marked
    with its 95% interval.

    Args:
        saturated: A table as `analysis.saturation.saturated_sharpness` returns it.
        critical: A table as `analysis.saturation.critical_table` returns it.
        title: What the figure is of.
        edge: The c at the optimizer's stability edge, to draw a dashed line at; NaN for none.
        c_in_words: What c is (`sharpness_phases.runs.axis.Axis`).

    Raises:
        ValueError: If no network has enough c for a curve.
    """

    def __init__(
        self,
        saturated: pd.DataFrame,
        critical: pd.DataFrame,
        title: str = "",
        edge: float = 2.0,
        c_in_words: str = "ηλ₀",
    ) -> None:
        if critical.empty:
            raise ValueError(f"A saturation curve needs at least {MIN_POINTS} different c. Received: fewer.")
        self._saturated = saturated
        self._critical = critical
        self._title = title
        self._edge, self._c_label = edge, c_label(c_in_words)

    def draw(self) -> Figure:
        """Draw the figure.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        networks = cast(list[_Critical], list(self._critical.itertuples()))
        with house_style():
            columns = columns_for(
                int(self._critical.groupby("depth").size().max()), _MOST_COLUMNS, _CURVES_WIDTH, _CURVES_LEAST
            )
            figure, cells = _empty_sheet(len(networks), columns)
            for cell, network in zip(cells, networks, strict=True):
                self._draw_network(cell, network)
            for curves in zip(*cells, strict=True):
                _share_limits(curves)
            for cell, network in zip(cells, networks, strict=True):
                self._draw_what_lies_beyond(cell[0], network)
            for cell in cells[::columns]:
                _label_curves(cell)
            entitle(figure, self._title)
        return figure

    def _draw_network(self, axes: Sequence[Axes], network: _Critical) -> None:
        rows = self._rows_of(network)
        curves = saturation_curves(*by_initialisation(rows))
        axes[0].plot(rows["c"], rows["ratio"], linestyle="none", marker=".", markersize=3, color="#999999")
        for ax, (name, _) in zip(axes, _CURVES, strict=True):
            ax.plot(curves.c, getattr(curves, name), color="black", linewidth=1.3)
            ax.axvline(self._edge, color="black", linestyle="--", linewidth=0.8)
            _mark_c_crit(ax, network)
        for ax in axes[1:]:
            ax.axhline(0.0, color="black", linewidth=0.6)
        axes[0].set_ylim(0, min(axes[0].get_ylim()[1], _ROOM_ABOVE * float(np.max(curves.ratio))))
        axes[0].set_title(f"depth {network.depth}, width {network.width}")
        if not network.censored:
            axes[2].set_title(
                _c_crit_text(network), fontsize=matplotlib.rcParams["legend.fontsize"], color=CONSTANT_COLORS["c_crit"]
            )
        axes[2].set_xlabel(self._c_label)
        axes[2].tick_params(labelbottom=True)
        log2_axis(axes[2].xaxis, octaves(curves.c[0], curves.c[-1]))

    def _draw_what_lies_beyond(self, ax: Axes, network: _Critical) -> None:
        rows, top = self._rows_of(network), ax.get_ylim()[1]
        beyond = rows["c"][rows["ratio"] > top]
        triangles = ax.plot(beyond, np.full(len(beyond), top), "^", markersize=3, color="#999999", clip_on=False)
        triangles[0].set_in_layout(False)  # where what is not clipped takes part, and breaks it if there is none

    def _rows_of(self, network: _Critical) -> pd.DataFrame:
        rows = self._saturated
        return rows[(rows["depth"] == network.depth) & (rows["width"] == network.width)]


def _empty_sheet(count: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    """A figure with three panels, one above the other, for each of so many networks, row by row."""
    blocks = -(-count // columns)
    size = figure_size(0.8 + _CURVES_WIDTH * columns, 0.4 + _CURVES_HEIGHT * blocks)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(3 * blocks, columns, squeeze=False, sharex=True)
    cells = [list(axes[3 * (i // columns) :, i % columns][:3]) for i in range(blocks * columns)]
    for cell in cells[count:]:
        for ax in cell:
            ax.remove()
    return figure, cells[:count]


def _share_limits(axes: Sequence[Axes]) -> None:
    """Give panels of one quantity the vertical range that holds what all of them show."""
    limits = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _label_curves(cell: Sequence[Axes]) -> None:
    """Name the quantities; where it is narrow, without their definition."""
    for ax, (_, label) in zip(cell, _CURVES, strict=True):
        ax.set_ylabel(f"{label.partition(' =')[0]}$" if is_narrow() and "=" in label else label)


def _c_crit_text(network: _Critical) -> str:
    """c_crit with its interval; one initialisation has none."""
    interval = "no interval"
    if np.isfinite(network.interval95_low):
        ends = f"{network.interval95_low:.2f}-{network.interval95_high:.2f}"
        interval = ends if is_narrow() else f"95%: {ends}"  # in a column of a paper, the caption says what it is
    return f"{CONSTANT_LABELS['c_crit']} = {network.c_crit:.2f} ({interval})"


def _mark_c_crit(ax: Axes, network: _Critical) -> None:
    if network.censored:
        return
    color = CONSTANT_COLORS["c_crit"]
    if np.isfinite(network.interval95_low):
        ax.axvspan(network.interval95_low, network.interval95_high, color=color, alpha=0.2, linewidth=0)
    ax.axvline(network.c_crit, color=color, linewidth=1.1)


class SaturationDiagram(Picture):
    """The saturated sharpness in the plane of c and 1/w, a panel for every depth, with c_crit and c_max.

    Args:
        saturated: A table as `analysis.saturation.saturated_sharpness` returns it.
        summary: A table as `analysis.tables.summary_table` returns it.
        title: What the diagram is of.
        edge: The c at the optimizer's stability edge, to draw a dashed line at; NaN for none.
        c_in_words: What c is (`sharpness_phases.runs.axis.Axis`).

    Raises:
        ValueError: If there is no saturated sharpness.
    """

    def __init__(
        self,
        saturated: pd.DataFrame,
        summary: pd.DataFrame,
        title: str = "",
        edge: float = 2.0,
        c_in_words: str = "ηλ₀",
    ) -> None:
        if saturated.empty:
            raise ValueError("A saturation diagram needs a saturated sharpness. Received: none.")
        self._saturated = saturated
        self._summary = summary
        self._title = title
        self._edge, self._c_label = edge, c_label(c_in_words)

    def draw(self) -> Figure:
        """Draw the diagram.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        depths = sorted(self._saturated["depth"].unique())
        highest = self._saturated.groupby(["depth", "width", "c"])["ratio"].mean().max()
        norm = Normalize(0.0, float(highest))
        with house_style():
            columns = columns_for(len(depths), len(depths), _DIAGRAM_SIZE, _DIAGRAM_LEAST)
            rows = -(-len(depths) // columns)
            size = figure_size(1.0 + _DIAGRAM_SIZE * columns, _DIAGRAM_SIZE * rows)
            figure = Figure(figsize=size, layout="constrained")
            axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
            for ax in axes[len(depths) :]:
                ax.remove()
            del axes[len(depths) :]
            for ax, depth in zip(axes, depths, strict=True):
                self._draw_depth(ax, depth, norm)
            for ax in axes[::columns]:
                ax.set_ylabel("1 / width")
            figure.colorbar(ScalarMappable(norm, _COLORS), ax=axes, label=_CURVES[0][1])
            figure.legend(handles=_marker_entries(), loc="outside lower center", ncols=3)
            entitle(figure, self._title)
        return figure

    def _draw_depth(self, ax: Axes, depth: int, norm: Normalize) -> None:
        """The networks of one depth, a row each, the widest lowest; all panels have the rows and c of all networks."""
        c = np.sort(self._saturated["c"].unique())
        widths = sorted(self._saturated["width"].unique(), reverse=True)
        means = self._saturated.groupby(["depth", "width", "c"])["ratio"].mean()
        for row, width in enumerate(widths):
            values = means.loc[depth, width] if (depth, width) in means.index else means.iloc[:0]
            _draw_row(ax, row, values, norm)
            self._draw_constants(ax, row, depth, width)
        ax.axvline(self._edge, color="black", linestyle="--", linewidth=1)
        log2_axis(ax.xaxis, octaves(c[0], c[-1]))
        ax.set_xlim(*self._range)
        ax.set_yticks(range(len(widths)), [f"1/{width}" for width in widths])
        ax.set_ylim(-0.5, len(widths) - 0.5)
        ax.set_title(f"depth {depth}")
        ax.set_xlabel(f"learning-rate constant {self._c_label}")

    @property
    def _range(self) -> Range:
        """The range of c: all that was measured, with a little room."""
        return Range(self._saturated["c"].min() * 0.93, self._saturated["c"].max() * 1.07)

    def _draw_constants(self, ax: Axes, row: int, depth: int, width: int) -> None:
        table = self._summary
        for network in networks(table[(table["depth"] == depth) & (table["width"] == width)]):
            for name in ("c_crit", "c_max"):
                constant = network.constants[name]
                if not np.isnan(constant.boundary):
                    draw_constant(ax, name, constant.boundary, constant.bar, row, self._range)


def _draw_row(ax: Axes, row: int, values: pd.Series, norm: Normalize) -> None:
    """One network as a band of coloured cells; white where its runs diverged."""
    if values.empty:
        return
    edges = cell_edges(values.index.to_numpy(np.float64))
    mesh = ax.pcolormesh(edges, [row - 0.5, row + 0.5], values.to_numpy()[None], cmap=_COLORS, norm=norm)
    mesh.set_rasterized(True)


def _marker_entries() -> list[Artist]:
    """What markers and bars are: those of c_crit and c_max have different bars."""
    meanings = {"c_crit": "95% interval", "c_max": "quartiles"}
    return [
        Line2D(
            [],
            [],
            color=CONSTANT_COLORS[name],
            marker=CONSTANT_MARKERS[name],
            markeredgecolor="white",
            linewidth=2.2,
            label=f"{CONSTANT_LABELS[name]}, {meaning}",
        )
        for name, meaning in meanings.items()
    ]

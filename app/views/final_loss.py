"""The map of the final loss over c and one more axis of the config, such as the length of a warm-up."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sharpness_phases.analysis.final_loss import best_rates, median_losses
from sharpness_phases.analysis.phases import Phase
from sharpness_phases.views.cells import cell_edges
from sharpness_phases.views.style import (
    PHASE_FILLS,
    Picture,
    c_label,
    columns_for,
    edge_label,
    entitle,
    figure_size,
    house_style,
    log2_axis,
    octaves,
)


class _DotStyle(TypedDict):
    """How the best c is marked."""

    linestyle: str
    marker: str
    markersize: float
    color: str
    markeredgecolor: str


_COLORS = "viridis"  # whose middle is no grey, which is for divergence
_DIVERGED = PHASE_FILLS[Phase.DIVERGENT]
_PANEL_WIDTH, _PANEL_HEIGHT = 3.8, 3.0  # inches on a screen
_PANEL_LEAST = 1.2  # inches in print at which a panel still is read; chosen by eye, as for the phase diagram
_MOST_COLUMNS = 3
_DOT = _DotStyle(linestyle="none", marker="o", markersize=5, color="white", markeredgecolor="black")
_LEAST_SPAN = 1.5
"""Factor between the ends of the colours at least, so that losses that are all the same are not told apart by noise."""


class FinalLossMap(Picture):
    """L_T / L_0 in the plane of c and a value of the config, a panel for every network; grey where runs diverge.

    A cell is the median over initialisations, white where it is not known, as where no run was trained to its end. A
    dot stands at the best c of every value. With a warm-up, c is that of the rate it leads to (Kalra & Barkeshli
    2024).

    Args:
        table: Final losses as `analysis.over.OverFindings.final_loss` has them.
        key: Its column with the values of the axis.
        title: What the map is of.
        edge: The c at the optimizer's stability edge, to draw a dashed line at; NaN for none.
        c_in_words: What c is (`sharpness_phases.runs.axis.Axis`).

    Raises:
        ValueError: If the table is empty.
    """

    def __init__(
        self, table: pd.DataFrame, key: str, title: str = "", edge: float = 2.0, c_in_words: str = "ηλ₀"
    ) -> None:
        if table.empty:
            raise ValueError("A map of final losses needs runs that were trained to their end. Received: none.")
        self._key, self._title, self._edge, self._c_label = key, title, edge, c_label(c_in_words)
        self._medians, self._best = median_losses(table, key), best_rates(table, key)
        self._values = list(dict.fromkeys(table[key]))
        self._c = np.sort(table["c"].unique())

    def draw(self) -> Figure:
        """Draw the map.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        networks = [rows for _, rows in self._medians.groupby(["depth", "width"], sort=True)]
        norm = self._norm()
        with house_style():
            columns = columns_for(len(networks), _MOST_COLUMNS, _PANEL_WIDTH, _PANEL_LEAST)
            rows = -(-len(networks) // columns)
            size = figure_size(0.8 + _PANEL_WIDTH * columns, 0.5 + _PANEL_HEIGHT * rows)
            figure = Figure(figsize=size, layout="constrained")
            axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
            for ax in axes[len(networks) :]:
                ax.remove()
            for place, (ax, medians) in enumerate(zip(axes, networks, strict=False)):
                self._draw_network(ax, medians, norm)
                if place % columns == 0:
                    ax.set_ylabel(self._key)
            colors = ScalarMappable(norm, _COLORS)
            beyond = "max" if norm.vmax == 1 else "neither"
            figure.colorbar(colors, ax=axes[: len(networks)], label=r"$L_T\,/\,L_0$", extend=beyond)
            figure.legend(handles=self._entries(), loc="outside lower center", ncols=3)
            entitle(figure, self._title)
        return figure

    def _norm(self) -> LogNorm:
        """From the least loss to the largest, or to that before training; all above has the last colour."""
        shares = self._medians["share"]
        shares = shares[np.isfinite(shares) & (shares > 0)]
        lowest, highest = (float(shares.min()), float(shares.max())) if len(shares) else (1.0, 1.0)
        highest = min(1.0, highest)
        return LogNorm(min(lowest, highest / _LEAST_SPAN), highest)

    def _draw_network(self, ax: Axes, medians: pd.DataFrame, norm: LogNorm) -> None:
        shares = medians.pivot(index=self._key, columns="c", values="share")
        cells = shares.reindex(index=self._values, columns=self._c).to_numpy()
        heights = np.arange(len(self._values) + 1) - 0.5
        edges = cell_edges(self._c)
        finite = np.ma.masked_where(~np.isfinite(cells), cells)
        ax.pcolormesh(edges, heights, finite, cmap=_COLORS, norm=norm).set_rasterized(True)
        diverged = np.ma.masked_where(~np.isposinf(cells), np.ones_like(cells))
        ax.pcolormesh(edges, heights, diverged, cmap=ListedColormap([_DIVERGED])).set_rasterized(True)
        ax.axvline(self._edge, color="black", linestyle="--", linewidth=1)
        depth, width = (int(medians[name].iloc[0]) for name in ("depth", "width"))
        best = self._best[(self._best["depth"] == depth) & (self._best["width"] == width)]
        rows = [self._values.index(value) for value in best[self._key]]
        ax.plot(best["c_best"], rows, **_DOT)
        log2_axis(ax.xaxis, octaves(self._c[0], self._c[-1]))
        ax.set_xlim(edges[0], edges[-1])
        ax.set_ylim(heights[0], heights[-1])
        ax.set_yticks(range(len(self._values)), [f"{value:g}" for value in self._values])
        ax.set_title(f"depth {depth}, width {width}")
        ax.set_xlabel(f"learning-rate constant {self._c_label}")

    def _entries(self) -> list[Artist]:
        """What the dots, the grey and the line are."""
        entries: list[Artist] = [
            Line2D([], [], label="best c", **_DOT),
            Patch(facecolor=_DIVERGED, label="diverges"),
        ]
        if words := edge_label({self._edge}):
            entries.append(Line2D([], [], color="black", linestyle="--", linewidth=1, label=words))
        return entries

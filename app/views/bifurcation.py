"""The bifurcation diagram of the uv model with a target: what training visits at the edge of stability and beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from sharpness_phases.analysis.bifurcation import (
    balanced_orbit,
    critical_point,
    cycle,
    lyapunov_exponent,
    relative_sharpness,
)
from sharpness_phases.analysis.uv_orbits import Onset
from sharpness_phases.views.style import Picture, entitle, figure_size, house_style, is_narrow

_Cycle: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Values of g, and at each the points r of a cycle, shape (g, period)."""

_WIDTH, _HEIGHT = 7.2, 7.8  # inches on a screen
_HEIGHTS = (3.0, 1.8, 1.5)  # of the three panels, relative to each other

_LINES = (
    ("#1d6bb9", (0, (6, 2))),
    ("#10965f", (0, (4, 1, 1, 1))),
    ("#764a00", (0, (2, 1))),
    ("#80131f", "-"),
    ("#555555", (0, (1, 1))),
)
"""Colour and dashes of the thresholds in their order, so that grey printing keeps them apart."""

_EXACT = "#f2a23c"  # the exact cycles and exponents: bright behind the dark points of training
_GONE = "#dddddd"  # where nothing stays

_CYCLE_PLACES = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0.05, 1.0, 60))
"""Where in its range a stable cycle is computed, from 0.006 of it on, nearer to which Newton's method does not tell it
from the shorter one: close at the ends, as branches part like a square root. Its curve then looks smooth."""

_EXPONENT_STEPS, _EXPONENT_POINTS = 3000, 1200
"""Steps over which the exact exponent is averaged, a third of them left out before, and values of g: its curve is then
as smooth as its true jumps at the windows of periodic orbits let it be."""

_LOWEST_EXPONENT = -1.5
"""Where the axis of the exponent ends: superstable cycles, at minus infinity, would press all else together."""


class BifurcationFigure(Picture):
    """Three panels over g: the visited r, the sharpness there in units of the edge, and the Lyapunov exponent.

    Points are training, lines are exact: thresholds, stable cycles of period 1, 2 and 4, and the exponent of the map.

    Args:
        points: A table as `analysis.uv_orbits.points_table` returns it.
        table: A table as `analysis.uv_orbits.orbit_table` returns it.
        onsets: The thresholds, as `analysis.uv_orbits.onsets` returns them.
        title: What the figure is of.

    Raises:
        ValueError: If there are no points.
    """

    def __init__(self, points: pd.DataFrame, table: pd.DataFrame, onsets: Sequence[Onset], title: str = "") -> None:
        if points.empty:
            raise ValueError("A bifurcation diagram needs orbits that do not diverge. Received: none.")
        self._points = points
        self._table = table
        self._onsets = list(onsets)
        self._title = title

    def draw(self) -> Figure:
        """Draw the figure.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        with house_style():
            figure = Figure(figsize=figure_size(_WIDTH, _HEIGHT), layout="constrained")
            panels = figure.subplots(3, 1, sharex=True, height_ratios=_HEIGHTS)
            cycles = self._cycles()
            self._draw_ratio(panels[0], cycles)
            self._draw_sharpness(panels[1], cycles)
            self._draw_exponent(panels[2])
            low, high = float(self._table["g"].min()), float(self._table["g"].max())
            for ax, letter in zip(panels, "abc", strict=True):
                self._draw_thresholds(ax, high)
                ax.set_xlim(low, high)
                ax.set_title(f"({letter})", loc="left")
            figure.align_ylabels(panels)
            panels[2].set_xlabel(r"$g = \eta\,|y|\,/\sqrt{n}$")
            panels[2].xaxis.set_major_locator(MultipleLocator(0.2))
            figure.legend(handles=self._legend_entries(), loc="outside lower center", ncols=2 if is_narrow() else 3)
            entitle(figure, self._title)
        return figure

    def _draw_ratio(self, ax: Axes, cycles: Sequence[_Cycle]) -> None:
        """The visited points, and the exact stable cycles behind them."""
        _dots(ax, self._points["g"], self._points["r"])
        for g, r in cycles:
            ax.plot(g, r, color=_EXACT, linewidth=3.0, zorder=2, solid_capstyle="butt")
        ax.set_ylabel(r"output $r = f\,/\,y$")
        ax.set_ylim(bottom=0)

    def _draw_sharpness(self, ax: Axes, cycles: Sequence[_Cycle]) -> None:
        """The measured sharpness in units of the edge 2/eta, and that on the exact stable cycles."""
        _dots(ax, self._points["g"], self._points["sharpness"] * self._points["learning_rate"] / 2)
        for g, r in cycles:
            ax.plot(g, relative_sharpness(r, g[:, None]), color=_EXACT, linewidth=3.0, zorder=2, solid_capstyle="butt")
        ax.axhline(1.0, color="black", linestyle="--", linewidth=1, zorder=5)
        ax.set_ylabel(r"$\lambda_t\,\eta\,/\,2$" if is_narrow() else r"sharpness $\lambda_t\,\eta\,/\,2$")
        ax.set_ylim(bottom=0)

    def _draw_exponent(self, ax: Axes) -> None:
        """The exponent along the visited points, and that of the exact map."""
        shown = self._table[self._table["kind"] != "divergent"]
        g = np.linspace(shown["g"].min(), shown["g"].max(), _EXPONENT_POINTS)
        orbit = balanced_orbit(critical_point(g), g, _EXPONENT_STEPS)[_EXPONENT_STEPS // 3 :]
        ax.plot(g, lyapunov_exponent(orbit, g), color=_EXACT, linewidth=1.0, zorder=2)
        ax.plot(shown["g"], shown["exponent"], linestyle="none", marker=".", markersize=2.5, color="black", zorder=3)
        ax.axhline(0.0, color="black", linewidth=0.6)
        ax.set_ylabel("exponent" if is_narrow() else "Lyapunov exponent")
        ax.set_ylim(bottom=_LOWEST_EXPONENT)

    def _draw_thresholds(self, ax: Axes, high: float) -> None:
        for onset, (color, dashes) in zip(self._onsets, _LINES, strict=True):
            ax.axvline(onset.exact, color=color, linestyle=dashes, linewidth=1.1, zorder=1)
        if high > self._onsets[-1].exact:
            ax.axvspan(self._onsets[-1].exact, high, color=_GONE, linewidth=0, zorder=0)

    def _cycles(self) -> list[_Cycle]:
        """The cycles of period 1, 2 and 4 where they are stable: g, and r of shape (g, period), in order."""
        low, high = float(self._table["g"].min()), float(self._table["g"].max())
        ends = [-math.inf, *(onset.exact for onset in self._onsets[:3])]
        found: list[_Cycle] = []
        for doubling, (birth, end) in enumerate(pairwise(ends)):
            begin, stop = max(low, birth), min(high, end)
            if begin < stop:
                g = begin + (stop - begin) * _CYCLE_PLACES
                branches = [np.sort(cycle(value, 2**doubling)) for value in g]
                if begin == birth:  # where two branches begin at each of the shorter cycle's
                    g = np.insert(g, 0, birth)
                    branches.insert(0, np.repeat(np.sort(cycle(birth, 2 ** (doubling - 1))), 2))
                found.append((g, np.array(branches)))
        return found

    def _legend_entries(self) -> list[Artist]:
        training = Line2D([], [], linestyle="none", marker=".", markersize=5, color="black", label="training")
        exact = Line2D([], [], color=_EXACT, linewidth=2.5, label="exact")
        edge = Line2D([], [], color="black", linestyle="--", linewidth=1, label=r"$\lambda_t = 2/\eta$")
        thresholds = [
            Line2D([], [], color=color, linestyle=dashes, linewidth=1.1, label=f"{onset.name} from {onset.exact:.4f}")
            for onset, (color, dashes) in zip(self._onsets, _LINES, strict=True)
        ]
        return [training, exact, edge, *thresholds]


def _dots(ax: Axes, g: pd.Series, values: pd.Series) -> None:
    """Visited points; an image inside vector files, which tens of thousands of them would make huge."""
    ax.plot(
        g,
        values,
        linestyle="none",
        marker=".",
        markersize=1.6,
        markeredgewidth=0,
        color="black",
        alpha=0.6,
        zorder=3,
        rasterized=True,
    )

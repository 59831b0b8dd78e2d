"""Long runs with their regimes shaded: sharpness against the stability edge, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from sharpness_phases.analysis.regimes import Regime, Segment
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.views.style import Picture, columns_for, entitle, figure_size, house_style, is_narrow

REGIME_FILLS = {
    Regime.EARLY_TRANSIENT: "#f4d675",
    Regime.INTERMEDIATE_SATURATION: "#eaf4fc",
    Regime.PROGRESSIVE_SHARPENING: "#93c6b0",
    Regime.EDGE_OF_STABILITY: "#dd8562",
    Regime.DECLINING: "#a566c0",
    Regime.DIVERGENT: "#636363",
}
"""Fills of the regimes, each of a lightness of its own."""

_COLUMN, _BLOCK = 3.2, 4.6  # inches on a screen: the width of a column, the height of its two panels
_LEAST = 1.6  # inches in print at which a block still is read; chosen by eye
_LINE = "#0b3c6f"  # the line of the sharpness; dark on all fills

_LINEAR_STEPS = 10
"""Steps that are shown on a linear axis, later ones on a logarithmic one: the early transient is about as short, and on
a linear axis of thousands of steps it would be a line. Runs of up to ten times as many have a linear axis."""

_HIGHEST, _LEAST_HIGHEST = 2.5, 1.15
"""The sharpness' axis ends at most, and at least, here, in units of the edge: an early peak does not press the edge of
stability, at 1, to the ground, and 1 is always seen. Chosen by eye."""


class LabelledRun(NamedTuple):
    """A run to draw.

    Attributes:
        title: What sets it apart.
        run: Its trajectory.
        edge: The stability edge of its optimizer, a number or one for every step, shape (steps + 1,).
        segments: Its regimes, as `analysis.regimes.regimes` returns them.
    """

    title: str
    run: Trajectory
    edge: float | np.ndarray
    segments: Sequence[Segment]


class RegimeFigure(Picture):
    """Sharpness in units of the edge, and loss, over the steps; regimes are shaded. A column for every run.

    Args:
        runs: What to draw.
        title: What the figure is of.
        edge_in_words: The formula of the edge, for the legend.

    Raises:
        ValueError: If there is no run.
    """

    def __init__(self, runs: Sequence[LabelledRun], title: str = "", edge_in_words: str = "2/η") -> None:
        if not runs:
            raise ValueError("Regimes need at least one run. Received: none.")
        self._runs = list(runs)
        self._title = title
        self._edge_in_words = edge_in_words

    def draw(self) -> Figure:
        """Draw the figure.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        with house_style():
            count = len(self._runs)
            columns = columns_for(count, count, _COLUMN, _LEAST)
            figure, pairs = _empty_sheet(count, columns)
            for (top, bottom), shown in zip(pairs, self._runs, strict=True):
                _draw_run(top, bottom, shown)
            for top, bottom in pairs[::columns]:
                _label_row(top, bottom)
            figure.legend(
                handles=self._legend_entries(),
                loc="outside lower center",
                ncols=2 if is_narrow() else min(5, 1 + columns * 2),
            )
            entitle(figure, self._title)
        return figure

    def _legend_entries(self) -> list[Artist]:
        """The regimes that occur, and the edge of stability."""
        found = {segment.regime for shown in self._runs for segment in shown.segments}
        fills: list[Artist] = [
            Patch(facecolor=color, edgecolor="#888888", linewidth=0.5, label=regime.replace("_", " "))
            for regime, color in REGIME_FILLS.items()
            if regime in found
        ]
        edge = Line2D([], [], color="black", linestyle="--", linewidth=1, label=f"λ = {self._edge_in_words}")
        return [*fills, edge]


def _empty_sheet(count: int, columns: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure with two panels, one above the other, for each of so many runs, row by row."""
    blocks = -(-count // columns)
    size = figure_size(max(5.6, 1.2 + _COLUMN * columns), _BLOCK * blocks)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(2 * blocks, columns, squeeze=False, sharex="col", sharey="row")
    tops, bottoms = list(axes[::2].flat), list(axes[1::2].flat)
    for ax in (*tops[count:], *bottoms[count:]):
        ax.remove()
    return figure, list(zip(tops[:count], bottoms[:count], strict=True))


def _label_row(top: Axes, bottom: Axes) -> None:
    """Name the quantities beside the first run of a row, whose axes all runs of the row share."""
    top.set_ylabel(r"$\lambda_t$ / edge" if is_narrow() else r"sharpness $\lambda_t$ / edge")
    bottom.set_ylabel("loss $L_t$")
    top.set_ylim(0, min(_HIGHEST, max(_LEAST_HIGHEST, *top.get_ylim())))


def _draw_run(top: Axes, bottom: Axes, shown: LabelledRun) -> None:
    """Sharpness above, loss below, regimes shaded in both."""
    run = shown.run
    steps = np.arange(run.steps + 1)
    measured = np.isfinite(run.sharpness)
    top.plot(steps[measured], (run.sharpness / shown.edge)[measured], color=_LINE, linewidth=1.1)
    top.axhline(1.0, color="black", linestyle="--", linewidth=1)
    top.set_title(shown.title)
    finite = np.isfinite(run.loss)
    bottom.plot(steps[finite], run.loss[finite], color="black", linewidth=1.1)
    bottom.set_yscale("log")
    _set_steps(bottom, run.steps)
    for ax in (top, bottom):
        for segment in shown.segments:
            color = REGIME_FILLS[segment.regime]
            ax.axvspan(segment.start, min(segment.stop, run.steps), color=color, linewidth=0, zorder=0)


def _set_steps(ax: Axes, last: int) -> None:
    """The axis of the steps up to the last one."""
    ax.set_xlabel("step $t$")
    ax.tick_params(labelbottom=True)
    if last > 10 * _LINEAR_STEPS:
        ax.set_xscale("symlog", linthresh=_LINEAR_STEPS)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(0, max(1, last))

"""Long runs with their regimes shaded: sharpness against 2/eta, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from sharpness_phases.analysis.regimes import Regime, Segment
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.views.style import Picture, columns_for, figure_size, house_style, is_narrow

REGIME_FILLS = {
    Regime.EARLY_TRANSIENT: "#f4d675",
    Regime.INTERMEDIATE_SATURATION: "#eaf4fc",
    Regime.PROGRESSIVE_SHARPENING: "#93c6b0",
    Regime.EDGE_OF_STABILITY: "#dd8562",
    Regime.DIVERGENT: "#7e7e7e",
}
"""Fills of the regimes, each of a lightness of its own."""

_LINE = "#0b3c6f"  # of the sharpness; dark on all fills
_LINEAR_STEPS = 10  # shown on a linear axis, later ones on a logarithmic one: the transient is short
_HEADROOM = 2.5  # of the sharpness' axis, in units of 2/eta


class LabelledRun(NamedTuple):
    """A run to draw.

    Attributes:
        title: What sets it apart.
        run: Its trajectory.
        learning_rate: Its learning rate eta.
        segments: Its regimes, as `analysis.regimes.regimes` returns them.
    """

    title: str
    run: Trajectory
    learning_rate: float
    segments: Sequence[Segment]


class RegimeFigure(Picture):
    """Sharpness in units of 2/eta, and loss, over the steps; regimes are shaded. A column for every run.

    Args:
        runs: What to draw.
        title: What the figure is of.

    Raises:
        ValueError: If there is no run.
    """

    def __init__(self, runs: Sequence[LabelledRun], title: str = "") -> None:
        if not runs:
            raise ValueError("Regimes need at least one run. Received: none.")
        self._runs = list(runs)
        self._title = title

    def draw(self) -> Figure:
        """Draw the figure.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        with house_style():
            columns = columns_for(len(self._runs), len(self._runs), 3.2)
            blocks = -(-len(self._runs) // columns)
            size = figure_size(max(5.6, 1.2 + 3.2 * columns), 4.6 * blocks)
            figure = Figure(figsize=size, layout="constrained")
            axes = figure.subplots(2 * blocks, columns, squeeze=False, sharex="col", sharey="row")
            tops, bottoms = list(axes[::2].flat), list(axes[1::2].flat)
            for ax in (*tops[len(self._runs) :], *bottoms[len(self._runs) :]):
                ax.remove()
            for top, bottom, shown in zip(tops, bottoms, self._runs, strict=False):
                _draw_run(top, bottom, shown)
            for top, bottom in axes.reshape(blocks, 2, columns)[:, :, 0]:
                top.set_ylabel(r"$\lambda_t\,\eta\,/\,2$" if is_narrow() else r"sharpness $\lambda_t\,\eta\,/\,2$")
                bottom.set_ylabel("loss $L_t$")
                top.set_ylim(0, min(_HEADROOM, max(1.15, *top.get_ylim())))
            found = {segment.regime for shown in self._runs for segment in shown.segments}
            handles: list[Any] = [
                Patch(facecolor=color, edgecolor="#888888", linewidth=0.5, label=regime.replace("_", " "))
                for regime, color in REGIME_FILLS.items()
                if regime in found
            ]
            edge = Line2D([], [], color="black", linestyle="--", linewidth=1, label=r"$\lambda_t = 2/\eta$")
            ncols = 2 if is_narrow() else min(5, 1 + columns * 2)
            figure.legend(handles=[*handles, edge], loc="outside lower center", ncols=ncols)
            if self._title:
                figure.suptitle(self._title)
        return figure


def _draw_run(top: Any, bottom: Any, shown: LabelledRun) -> None:
    run = shown.run
    steps = np.arange(run.steps + 1)
    measured = np.isfinite(run.sharpness)
    top.plot(steps[measured], run.sharpness[measured] * shown.learning_rate / 2, color=_LINE, linewidth=1.1)
    top.axhline(1.0, color="black", linestyle="--", linewidth=1)
    top.set_title(shown.title)
    finite = np.isfinite(run.loss)
    bottom.plot(steps[finite], run.loss[finite], color="black", linewidth=1.1)
    bottom.set_yscale("log")
    bottom.set_xlabel("step $t$")
    bottom.tick_params(labelbottom=True)
    if run.steps > 10 * _LINEAR_STEPS:
        bottom.set_xscale("symlog", linthresh=_LINEAR_STEPS)
        bottom.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bottom.xaxis.set_minor_locator(NullLocator())
    bottom.set_xlim(0, max(1, run.steps))
    for ax in (top, bottom):
        for segment in shown.segments:
            color = REGIME_FILLS[segment.regime]
            ax.axvspan(segment.start, min(segment.stop, run.steps), color=color, linewidth=0, zorder=0)

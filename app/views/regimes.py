"""One long run with its regimes shaded: sharpness against 2/eta, and the loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from app.analysis.regimes import Regime, Segment
from app.trajectory import Trajectory
from app.views.style import Picture, house_style

REGIME_FILLS = {
    Regime.EARLY_TRANSIENT: "#f5d68e",
    Regime.INTERMEDIATE_SATURATION: "#deedf8",
    Regime.PROGRESSIVE_SHARPENING: "#a9d3c4",
    Regime.EDGE_OF_STABILITY: "#e59f80",
    Regime.DIVERGENT: "#c2c2c2",
}
"""Fills of the regimes."""


class RegimeFigure(Picture):
    """Sharpness with the line 2/eta, and loss, over the steps of a run; its regimes are shaded.

    Args:
        run: The trajectory.
        learning_rate: Its learning rate eta.
        segments: Its regimes, as `app.analysis.regimes.regimes` returns them.
        title: What the figure is of.
    """

    def __init__(self, run: Trajectory, learning_rate: float, segments: Sequence[Segment], title: str = "") -> None:
        self._run = run
        self._learning_rate = learning_rate
        self._segments = list(segments)
        self._title = title

    def draw(self) -> Figure:
        """Draw the figure.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        steps = np.arange(self._run.steps + 1)
        measured = np.isfinite(self._run.sharpness)
        with house_style():
            figure = Figure(figsize=(6.4, 4.6), layout="constrained")
            top, bottom = figure.subplots(2, 1, sharex=True)
            top.plot(steps[measured], self._run.sharpness[measured], color="#0072b2", linewidth=1.1)
            top.axhline(2 / self._learning_rate, color="black", linestyle="--", linewidth=1)
            top.annotate(r"$2/\eta$", (1.0, 2 / self._learning_rate), xycoords=("axes fraction", "data"), xytext=(3, 0),
                         textcoords="offset points", va="center")  # fmt: skip
            top.set_ylabel(r"sharpness $\lambda_t$")
            top.set_ylim(bottom=0)
            bottom.plot(steps, self._run.loss, color="black", linewidth=1.1)
            bottom.set_yscale("log")
            bottom.set_ylabel("loss $L_t$")
            bottom.set_xlabel("step $t$")
            bottom.set_xlim(0, max(1, self._run.steps))
            for ax in (top, bottom):
                for segment in self._segments:
                    ax.axvspan(segment.start, segment.stop, color=REGIME_FILLS[segment.regime], linewidth=0, zorder=0)
            shown = dict.fromkeys(segment.regime for segment in self._segments)
            handles = [Patch(facecolor=REGIME_FILLS[regime], label=regime.replace("_", " ")) for regime in shown]
            figure.legend(handles=handles, loc="outside lower center", ncols=4)
            if self._title:
                figure.suptitle(self._title, fontsize=11)
        return figure

"""The picture of an advice: the short runs, over their steps and over their learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from sharpness_phases.analysis.rate_search import end_of_run
from sharpness_phases.views.style import Picture, entitle, figure_size, house_style, is_narrow

_WIDTH, _HEIGHT = 8.0, 3.6  # inches on a screen

_MARKS = ("#1d6bb9", "#80131f", "#10965f", "#764a00")
"""Colours of the marked rates in their order; their dashes tell them apart in grey."""

_DASHES = ("-", "--", ":", "-.")

_HEADROOM = 1.5
"""Losses are shown up to so many times the first: what rises further is only said to be gone."""


class AdviceFigure(Picture):
    """Two panels: the loss over the steps of each run, and what runs of the same length ended at over their rate.

    Args:
        runs: For each learning rate, the loss of every batch before its step.
        marks: Rates to mark, by name; those that are not positive and finite are left out.
        title: What the figure is of.

    Raises:
        ValueError: If there are no runs.
    """

    def __init__(self, runs: Mapping[float, Sequence[float]], marks: Mapping[str, float], title: str = "") -> None:
        if not runs:
            raise ValueError("A picture of an advice needs runs. Received: none.")
        self._runs = {rate: np.asarray(losses, float) for rate, losses in sorted(runs.items())}
        self._marks = {name: rate for name, rate in marks.items() if 0 < rate < math.inf}
        self._title = title

    def draw(self) -> Figure:
        """Draw the figure.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        with house_style():
            narrow = is_narrow()
            figure = Figure(figsize=figure_size(_WIDTH, 2 * _HEIGHT if narrow else _HEIGHT), layout="constrained")
            left, right = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
            first = float(next(iter(self._runs.values()))[0])
            low = min(float(run[np.isfinite(run)].min()) for run in self._runs.values())
            for ax in (left, right):
                ax.set_ylim(low - 0.05 * (first - low), low + _HEADROOM * max(first - low, 1e-12))
                ax.set_ylabel("loss of the batch")
            self._draw_runs(left, figure)
            self._draw_ends(right)
            figure.legend(loc="outside lower center", ncols=2 if narrow else 4)
            entitle(figure, self._title)
        return figure

    def _draw_runs(self, ax: Axes, figure: Figure) -> None:
        """The loss over the steps, coloured by the rate."""
        rates = list(self._runs)
        norm = LogNorm(rates[0], max(rates[-1], rates[0] * 1.001))
        colors = matplotlib.colormaps["viridis"]
        for rate, run in self._runs.items():
            ax.plot(np.arange(len(run)), run, color=colors(norm(rate)), linewidth=1.0)
        figure.colorbar(matplotlib.cm.ScalarMappable(norm, colors), ax=ax, label="learning rate")
        ax.set_xlabel("step")
        ax.set_title("(a) runs from the same start", loc="left")

    def _draw_ends(self, ax: Axes) -> None:
        """What runs of the same length ended at, and the marked rates."""
        for steps, shade in zip(
            sorted({len(run) for run in self._runs.values()}), ("#b0b0b0", "#707070", "#000000"), strict=False
        ):
            known = [(rate, end_of_run(run[:steps])) for rate, run in self._runs.items() if len(run) >= steps]
            shown = [(rate, end) for rate, end in known if math.isfinite(end)]
            ax.plot(
                *zip(*shown, strict=True), "o-", color=shade, markersize=3, linewidth=1.0, label=f"after {steps} steps"
            )
        for (name, rate), color, dash in zip(self._marks.items(), _MARKS, _DASHES, strict=False):
            ax.axvline(rate, color=color, linestyle=dash, linewidth=1.2, label=f"{name}: {rate:.2g}")
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.set_title("(b) what they ended at", loc="left")

"""Loss and sharpness over the steps: one run in each phase, coloured by c."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from sharpness_phases.analysis.phases import Phase
from sharpness_phases.views.chosen_runs import joined, one_in_each_phase, with_phases
from sharpness_phases.views.labels import UNKNOWN_PHASE
from sharpness_phases.views.style import Picture, c_label, columns_for, entitle, figure_size, house_style, is_narrow

_COLUMN, _ROW = 2.7, 2.1  # inches on a screen, of a panel
_MOST_COLUMNS = 4  # 11 inches: about what a screen shows
_LEAST = 1.6  # inches in print at which two panels still are read; chosen by eye
_COLORS = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.92, 256)))  # its yellow is faint on white

_CEILING = 1e3
"""Above this many times its value at step 0 a quantity leaves the panel: a run that diverges, by many orders of
magnitude, does not press the others together, while the catapults stay inside. Chosen by eye."""

_DOTTED = 30
"""Steps up to which every step has a dot; with more, dots run together."""


_LINES = {
    Phase.SHARPNESS_REDUCTION: "-",
    Phase.LOSS_CATAPULT: "--",
    Phase.EARLY_SHARPENING: "-.",
    Phase.LOSS_AND_SHARPNESS_CATAPULT: (0, (1, 1)),
    Phase.DIVERGENT: (0, (4, 1, 1, 1, 1, 1)),
}
"""How the line of a run in each phase is drawn: told apart without colours, too."""


class TrajectoryFigure(Picture):
    """L_t / L_0 and lambda_t / lambda_0 over the steps, a column of two panels for every (depth, width).

    What was not measured is not drawn: a line joins a sharpness with the next one if that is no further than `every`
    steps, and a single one is a dot.

    Args:
        runs: A row per step, one run for each initialisation and c, as `analysis.tables.merge_runs` returns it.
        seed: Which initialisation is shown; the lowest one by default.
        title: What the figure is of.
        c_in_words: What c is (`sharpness_phases.runs.axis.Axis`).
        constants: A table as `analysis.tables.constants_table` returns it: of each network one run in each phase is
            drawn, the one that tells most. None: all runs.
        every: Steps from one measurement of the sharpness to the next in runs that are measured throughout.

    Raises:
        ValueError: If there are no runs of that seed.
    """

    def __init__(
        self,
        runs: pd.DataFrame,
        seed: int | None = None,
        title: str = "",
        c_in_words: str = "ηλ₀",
        constants: pd.DataFrame | None = None,
        every: int = 1,
    ) -> None:
        shown = runs["seed"].min() if seed is None else seed
        chosen = runs[runs["seed"] == shown]
        if chosen.empty:
            raise ValueError(f"Trajectories need at least one run. Received: none of seed {seed}.")
        self._runs = chosen.assign(phase=UNKNOWN_PHASE)
        if constants is not None:
            self._runs = one_in_each_phase(with_phases(chosen, constants))
        self._title = ", ".join([*([title] if title else []), f"initialisation {shown}"])
        self._c_label, self._every = c_label(c_in_words), every

    def draw(self) -> Figure:
        """Draw the figure.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """
        networks = list(self._runs.groupby(["depth", "width"], sort=True))
        c = self._runs["c"]
        norm = LogNorm(c.min() / 1.001, c.max() * 1.001)
        with house_style():
            columns = columns_for(len(networks), _MOST_COLUMNS, _COLUMN, _LEAST)
            figure, pairs = _empty_sheet(len(networks), columns)
            for (top, bottom), ((depth, width), runs) in zip(pairs, networks, strict=True):
                top.set_title(f"$d = {depth}$, $w = {width}$" if is_narrow() else f"depth {depth}, width {width}")
                _draw_quantity(top, runs, "loss", norm)
                _draw_quantity(bottom, runs, "sharpness", norm, self._every)
                bottom.set_xlabel("step $t$")
                bottom.tick_params(labelbottom=True)
            for top, bottom in pairs[::columns]:
                top.set_ylabel(r"$L_t\,/\,L_0$")
                bottom.set_ylabel(r"$\lambda_t\,/\,\lambda_0$")
            _draw_colorbar(figure, norm, self._c_label)
            _add_legend(figure, set(self._runs["phase"]), columns)
            entitle(figure, self._title)
        return figure


def _empty_sheet(count: int, columns: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure with two panels, one above the other, for each of so many networks, row by row."""
    blocks = -(-count // columns)
    size = figure_size(_COLUMN * columns + 0.9, _ROW * 2 * blocks + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(2 * blocks, columns, squeeze=False, sharex=True)
    tops, bottoms = list(axes[::2].flat), list(axes[1::2].flat)
    for ax in (*tops[count:], *bottoms[count:]):
        ax.remove()
    return figure, list(zip(tops[:count], bottoms[:count], strict=True))


def _add_legend(figure: Figure, phases: set[str], columns: int) -> None:
    """The phases that are there."""
    entries = [
        Line2D([], [], color="black", linewidth=1, linestyle=line, label=str(phase))
        for phase, line in _LINES.items()
        if phase in phases
    ]
    if entries:
        figure.legend(handles=entries, loc="outside lower center", ncols=2 if is_narrow() else min(5, 1 + columns))


def _draw_quantity(ax: Axes, runs: pd.DataFrame, name: str, norm: LogNorm, every: int = 1) -> None:
    """One line a run, with a gap where nothing was measured."""
    colors = ScalarMappable(norm, _COLORS)
    highest = 1.0
    for _, run in runs.groupby("c", sort=True):
        values = run[name].to_numpy() / run[name].iloc[0]
        shown = np.isfinite(values) & (values > 0)
        if shown.sum() > 1:
            steps, seen = run["step"].to_numpy()[shown], values[shown]
            for part in joined(steps, every):
                ax.plot(
                    steps[part],
                    seen[part],
                    color=colors.to_rgba(run["c"].iloc[0]),
                    linewidth=1,
                    linestyle=_LINES.get(run["phase"].iloc[0], "-"),
                    marker="." if len(values) <= _DOTTED or len(seen[part]) == 1 else None,
                    markersize=3,
                )
            highest = max(highest, float(np.max(seen)))
    ax.axhline(1.0, color="black", linewidth=0.7, linestyle=":")
    ax.set_yscale("log")
    if highest > _CEILING:
        ax.set_ylim(top=_CEILING)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _set_close_ticks(ax)


def _set_close_ticks(ax: Axes) -> None:
    """On a vertical axis of less than one and a half decades, ticks between the powers of 10, of which it has few.

    The narrower the range, the more digits have a tick; chosen so that about three to eight of them are seen.
    """
    lower, upper = ax.get_ylim()
    factor = upper / lower
    if factor >= 30:
        return
    digits = range(1, 10) if factor < 2 else (1, 2, 3, 4, 6, 8) if factor < 4 else (1, 2, 5)
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=digits))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _draw_colorbar(figure: Figure, norm: LogNorm, label: str) -> None:
    low, high = np.log2(np.array([norm.vmin, norm.vmax], np.float64))
    octaves = 2.0 ** np.arange(np.ceil(low), np.floor(high) + 1)
    place = "bottom" if is_narrow() else "right"
    colors = ScalarMappable(norm, _COLORS)
    bar = figure.colorbar(colors, ax=figure.axes, location=place, ticks=octaves, aspect=40, pad=0.01)
    bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
    bar.minorticks_off()
    bar.set_label(label)

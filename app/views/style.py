"""One look for all pictures: sizes, colours that colour-blind readers can tell apart, and saving."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from app.analysis.phases import Phase
from app.store.files import whole_file

PHASE_FILLS = {
    Phase.SHARPNESS_REDUCTION: "#deedf8",
    Phase.LOSS_CATAPULT: "#f5d68e",
    Phase.LOSS_AND_SHARPNESS_CATAPULT: "#e59f80",
    Phase.DIVERGENT: "#c2c2c2",
}
"""Fills of the phases; they differ in lightness too, so that they survive grey printing."""

CONSTANT_COLORS = {
    "c_loss": "#0072b2",
    "c_sharp": "#b8860b",
    "c_barrier": "#009e73",
    "c_max": "#a23b0c",
    "c_crit": "#6a3d9a",
}
"""Colours of the critical constants, after the Okabe-Ito palette."""

CONSTANT_MARKERS = {"c_loss": "o", "c_sharp": "s", "c_barrier": "D", "c_max": "^", "c_crit": "v"}
"""Marker shapes of the critical constants."""

CONSTANT_LABELS = {
    "c_loss": r"$c_{\mathrm{loss}}$",
    "c_sharp": r"$c_{\mathrm{sharp}}$",
    "c_barrier": r"$c_{\mathrm{barrier}}$",
    "c_max": r"$c_{\mathrm{max}}$",
    "c_crit": r"$c_{\mathrm{crit}}$",
}
"""The critical constants as legends write them."""

_SETTINGS = {
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sharpness-phases",
    "pdf.fonttype": 42,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save within this, so that no setting of the caller's is changed or needed."""
    with matplotlib.rc_context(_SETTINGS):
        yield


class Picture(abc.ABC):
    """Something that can be drawn and saved."""

    @abc.abstractmethod
    def draw(self) -> Figure:
        """Draw it.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """

    def save(self, path: str | Path) -> Path:
        """Draw and write it; equal data give equal files.

        Args:
            path: Where; the ending (.png, .svg, .pdf) chooses the format. Missing folders are made.

        Returns:
            The path.
        """
        path = Path(path)
        dates: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        with house_style(), whole_file(path) as unfinished:
            self.draw().savefig(unfinished, bbox_inches="tight", metadata=dates.get(path.suffix.lower()))
        return path


def octaves(low: float, high: float) -> list[float]:
    """The powers of 2 from low to high, for ticks."""
    return [2.0**k for k in range(math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9) + 1)]


def log2_axis(axis: Any, ticks: list[float], labels: list[str] | None = None) -> None:
    """Make an axis logarithmic with base 2 and ticks at given values, written as plain numbers.

    Args:
        axis: A Matplotlib `XAxis` or `YAxis`.
        ticks: Where ticks stand.
        labels: What they say; the value itself by default.
    """
    axis._set_axes_scale("log", base=2)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    texts = labels or [f"{tick:g}" for tick in ticks]
    axis.set_major_formatter(FuncFormatter(lambda value, position: texts[position] if position is not None else ""))

"""One look for all pictures: sizes, colours that colour-blind readers can tell apart, and saving."""

from __future__ import annotations

import abc
import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sharpness_phases.analysis.phases import Phase
from sharpness_phases.store.files import atomic_file
from sharpness_phases.views.grey import make_grey

logger = logging.getLogger(__name__)
logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of the dates in Matplotlib's own fonts

PHASE_FILLS = {
    Phase.SHARPNESS_REDUCTION: "#e8f3fb",
    Phase.LOSS_CATAPULT: "#f2d36f",
    Phase.EARLY_SHARPENING: "#d0adf3",
    Phase.LOSS_AND_SHARPNESS_CATAPULT: "#e8896f",
    Phase.DIVERGENT: "#8a8a8a",
}
"""Fills of the phases, darker and darker, so that they survive grey printing and every kind of colour blindness."""

CONSTANT_COLORS = {
    "c_loss": "#1d6bb9",
    "c_sharp": "#764a00",
    "c_barrier": "#10965f",
    "c_max": "#80131f",
    "c_crit": "#38186a",
}
"""Colours of the critical constants: dark on the fills, and each of a lightness of its own."""

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

PICTURE_ENDINGS = (".png", ".svg", ".pdf")
"""The endings of the files that pictures are saved in."""

_SETTINGS = {
    "figure.dpi": 150,
    "figure.titlesize": 11,
    "savefig.dpi": 300,
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

_PRINTED = {
    "figure.titlesize": 8.5,
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.handlelength": 1.6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
}


class Style(NamedTuple):
    """How pictures look.

    Attributes:
        width: Of the whole picture, in inches; None for as wide as its panels are on a screen.
        settings: The parameters of Matplotlib that differ from those on a screen: sizes of fonts, widths of lines.
        pen: Factor of all lines and markers.
        grey: Whether colours become greys of the same lightness.
    """

    width: float | None = None
    settings: Mapping[str, float] = {}
    pen: float = 1.0
    grey: bool = False


STYLES = {
    "screen": Style(),
    "paper": Style(3.3, _PRINTED, 0.7),
    "wide": Style(6.75, _PRINTED, 0.7),
    "grey": Style(3.3, _PRINTED, 0.7, grey=True),
}
"""The styles by name: paper is as wide as a column of a paper, wide as two, grey is paper without colours."""

_style: ContextVar[Style] = ContextVar("style", default=STYLES["screen"])

_SMALLEST_PANEL = 0.5
"""The least share of its width on a screen that a panel has in print. Chosen so: a column of 3.3 inches
holds two of the narrower panels (2.7 and 3.2 inches on a screen) and one of the wider, and no texts overlap (tests/
app/views/test_style.py). A larger share would leave one panel in a column, a smaller one would crowd three."""

_TITLE_SHARE = 0.96
"""The share of a figure's width that a title takes at most, so that it does not touch the margins."""

_NARROW = 5.0
"""Inches below which a picture is narrow: between one column of a paper (3.3) and two (6.75)."""

_HEIGHT_OF_WIDTH = 1.2
"""The factor of a printed picture's height over that of its width. Above 1, as the fonts of legends and titles shrink
less than the picture and take more of it; chosen by eye."""

_PAGE_HEIGHT = 8.8
"""Inches of a page's text (9 on US letter with margins of 1 inch), less a line or two of a caption."""

_LEGEND_HEIGHT = 1.5
"""Inches that the title and the legend of a printed picture take; measured on phase diagrams, whose is the longest."""

_NARROWEST_PANEL = 1.6
"""Inches below which a printed panel is not read: half a column; chosen by eye."""

_MOST_TICKS = 10
"""The largest number of ticks at powers of 2: as many numbers of up to four digits stand side by side in a panel."""


@contextmanager
def house_style(style: Style | None = None) -> Iterator[None]:
    """Draw and save within this, so that no setting of the caller's is changed or needed.

    Args:
        style: How pictures look; as around this by default, and on the outside as on a screen.
    """
    token = _style.set(_style.get() if style is None else style)
    try:
        with matplotlib.rc_context({**_SETTINGS, **_style.get().settings}):
            yield
    finally:
        _style.reset(token)


def columns_for(panels: int, most: int, width: float, least_height: float) -> int:
    """How many panels stand side by side.

    Args:
        panels: Number of all panels.
        most: The largest number side by side, however wide the picture is.
        width: Width of a panel on a screen, in inches.
        least_height: The least height in print at which a panel still is read, in inches.

    Returns:
        Their number; fewer where the style leaves less room, and more where the rows would not fit on a page.
    """
    room = _style.get().width
    if room is None:
        return min(panels, most)
    columns = min(panels, most, max(1, int(room / (width * _SMALLEST_PANEL))))
    fit_on_a_page = max(1, int((_PAGE_HEIGHT - _LEGEND_HEIGHT) / least_height))
    return max(columns, min(-(-panels // fit_on_a_page), int(room / _NARROWEST_PANEL)))


def figure_size(width: float, height: float) -> tuple[float, float]:
    """Size of a figure.

    Args:
        width: Its width on a screen, in inches.
        height: Its height on a screen, in inches.

    Returns:
        Width and height in the style, in inches. What is narrower is lower, but not quite as much: legends and titles
        take their room. Nothing printed is taller than a page.
    """
    room = _style.get().width
    if room is None:
        return width, height
    return room, min(_PAGE_HEIGHT, height * min(1.0, _HEIGHT_OF_WIDTH * room / width))


def is_narrow() -> bool:
    """Whether the style leaves the width of a column only."""
    room = _style.get().width
    return room is not None and room < _NARROW


class Picture(abc.ABC):
    """Something that can be drawn and saved."""

    @abc.abstractmethod
    def draw(self) -> Figure:
        """Draw it.

        Returns:
            A Matplotlib figure, not registered with pyplot.
        """

    def save(self, path: str | Path, style: Style | None = None) -> Path:
        """Draw and write it; equal data give equal files.

        Args:
            path: Where; the ending (.png, .svg, .pdf) chooses the format. Missing folders are made.
            style: How it looks; as on a screen by default.

        Returns:
            The path.
        """
        path, begin = Path(path), time.perf_counter()
        dates: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        with house_style(style), atomic_file(path) as unfinished:
            figure, style = self.draw(), _style.get()
            _finish(figure, style)
            # What is printed has exactly the width that it is to have.
            box = "tight" if style.width is None else None
            figure.savefig(unfinished, bbox_inches=box, metadata=dates.get(path.suffix.lower()))
        logger.debug("Drew %s in %.1f s", path, time.perf_counter() - begin)
        return path


def _finish(figure: Figure, style: Style) -> None:
    """What a style asks of all that is drawn."""
    if style.pen != 1.0:
        for line in figure.findobj(Line2D, include_self=False):
            line.set_linewidth(line.get_linewidth() * style.pen)
            line.set_markersize(line.get_markersize() * style.pen)
            line.set_markeredgewidth(line.get_markeredgewidth() * style.pen)
    if style.grey:
        make_grey(figure)


def entitle(figure: Figure, title: str) -> None:
    """Say above a figure what it is of, in as many lines as its width asks for.

    Args:
        figure: The figure.
        title: The text; nothing is written if it is empty.
    """
    if not title:
        return
    text = figure.suptitle(title)
    room = _TITLE_SHARE * figure.bbox.width
    lines: list[str] = []
    for word in title.split():
        longer = " ".join([*lines[-1:], word])
        text.set_text(longer)
        if lines and text.get_window_extent().width <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    text.set_text("\n".join(lines))


def edge_label(edges: Collection[float]) -> str:
    """The name of a line at the c of the stability edge, in a legend.

    Args:
        edges: The c at which the line stands, in one panel or in several.

    Returns:
        "c = 2", with momentum m the formula and the value of c, and for several optimizers only what it is; "" where no
        edge is known.
    """
    known = {edge for edge in edges if math.isfinite(edge)}
    if len(known) != 1:
        return "stability edge" if known else ""
    [edge] = known
    return "$c = 2$" if edge == 2 else rf"edge, $c = 2\,(1 + m) = {edge:.3g}$"


def c_label(c_in_words: str) -> str:
    """The learning-rate constant and what it is, for an axis.

    Args:
        c_in_words: As `sharpness_phases.runs.axis.Axis` has it.

    Returns:
        The text, in Matplotlib's mathematics.
    """
    return r"$c = \eta\,\lambda_0$" if c_in_words == "ηλ₀" else r"$c = 2\,\eta\,/\,\eta_{\mathrm{edge}}$"


def octaves(low: float, high: float) -> list[float]:
    """The powers of 2 from low to high, for ticks; of more than ten every second one, or every third, and so on."""
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    stride = -(-(last - first + 1) // _MOST_TICKS)
    return [2.0**k for k in range(first, last + 1, stride)]


def log2_axis(axis: Axis, ticks: list[float], labels: list[str] | None = None) -> None:
    """Make an axis logarithmic with base 2 and ticks at given values, written as plain numbers.

    Args:
        axis: A Matplotlib `XAxis` or `YAxis`.
        ticks: Where ticks stand.
        labels: What they say; the value itself by default.
    """
    set_scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    set_scale("log", base=2)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    texts = labels or [f"{tick:g}" for tick in ticks]
    axis.set_major_formatter(FuncFormatter(lambda value, position: texts[position] if position is not None else ""))

"""Markers of the constants: where a network's boundary is, with a bar; hollow with an arrow where it is censored."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from matplotlib.axes import Axes

from sharpness_phases.analysis.boundaries import side_of
from sharpness_phases.views.panels import Range
from sharpness_phases.views.style import CONSTANT_COLORS, CONSTANT_MARKERS

SIZE = 6.0
"""Points across a marker."""

_SMALLEST, _LARGEST = 4.0, 9.0
"""Points across the markers of the shallowest and the deepest network, where sizes tell depths apart. Chosen by eye:
three in between still are told apart, and the largest do not touch at the distances of the axis."""

_ARROW = 16
"""Length of the arrow of a censored boundary, in points: about two markers."""


def sizes_by_depth(depths: Collection[int]) -> dict[int, float]:
    """The sizes of markers where networks of several depths share a panel.

    Args:
        depths: Their depths.

    Returns:
        Points across by depth, larger for deeper networks; `SIZE` if there is one depth only.
    """
    different = sorted(set(depths))
    if len(different) < 2:
        return dict.fromkeys(different, SIZE)
    return dict(zip(different, np.linspace(_SMALLEST, _LARGEST, len(different)).tolist(), strict=True))


def draw_constant(
    ax: Axes, name: str, c: float, bar: tuple[float, float], height: float, shown: Range, size: float = SIZE
) -> None:
    """Draw one constant of one network.

    Args:
        ax: Where to.
        name: The constant.
        c: Its boundary; 0 or infinite where it is censored: the marker then is hollow and stands at that end of the
            range with an arrow to it.
        bar: Ends of the bar, which stop at the ends of the range; none is drawn where they are NaN.
        height: Vertical coordinate.
        shown: The range of c.
        size: Points across the marker.
    """
    color, side = CONSTANT_COLORS[name], side_of(c)
    if not np.isnan(bar).any():
        ends = np.clip(bar, *shown)
        ax.plot(ends, [height] * 2, color=color, linewidth=2.2, alpha=0.75, zorder=4, solid_capstyle="butt")
    place = float(np.clip(c, *shown))
    if side:
        _draw_arrow(ax, place, height, color, 1 if side == "low" else -1)
    ax.plot(
        place,
        height,
        marker=CONSTANT_MARKERS[name],
        markersize=size,
        color=color,
        markerfacecolor="white" if side else color,
        markeredgecolor=color if side else "white",
        markeredgewidth=1.0 if side else 0.6,
        zorder=5,
        linestyle="none",
        clip_on=False,
    )


def _draw_arrow(ax: Axes, c: float, height: float, color: str, inward: int) -> None:
    """An arrow from inside the range to its end."""
    ax.annotate(
        "",
        xy=(c, height),
        xytext=(inward * _ARROW, 0),
        textcoords="offset points",
        arrowprops={"arrowstyle": "->", "color": color, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 3},
        zorder=4.5,
    )

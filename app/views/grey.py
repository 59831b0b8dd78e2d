"""Colours as greys of the same lightness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, to_rgba_array
from matplotlib.figure import Figure

Color: TypeAlias = str | tuple[float, ...]
"""A colour as Matplotlib takes it: a name, "#rrggbb", or red, green, blue and perhaps opacity between 0 and 1."""

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear red, green, blue: ITU-R BT.709
_ATTRIBUTES = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def grey_of(colors: Color | Sequence[Color] | np.ndarray) -> np.ndarray:
    """The greys that are as light as given colours.

    Args:
        colors: One colour or several.

    Returns:
        Red, green, blue and opacity of each, between 0 and 1: an array of shape (n, 4).
    """
    rgba = to_rgba_array(colors)
    rgb = rgba[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = np.clip(linear @ _LUMINANCE, 0.0, 1.0)
    value = np.where(luminance <= 0.0031308, 12.92 * luminance, 1.055 * luminance ** (1 / 2.4) - 0.055)
    return np.column_stack([value, value, value, rgba[:, 3]])


def make_grey(figure: Figure) -> None:
    """Turn all colours of a figure into greys of the same lightness."""
    for artist in figure.findobj():
        for name in _ATTRIBUTES:
            get, put = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if get is not None and put is not None:
                greys = grey_of(get())
                if len(greys):
                    put(greys if len(greys) > 1 else tuple(greys[0]))
        if isinstance(artist, ScalarMappable) and artist.get_array() is not None:
            colors = artist.get_cmap()
            artist.set_cmap(ListedColormap(grey_of(colors(np.linspace(0, 1, colors.N))), f"grey {colors.name}"))

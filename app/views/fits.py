"""Smooth fits through the boundaries of networks: lines to look at and coefficients to cite; they decide no phase."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial import Polynomial

from sharpness_phases.analysis.boundaries import side_of
from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.views.panels import Over, Panel

_POINTS = 100
"""Points of a line from one end to the other: it looks smooth."""


class Line(NamedTuple):
    """A piece of a fit.

    Attributes:
        c: Along the line, shape (n,).
        heights: Vertical coordinates, shape (n,).
    """

    c: np.ndarray
    heights: np.ndarray


def fitted_boundaries(panel: Panel) -> dict[str, Polynomial]:
    """Least squares through the networks whose boundary is known.

    Args:
        panel: The networks.

    Returns:
        For each constant of `BOUNDARIES` that has such networks log2 c as a polynomial in log2 of the vertical
        coordinate: quadratic where they have four distinct positions or more, linear with two or three, constant with
        one. More networks than positions (equal d/w) determine no higher degree. None along an axis of values, whose
        distances mean nothing.
    """
    fits = {}
    for name in BOUNDARIES if panel.over is not Over.VALUE else ():
        rows = _known(panel, name)
        if len(rows):
            distinct = rows["position"].nunique()
            degree = 2 if distinct > 3 else min(1, distinct - 1)
            fits[name] = Polynomial.fit(np.log2(rows["position"]), np.log2(rows["boundary"]), degree)
    return fits


def fitted_lines(panel: Panel) -> dict[str, list[Line]]:
    """The fits to draw: from network to network, without those stretches that pass or end at a censored one.

    Args:
        panel: The networks.

    Returns:
        The pieces for each constant that has any.
    """
    lines = {}
    for name, fit in fitted_boundaries(panel).items():
        rows = panel.rows[panel.rows["constant"] == name]
        censored = set(rows.loc[[side_of(c) != "" for c in rows["boundary"]], "position"])
        pieces: list[list[float]] = [[]]
        for position in panel.positions:
            pieces = [*pieces, []] if position in censored else [*pieces[:-1], [*pieces[-1], position]]
        lines[name] = [_line(fit, piece[0], piece[-1]) for piece in pieces if len(piece) > 1]
    return {name: pieces for name, pieces in lines.items() if pieces}


def _known(panel: Panel, name: str) -> pd.DataFrame:
    rows = panel.rows
    return rows[(rows["constant"] == name) & (rows["boundary"] > 0) & np.isfinite(rows["boundary"])]


def _line(fit: Polynomial, low: float, high: float) -> Line:
    heights = np.geomspace(low, high, _POINTS)
    return Line(2.0 ** fit(np.log2(heights)), heights)

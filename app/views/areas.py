"""The areas of the phases: their edges pass through the boundary of every network and are straight between networks.

Both axes are logarithmic, so that what is straight in a picture is linear in log2 c over log2 of the vertical
coordinate. Where a network's boundary is censored, the edge is at that end of the range of c; above the highest and
below the lowest network it goes on as it is there.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np

from sharpness_phases.analysis.boundaries import quantile
from sharpness_phases.analysis.phases import BOUNDARIES, Phase
from sharpness_phases.views.panels import Panel, Range, ends_of

Nodes: TypeAlias = np.ndarray
"""One boundary's c at the positions of a panel, shape (positions,), within the range shown."""


class Area(NamedTuple):
    """Where a phase is, at increasing heights; at some it may have no width.

    Attributes:
        phase: The phase.
        heights: Vertical coordinates of the corners, shape (n,).
        left: The c at which the phase begins, shape (n,).
        right: The c at which it ends, shape (n,).
    """

    phase: Phase
    heights: np.ndarray
    left: np.ndarray
    right: np.ndarray


def phase_areas(panel: Panel, shown: Range) -> list[Area]:
    """The areas of all phases, as `analysis.phases.classify` decides whatever the order of the constants.

    Args:
        panel: The networks. Where several share a position, the edges pass through the median of their boundaries.
        shown: The range of c; no area reaches beyond.

    Returns:
        An area for each phase, in the order of `Phase`.
    """
    nodes = [_nodes(panel, name, shown) for name in BOUNDARIES]
    heights = _corners(panel, nodes)
    c_loss, c_sharp, c_max = (_edge(panel.positions, node, heights) for node in nodes)
    low, high = (np.full(len(heights), end) for end in shown)
    # The run diverges beyond c_max whatever the others say: it cuts all other phases off.
    c_loss, c_sharp = np.minimum(c_loss, c_max), np.minimum(c_sharp, c_max)
    first, second = np.minimum(c_loss, c_sharp), np.maximum(c_loss, c_sharp)
    edges = {
        Phase.SHARPNESS_REDUCTION: (low, first),
        Phase.LOSS_CATAPULT: (c_loss, np.maximum(c_loss, c_sharp)),
        Phase.EARLY_SHARPENING: (c_sharp, np.maximum(c_loss, c_sharp)),
        Phase.LOSS_AND_SHARPNESS_CATAPULT: (second, c_max),
        Phase.DIVERGENT: (c_max, high),
    }
    return [Area(phase, heights, *edges[phase]) for phase in Phase]


def _nodes(panel: Panel, name: str, shown: Range) -> Nodes:
    """One boundary at the positions of a panel."""
    rows = panel.rows[panel.rows["constant"] == name].groupby("position", sort=True)["boundary"]
    places = rows.agg(lambda places: quantile(places.tolist(), 0.5)).reindex(panel.positions)
    return np.clip(places.fillna(shown.high).to_numpy(float), *shown)


def _edge(positions: np.ndarray, nodes: Nodes, heights: np.ndarray) -> np.ndarray:
    """The boundary at heights, exact at the positions."""
    curve = 2.0 ** np.interp(np.log2(heights), np.log2(positions), np.log2(nodes))
    at = np.searchsorted(positions, heights).clip(0, len(positions) - 1)
    return np.where(positions[at] == heights, nodes[at], curve)


def _corners(panel: Panel, nodes: list[Nodes]) -> np.ndarray:
    """The heights at which areas have corners: the ends, the networks, and where two boundaries cross between them."""
    z = np.log2(panel.positions)
    crossings = []
    for one, other in combinations(nodes, 2):
        gap = np.log2(one) - np.log2(other)
        between = np.flatnonzero(gap[:-1] * gap[1:] < 0)
        share = gap[between] / (gap[between] - gap[between + 1])
        crossings.append(2.0 ** (z[between] + share * (z[between + 1] - z[between])))
    return np.unique(np.concatenate([ends_of(panel), panel.positions, *crossings]))

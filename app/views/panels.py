"""What the panels of phase diagrams hold: the networks, and the range that is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, cast

import numpy as np
import pandas as pd

from sharpness_phases.analysis.tables import CONSTANTS

MARKED = tuple(name for name in CONSTANTS if name != "c_crit")
"""The constants that have markers, where they are known: all but c_crit, which has pictures of its own."""


class Over(StrEnum):
    """The vertical axis of a phase diagram."""

    WIDTH = "width"
    """1/w, a panel for every depth."""
    DEPTH = "depth"
    """d, a panel for every width."""
    RATIO = "ratio"
    """d/w, all networks pooled in one panel (Kalra & Barkeshli 2023, Sec. 2.2)."""
    VALUE = "value"
    """The values on the axis `sweep.over`, at equal distances, a panel for every network."""


class Panel(NamedTuple):
    """One panel: networks along one line through the plane of depth and width.

    Attributes:
        title: What is fixed.
        rows: Summary rows with a column `position`, the vertical coordinate.
        over: What the coordinate is.
        edge: The c at the optimizer's stability edge (`sharpness_phases.runs.axis.Axis`); NaN where it is not known.
        c_in_words: What c is, as `Axis` has it.
        values: The values on the axis, from the lowest position on; none unless `over` is `VALUE`.
        key: The name of that axis.
    """

    title: str
    rows: pd.DataFrame
    over: Over
    edge: float = 2.0
    c_in_words: str = "ηλ₀"
    values: tuple[float, ...] = ()
    key: str = ""

    @property
    def positions(self) -> np.ndarray:
        """The vertical coordinates of the networks, increasing."""
        return np.sort(self.rows["position"].unique())


class Range(NamedTuple):
    """The range of c that is shown.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float


def panels_of(summary: pd.DataFrame, over: Over | None) -> list[Panel]:
    """Distribute networks over panels.

    Args:
        summary: A table as `analysis.tables.summary_table` returns it.
        over: The vertical axis; by default the width, or the depth where there is one width and several depths.

    Returns:
        The panels, by increasing depth or width.
    """
    depths, widths = sorted(summary["depth"].unique()), sorted(summary["width"].unique())
    if over is None:
        over = Over.DEPTH if len(widths) == 1 and len(depths) > 1 else Over.WIDTH
    if over is Over.RATIO:
        title = "all depths and widths" if len(depths) > 1 else f"depth {depths[0]}"
        return [Panel(title, summary.assign(position=summary["depth"] / summary["width"]), over)]
    if over is Over.DEPTH:
        panels = [(f"width {width}", summary[summary["width"] == width]) for width in widths]
        return [Panel(title, rows.assign(position=rows["depth"].astype(float)), over) for title, rows in panels]
    panels = [(f"depth {depth}", summary[summary["depth"] == depth]) for depth in depths]
    return [Panel(title, rows.assign(position=1.0 / rows["width"]), over) for title, rows in panels]


def panels_along(summary: pd.DataFrame, key: str) -> list[Panel]:
    """Distribute the networks of an experiment along an axis over panels.

    Args:
        summary: A table as `analysis.over.OverFindings` has it.
        key: Its column with the values on the axis.

    Returns:
        A panel for every depth and width; the k-th value stands at 2^k, for an axis that is logarithmic.
    """
    values = list(dict.fromkeys(summary[key]))
    at = {value: 2.0**rank for rank, value in enumerate(values)}
    panels = []
    for (depth, width), rows in summary.groupby(["depth", "width"], sort=True):
        placed = rows.assign(position=rows[key].map(at))
        here = tuple(value for value in values if (rows[key] == value).any())
        panels.append(Panel(f"depth {depth}, width {width}", placed, Over.VALUE, values=here, key=key))
    return panels


class ConstantRow(Protocol):
    """One constant of one network: a row of `analysis.tables.summary_table`; in a `Panel` with its position."""

    depth: int
    boundary: float
    boundary_q25: float
    boundary_q75: float
    position: float


def measured_rows(rows: pd.DataFrame, name: str) -> Iterator[ConstantRow]:
    """The rows of the networks for which a constant is known or censored."""
    return cast(Iterator[ConstantRow], rows[(rows["constant"] == name) & rows["boundary"].notna()].itertuples())


def measured_somewhere(panels: Sequence[Panel], name: str) -> bool:
    """Whether a constant is known or censored for at least one network of the panels."""
    return any(True for panel in panels for _ in measured_rows(panel.rows, name))


def common_range(panels: Sequence[Panel]) -> Range:
    """The range of c with room for all boundaries and the stability edge.

    Args:
        panels: All panels that are drawn on it.

    Returns:
        Whole octaves, with at least half an octave free below the lowest c and 0.3 of one above the highest.
    """
    table = pd.concat([panel.rows for panel in panels])
    values = table[table["constant"].isin(MARKED)][["boundary", "boundary_q25", "boundary_q75"]].to_numpy(float).ravel()
    values = np.append(values, [panel.edge for panel in panels])
    values = values[np.isfinite(values) & (values > 0)]
    return Range(2.0 ** math.floor(np.log2(values.min()) - 0.5), 2.0 ** math.ceil(np.log2(values.max()) + 0.3))


def ends_of(panel: Panel) -> tuple[float, float]:
    """The ends of the vertical axis.

    Around a single network the margin is half an octave; else 0.15 of the closest distance of two networks, and at most
    of an octave, but at least 0.04 of the whole distance, so that no marker lies on the frame and little is drawn where
    nothing was measured.

    Args:
        panel: The networks.

    Returns:
        The lowest and the highest vertical coordinate that is drawn.
    """
    positions = panel.positions
    distances = np.diff(np.log2(positions))
    octaves = max(0.15 * min(1.0, float(distances.min())), 0.04 * float(distances.sum())) if len(distances) else 0.5
    margin = 2.0**octaves
    return positions[0] / margin, positions[-1] * margin

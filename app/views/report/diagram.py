"""What the report's phase diagram tells where a reader points: places of networks, their constants and phases."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.phases import BOUNDARIES, classify
from sharpness_phases.views.by_network import Averaged, Network, censored_sides, measured_constants, networks, written
from sharpness_phases.views.diagram import PhaseDiagram, frame_name
from sharpness_phases.views.panels import Panel, Range, common_range, ends_of
from sharpness_phases.views.pictures import phase_diagram
from sharpness_phases.views.report.rates import Rates

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_VIEW = re.compile(rf'viewBox="0 0 {_NUMBER} {_NUMBER}"')


class Frame(NamedTuple):
    """Where a panel is, in shares of the picture's width and height from its upper left corner.

    Attributes:
        left: Of its left end.
        top: Of its upper end.
        right: Of its right end.
        bottom: Of its lower end.
    """

    left: float
    top: float
    right: float
    bottom: float


def frames_in(svg: Path, panels: int) -> list[Frame]:
    """Where the panels of a phase diagram are in its SVG file.

    Args:
        svg: The file, as `PhaseDiagram.save` writes it.
        panels: Their number.

    Returns:
        A frame for each; none if the file does not say where they are.
    """
    text = svg.read_text(encoding="utf-8")
    view = _VIEW.search(text)
    paths = [re.search(rf'id="{frame_name(k)}">\s*<path d="([^"]*)"', text) for k in range(panels)]
    if view is None:
        return []
    width, height = map(float, view.groups())
    frames = []
    for path in paths:
        if path is None:
            return []
        corners = [(float(x), float(y)) for x, y in re.findall(rf"{_NUMBER} {_NUMBER}", path[1])]
        x, y = [corner[0] / width for corner in corners], [corner[1] / height for corner in corners]
        frames.append(Frame(min(x), min(y), max(x), max(y)))
    return frames


def diagram_data(findings: Findings, svg: Path, rates: Rates) -> dict[str, object] | None:
    """What the diagram tells.

    Args:
        findings: What the runs say, with constants.
        svg: The file of its phase diagram.
        rates: The learning rates that belong to the constants.

    Returns:
        Plain JSON values: for each panel its frame, its axes and its networks; None if the file does not say where its
        panels are.
    """
    diagram: PhaseDiagram = phase_diagram(findings)
    frames = frames_in(svg, len(diagram.panels))
    if not frames:
        return None
    shown = common_range(diagram.panels)
    runs = findings.runs.groupby(["depth", "width"])["run_id"].nunique()
    names = measured_constants(findings.summary)
    found = {(network.depth, network.width): network for network in networks(findings.summary)}
    panels = []
    for frame, panel in zip(frames, diagram.panels, strict=True):
        positions = _positions(panel)
        entries = [
            _entry(found[shape], position, names, rates, int(runs.get(shape, 0))) for shape, position in positions
        ]
        panels.append({"frame": frame, "c": shown, "heights": ends_of(panel), "networks": entries})
    return {"panels": panels}


def _positions(panel: Panel) -> list[tuple[tuple[int, int], float]]:
    """The shapes of a panel's networks with their vertical coordinates, from the lowest on."""
    rows = panel.rows.drop_duplicates(["depth", "width"]).sort_values("position")
    shapes = zip(rows["depth"].tolist(), rows["width"].tolist(), strict=True)
    return list(zip(shapes, rows["position"].tolist(), strict=True))


def _entry(network: Network, position: float, names: Sequence[str], rates: Rates, runs: int) -> dict[str, object]:
    sharpness = rates.sharpness.get((network.depth, network.width), math.nan)
    return {
        "depth": network.depth,
        "width": network.width,
        "height": position,
        "seeds": network.seeds,
        "runs": runs,
        "lambda_0": None if math.isnan(sharpness) else sharpness,
        "rate_per_c": None if math.isnan(sharpness) else rates.at(1.0, sharpness),
        "constants": {name: _told(network.constants[name], rates, sharpness) for name in names},
        "phases": _phases(network),
    }


def _told(row: Averaged, rates: Rates, sharpness: float) -> str:
    """A constant with its spread and its learning rate, such as "3.2 (3–3.4), η = 0.012"."""
    if math.isnan(row.boundary):
        return "not known"
    low, high = map(written, row.bar)
    spread = f" ({low}–{high})" if row.n + row.n_censored > 1 and low != "-" else ""
    sides = "".join(f", {side}" for side in censored_sides(row))
    return f"{written(row.boundary)}{spread}{rates.told(row.boundary, sharpness)}{sides}"


def _phases(network: Network) -> list[tuple[str, float]]:
    """The phases from the smallest c on, each with the c at which it ends; the last has no end, -1."""
    boundaries = [network.constants[name].boundary for name in BOUNDARIES]
    ends = sorted({c for c in boundaries if c > 0 and math.isfinite(c)})
    inside = [math.sqrt(low * high) for low, high in _between(ends)]
    found: list[tuple[str, float]] = []
    for c, end in zip(inside, [*ends, -1.0], strict=True):
        phase = str(classify(c, *boundaries))
        if found and found[-1][0] == phase:
            found.pop()
        found.append((phase, end))
    return found


def _between(ends: Sequence[float]) -> list[Range]:
    """The stretches between increasing c, from far below to far above all."""
    places = [ends[0] / 4, *ends, ends[-1] * 4] if ends else [0.5, 2.0]
    return [Range(low, high) for low, high in zip(places[:-1], places[1:], strict=True)]

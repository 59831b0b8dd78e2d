"""The regimes of one long run, as contiguous segments of its steps, found in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from sharpness_phases.analysis.regime_borders import refined
from sharpness_phases.analysis.regime_pass import STATES, labels, stretches
from sharpness_phases.analysis.regime_terms import Regime, RegimeSettings, Segment
from sharpness_phases.analysis.regime_trend import blocks_of, trend_of
from sharpness_phases.runs.trajectory import DIVERGENCE_LOSS, Trajectory

__all__ = ["Regime", "RegimeSettings", "Segment", "agreement", "regimes"]

_RECENT = (20, 0.1)
"""Recent losses, above which a loss leaves: so many steps, and at least this share of the steps so far."""


def regimes(run: Trajectory, edge: float | np.ndarray, settings: RegimeSettings | None = None) -> list[Segment]:
    """Label every step of a run.

    With r_t = lambda_t / edge_t (docs/science.md, "Regimes of a long run"): the run begins with an early transient;
    then r is about constant (saturation, or the edge of stability where the level is near 1), rises steadily
    (progressive sharpening) or falls steadily (declining), in any order, and a regime may come again. A run that
    diverges is divergent from where its loss leaves for good.

    Labels are found in one forward pass: that of step t depends on the run up to some tens of measurements after t or,
    late in a run, up to 2.6 t at most (docs/science.md), and not on what comes then. Single outliers of loss or
    sharpness begin no regime.

    Args:
        run: Loss and sharpness of every step; the sharpness may be NaN, where it was not measured.
        edge: The stability edge of the optimizer: the sharpness at which training becomes unstable (2 / eta for
            gradient descent; `sharpness_phases.runs.edge`). A number, or one for every step, shape (steps + 1,);
            infinite where the learning rate is 0.
        settings: Thresholds; the defaults if None.

    Returns:
        Segments that cover all steps 0..T, in order, without gaps or overlaps; neighbours differ.

    Raises:
        ValueError: If the edge is not above 0, or has another shape. A run whose sharpness was never measured is
            refused likewise.
    """
    settings = settings or RegimeSettings()
    ratio = run.sharpness / _edges(edge, run.steps + 1)
    if not np.isfinite(ratio).any():
        raise ValueError("Regimes need a sharpness. Received: a run whose sharpness was never measured.")
    leaves = _departure(run)
    segments = _before_departure(ratio[:leaves], run.loss[:leaves], settings)
    if leaves <= run.steps:
        segments.append(Segment(Regime.DIVERGENT, leaves, run.steps + 1))
    return segments


def _edges(edge: float | np.ndarray, count: int) -> np.ndarray:
    """The edge of every step, shape (count,)."""
    edges = np.asarray(edge, np.float64)
    if edges.shape not in ((), (count,)):
        raise ValueError(f"`edge` must be a number, or of shape ({count},) as the run. Received shape: {edges.shape}.")
    if not (edges > 0).all():
        wrong = edges[~(edges > 0)].ravel()[0]
        raise ValueError(f"`edge` must be above 0. Received: {wrong}.")
    return np.broadcast_to(edges, (count,))


def _departure(run: Trajectory) -> int:
    """The step from which the loss is above all recent losses, for good; the number of steps if it never leaves."""
    count = run.steps + 1
    if not (run.diverged or _blows_up(run)):
        return count
    loss = np.where(np.isfinite(run.loss), run.loss, np.inf)
    lowest_from = np.minimum.accumulate(loss[::-1])[::-1]
    steps, share = _RECENT
    for step in range(1, count):
        recent = loss[max(0, step - max(steps, int(share * step))) : step]
        if lowest_from[step] > recent.max():
            return step if step > 1 else 0
    return count - 1


def _blows_up(run: Trajectory) -> bool:
    """Whether the last loss is not finite, or too large beside L_0: the scale of the loss does not matter."""
    first, last = float(run.loss[0]), float(run.loss[-1])
    return not np.isfinite(last) or last > DIVERGENCE_LOSS * first > 0


def _before_departure(ratio: np.ndarray, loss: np.ndarray, settings: RegimeSettings) -> list[Segment]:
    """Segments of the steps before the loss leaves, if it does; r_t and L_t have shape (k,)."""
    if not len(ratio):
        return []
    measured = np.flatnonzero(np.isfinite(ratio))
    if not len(measured):
        return [Segment(Regime.EARLY_TRANSIENT, 0, len(ratio))]
    blocks = blocks_of(measured, ratio[measured], loss[measured], settings.time_scale)
    trend = trend_of(blocks)
    found = refined(labels(blocks, trend, settings), blocks, trend, settings)
    parts = stretches(found)
    changes = np.array([part.start for part in parts[1:]], int)
    # Between two measurements, half of the steps belong to either side.
    starts = [0, *(-(-(blocks.last[changes - 1] + blocks.first[changes]) // 2)).tolist()]
    stops = [*starts[1:], len(ratio)]
    names = [STATES[part.label] for part in parts]
    return [Segment(*parts) for parts in zip(names, starts, stops, strict=True)]


def agreement(labels: Sequence[Sequence[Segment]]) -> float:
    """How well the labels of several runs agree.

    Args:
        labels: Segments of at least two runs, as `regimes` returns them.

    Returns:
        Share of steps with the same label, averaged over all pairs of runs; of two runs the longer one's excess counts
        as different.

    Raises:
        ValueError: If there are fewer than two runs.
    """
    if len(labels) < 2:
        raise ValueError(f"Labels of at least two runs can agree. Received: {len(labels)}.")
    return float(np.mean([_overlap(one, other) for one, other in combinations(labels, 2)]))


def _overlap(one: Sequence[Segment], other: Sequence[Segment]) -> float:
    """Share of the steps of the longer of two runs at which both have the same label."""
    common = sum(
        max(0, min(a.stop, b.stop) - max(a.start, b.start)) for a in one for b in other if a.regime is b.regime
    )
    return common / max(one[-1].stop, other[-1].stop)

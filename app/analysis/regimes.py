"""The four regimes of one long run, as contiguous segments of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

import numpy as np

from sharpness_phases.runs.trajectory import Trajectory


class Regime(StrEnum):
    """A regime of training (Kalra & Barkeshli 2023, Sec. 1; Cohen et al. 2021)."""

    EARLY_TRANSIENT = "early_transient"
    """Loss or sharpness change fast."""
    INTERMEDIATE_SATURATION = "intermediate_saturation"
    """The sharpness is about constant, below 2/eta."""
    PROGRESSIVE_SHARPENING = "progressive_sharpening"
    """The sharpness rises toward 2/eta."""
    EDGE_OF_STABILITY = "edge_of_stability"
    """The sharpness has reached 2/eta and stays around it, or falls again."""
    DIVERGENT = "divergent"
    """The loss is not finite, or above the divergence threshold, at the end."""


class Segment(NamedTuple):
    """Steps start <= t < stop of one regime."""

    regime: Regime
    start: int
    stop: int


@dataclass(frozen=True)
class RegimeSettings:
    """Thresholds, all relative to the run itself.

    Attributes:
        edge_band: A sharpness above (1 - edge_band) 2/eta is near the edge of stability.
        hover_band: It has arrived when it is so near to the level, at most 2/eta, around which it then stays.
        settled: The transient ends when no more than this share of the fall of log lambda to its lowest value is left.
        saturation_band: The sharpness is about constant within (1 + saturation_band) times its lowest value.
        smoothing: Length of the running median, as a share of the run; it removes the noise of single steps.
        hold: Share of the run for which the sharpness must stay near the edge to be there, and which a rise at
            the end must last to be one.
    """

    edge_band: float = 0.15
    hover_band: float = 0.05
    settled: float = 0.2
    saturation_band: float = 0.1
    smoothing: float = 0.01
    hold: float = 0.02


_SHORTEST = 20  # steps of a regime that is more than a fluctuation
_LINGERS = 3  # times as long at the edge is more than passing by


def regimes(run: Trajectory, learning_rate: float, settings: RegimeSettings | None = None) -> list[Segment]:
    """Label every step of a run.

    With r_t = lambda_t eta / 2, smoothed: the early transient lasts until little is left of the fall of r to the lowest
    value that it takes before it reaches the edge (r about 1) from below; saturation, until it leaves the neighbourhood
    of that value for good; progressive sharpening, until it reaches the edge; what follows is the edge of stability. A
    regime that a run does not have is left out.

    Args:
        run: Loss and sharpness of every step; steps without a measured sharpness are interpolated.
        learning_rate: Constant learning rate eta, above 0.
        settings: Thresholds; the defaults if None.

    Returns:
        Segments that cover all steps 0..T, in order, without gaps or overlaps. A diverged run is one `DIVERGENT`
        segment.

    Raises:
        ValueError: If the sharpness was measured at no step, or the learning rate is not above 0.
    """
    if not learning_rate > 0:
        raise ValueError(f"`learning_rate` must be above 0. Received: {learning_rate!r}.")
    end = run.steps + 1
    if run.diverged:
        return [Segment(Regime.DIVERGENT, 0, end)]
    settings = settings or RegimeSettings()
    ratio = _smooth(_interpolate(run.sharpness) * learning_rate / 2, _odd(settings.smoothing * end))
    shortest = max(_SHORTEST, round(settings.hold * end))
    edge = _arrival(ratio, shortest, settings)
    arrives = end if edge is None else edge
    settles, leaves = _plateau(ratio[:arrives], settings)
    # As long as the loss is above where it began, this is still the transient.
    high_loss = np.flatnonzero(run.loss[:arrives] > run.loss[0])
    settles = max(settles, int(high_loss[-1]) + 1 if len(high_loss) else 0, 1)
    leaves = max(leaves, settles)
    if edge is None and arrives - leaves < shortest:
        leaves = arrives  # a rise of a few steps at the end is noise
    if leaves - settles < _SHORTEST and leaves < arrives:
        settles = leaves = max(settles, 1 + int(np.argmin(ratio[:arrives])))  # a turning point is no plateau
    bounds = [0, settles, leaves, max(arrives, settles), end]
    names = list(Regime)[:4]
    parts = (Segment(r, a, min(b, end)) for r, a, b in zip(names, bounds, bounds[1:], strict=False))
    return [segment for segment in parts if segment.stop > segment.start]


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
    common = sum(
        max(0, min(a.stop, b.stop) - max(a.start, b.start)) for a in one for b in other if a.regime is b.regime
    )
    return common / max(one[-1].stop, other[-1].stop)


def _plateau(ratio: np.ndarray, settings: RegimeSettings) -> tuple[int, int]:
    """Where the sharpness settles near its lowest value, and where it leaves that for good.

    A sharpness that falls to the edge and stays there never settles below it: both are then the end.
    """
    if not len(ratio) or np.min(ratio) >= 1 - settings.edge_band:
        return len(ratio), len(ratio)
    bottom = int(np.argmin(ratio))
    top = int(np.argmax(ratio[: bottom + 1]))
    about_lowest = (1 + settings.saturation_band) * ratio[bottom]
    fallen = ratio[bottom] * (ratio[top] / ratio[bottom]) ** settings.settled if ratio[bottom] > 0 else 0.0
    settles = top + int(np.argmax(ratio[top:] <= max(about_lowest, fallen)))
    return settles, int(np.flatnonzero(ratio <= about_lowest)[-1]) + 1


def _interpolate(values: np.ndarray) -> np.ndarray:
    """Fill steps without a measurement from their neighbours."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        raise ValueError("Regimes need a sharpness. Received: a run whose sharpness was never measured.")
    return np.interp(np.arange(len(values)), known, values[known])


def _odd(length: float) -> int:
    return 2 * round((length - 1) / 2) + 1 if length >= 2 else 1


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running median; the window shrinks at the ends."""
    if window < 3:
        return values
    padded = np.pad(values, window // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)


def _arrival(ratio: np.ndarray, shortest: int, settings: RegimeSettings) -> int | None:
    """Step at which the ratio is at the edge, near which it then stays for `shortest` steps; None if it never is.

    Coming from below, it arrives where it reaches the level around which it then hovers. Coming from above, it arrives
    where it stops falling; if it falls below the edge later, it must have risen or lingered before, or it passes by.
    """
    for start, stop in _stretches(ratio >= 1 - settings.edge_band, shortest):
        if start > 0:
            level = min(1.0, float(np.median(ratio[start:stop])))
            return start + int(np.argmax(ratio[start:stop] >= (1 - settings.hover_band) * level))
        soon = np.lib.stride_tricks.sliding_window_view(ratio[:stop], shortest).min(axis=1)
        lands = np.flatnonzero(ratio[: len(soon)] <= (1 + 2 * settings.hover_band) * soon)
        if len(lands):
            hovering = ratio[lands[0] : stop]
            rises = hovering >= (1 + settings.hover_band) * np.minimum.accumulate(hovering)
            if stop == len(ratio) or len(hovering) >= _LINGERS * shortest or np.any(rises):
                return int(lands[0])
    return None


def _stretches(holds: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """Runs of True of at least so many steps, as start <= t < stop."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    pairs = zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)
    return [(start, stop) for start, stop in pairs if stop - start >= shortest]

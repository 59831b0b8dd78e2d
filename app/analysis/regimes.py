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


_IN_ORDER = (
    Regime.EARLY_TRANSIENT,
    Regime.INTERMEDIATE_SATURATION,
    Regime.PROGRESSIVE_SHARPENING,
    Regime.EDGE_OF_STABILITY,
)


class Segment(NamedTuple):
    """Steps start <= t < stop of one regime."""

    regime: Regime
    start: int
    stop: int


@dataclass(frozen=True)
class RegimeSettings:
    """Thresholds, relative to 2/eta, to the run's own sharpness or to its length; r_t = lambda_t eta / 2, smoothed.

    All defaults were chosen by eye, on made-up runs with known regimes (`tests/app/analysis/test_regimes.py`) and on
    the long runs of `configs/laptop/regimes_*.yaml`.

    Attributes:
        edge_band: A step is near the edge of stability where r_t >= 1 - edge_band. A run that hovers lower than that,
            as with small batches, is not recognised; a wider band takes sharpening for the edge.
        hover_band: Relative size of the wobble of r while it hovers. From below, r arrives at the first step at which
            it is within hover_band of the level around which it then stays (at most 1); from above, at the first step
            after which it falls by no more than about 2 hover_band.
        settled: Share s of a fall of log r from its highest to its lowest value: the transient ends where no more than
            s is left of it.
        saturation_band: The sharpness is about constant where r_t <= (1 + saturation_band) min_s r_s.
        smoothing: Length of the running median that r is smoothed with, as a share of the run's steps. It removes the
            noise of single steps; a regime shorter than half of it is smoothed away.
        hold: Share of the run's steps for which r must stay near the edge to have arrived there, and for which it must
            rise at the end of a run that never arrives, for the rise to be progressive sharpening.
    """

    edge_band: float = 0.15
    hover_band: float = 0.05
    settled: float = 0.2
    saturation_band: float = 0.1
    smoothing: float = 0.01
    hold: float = 0.02


_SHORTEST = 20
"""Fewest steps of a regime that is more than a fluctuation; `hold` may ask for more. Chosen so: the labels of the long
runs of `configs/laptop/regimes_tanh.yaml` are the same for 5 to 80, and runs of 10 steps have no edge."""

_LINGERS = 3
"""How many times `shortest` steps near the edge are more than passing by on the way down. From 1 to 6 times, about the
same falls pass by: of 1.2 exp(-t / s) + 0.3 over 1000 steps, those with s below 135 to 160, and with 3 times below 145.
With 10 times it is 260, and a run that is near the edge for a fifth of its steps counts as passing by."""


class _Plateau(NamedTuple):
    """The steps start <= t < stop before the edge at which the sharpness is about constant, at its lowest."""

    start: int
    stop: int


def regimes(run: Trajectory, learning_rate: float, settings: RegimeSettings | None = None) -> list[Segment]:
    """Label every step of a run.

    With r_t = lambda_t eta / 2, smoothed: the early transient lasts until little is left of the fall of r to the lowest
    value that it takes before it reaches the edge (r about 1) from below; saturation, until r leaves the neighbourhood
    of that value for good; progressive sharpening, until r reaches the edge; what follows is the edge of stability. A
    regime that a run does not have is left out.

    Args:
        run: Loss and sharpness of every step; steps without a measured sharpness are interpolated.
        learning_rate: Constant learning rate eta, above 0.
        settings: Thresholds; the defaults if None.

    Returns:
        Segments that cover all steps 0..T, in order, without gaps or overlaps. A diverged run is one `DIVERGENT`
        segment.

    Raises:
        ValueError: If the learning rate is not above 0. A run whose sharpness was never measured is refused likewise.
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
    before = slice(0, end if edge is None else edge)
    plateau = _lowest_plateau(ratio[before], settings)
    plateau = _once_the_loss_is_low(plateau, run.loss[before])
    if edge is None:
        plateau = _up_to_a_late_rise(plateau, end, shortest)
    plateau = _unless_a_turning_point(plateau, ratio[before])
    return _segments(plateau, before.stop, end)


def _segments(plateau: _Plateau, edge: int, end: int) -> list[Segment]:
    """The regimes as segments, from the steps at which they begin; empty ones are left out."""
    # A run that is at the edge from the first step on has a transient of one step all the same.
    bounds = [0, plateau.start, plateau.stop, max(edge, plateau.start), end]
    parts = (Segment(r, a, min(b, end)) for r, a, b in zip(_IN_ORDER, bounds, bounds[1:], strict=False))
    return [segment for segment in parts if segment.stop > segment.start]


def _lowest_plateau(ratio: np.ndarray, settings: RegimeSettings) -> _Plateau:
    """The steps from where r has settled near its lowest value to where it leaves that for good.

    Args:
        ratio: r_t of the steps before the edge, shape (k,).
        settings: Thresholds.

    Returns:
        The plateau. Of a sharpness that falls to the edge and stays there, never settling below it, an empty one at the
        end: all k steps are transient.
    """
    if not len(ratio) or np.min(ratio) >= 1 - settings.edge_band:
        return _Plateau(len(ratio), len(ratio))
    bottom = int(np.argmin(ratio))
    top = int(np.argmax(ratio[: bottom + 1]))
    about_lowest = (1 + settings.saturation_band) * ratio[bottom]
    # Of a deep fall, a share of it on a logarithmic scale may exceed the saturation band: that ends the transient, too.
    fallen = ratio[bottom] * (ratio[top] / ratio[bottom]) ** settings.settled if ratio[bottom] > 0 else 0.0
    settles = top + int(np.argmax(ratio[top:] <= max(about_lowest, fallen)))
    return _Plateau(settles, int(np.flatnonzero(ratio <= about_lowest)[-1]) + 1)


def _once_the_loss_is_low(plateau: _Plateau, loss: np.ndarray) -> _Plateau:
    """The plateau after the last step with L_t > L_0: in a loss catapult the sharpness may settle before the loss."""
    high = np.flatnonzero(loss > loss[:1])
    # Step 0 belongs to the transient in any case.
    start = max(plateau.start, int(high[-1]) + 1 if len(high) else 0, 1)
    return _Plateau(start, max(plateau.stop, start))


def _up_to_a_late_rise(plateau: _Plateau, end: int, shortest: int) -> _Plateau:
    """The plateau of a run that never reaches the edge: a rise in its last few steps is noise, not sharpening."""
    return plateau._replace(stop=end) if end - plateau.stop < shortest else plateau


def _unless_a_turning_point(plateau: _Plateau, ratio: np.ndarray) -> _Plateau:
    """No plateau where a fall turns into a rise within `_SHORTEST` steps: the rise begins at the lowest step."""
    if plateau.stop - plateau.start >= _SHORTEST or plateau.stop >= len(ratio):
        return plateau
    turns = max(plateau.start, 1 + int(np.argmin(ratio)))
    return _Plateau(turns, turns)


def _arrival(ratio: np.ndarray, shortest: int, settings: RegimeSettings) -> int | None:
    """The step at which r is at the edge, near which it then stays for `shortest` steps; None if it never is."""
    for start, stop in _stretches(ratio >= 1 - settings.edge_band, shortest):
        if start > 0:
            return start + _reaches_its_level(ratio[start:stop], settings.hover_band)
        landing = _stops_falling(ratio[:stop], shortest, settings.hover_band)
        # A run that is near the edge to its end is at it; one that falls below must show that it was more than passing.
        if landing is not None and (
            stop == len(ratio) or _has_stayed(ratio[landing:stop], shortest, settings.hover_band)
        ):
            return landing
    return None


def _reaches_its_level(ratio: np.ndarray, band: float) -> int:
    """From below: the first step within a band of the level around which r hovers, its median, but at most the edge."""
    level = min(1.0, float(np.median(ratio)))
    return int(np.argmax(ratio >= (1 - band) * level))


def _stops_falling(ratio: np.ndarray, shortest: int, band: float) -> int | None:
    """From above: the first t with r_t <= (1 + 2 band) min of r over t..t+shortest-1; None if r falls throughout."""
    lowest_soon = np.lib.stride_tricks.sliding_window_view(ratio, shortest).min(axis=1)
    landed = np.flatnonzero(ratio[: len(lowest_soon)] <= (1 + 2 * band) * lowest_soon)
    return int(landed[0]) if len(landed) else None


def _has_stayed(ratio: np.ndarray, shortest: int, band: float) -> bool:
    """From above, of an r that falls below the edge later: whether it lingered, or rose by a band."""
    rises = ratio >= (1 + band) * np.minimum.accumulate(ratio)
    return len(ratio) >= _LINGERS * shortest or bool(np.any(rises))


def _stretches(holds: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """Where a condition holds for at least `shortest` steps on end, each stretch as start <= t < stop."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    pairs = zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)
    return [(start, stop) for start, stop in pairs if stop - start >= shortest]


def _interpolate(values: np.ndarray) -> np.ndarray:
    """Fill steps without a measurement, shape (steps + 1,), linearly from their neighbours.

    Args:
        values: A value for every step, NaN where there was no measurement.

    Returns:
        The same shape; before the first measurement and after the last, that measurement.

    Raises:
        ValueError: If there is no measurement.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        raise ValueError("Regimes need a sharpness. Received: a run whose sharpness was never measured.")
    return np.interp(np.arange(len(values)), known, values[known])


def _odd(length: float) -> int:
    """The odd number nearest to a length, at least 1: a running median needs a middle."""
    return 2 * round((length - 1) / 2) + 1 if length >= 2 else 1


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running median over an odd window; beyond the ends, the end values are repeated."""
    if window < 3:
        return values
    padded = np.pad(values, window // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)


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

"""The four regimes of one long run, as contiguous segments of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from app.trajectory import Trajectory


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
        edge_band: The sharpness has reached the edge of stability at (1 - edge_band) 2/eta.
        saturation_band: The sharpness is about constant within (1 + saturation_band) times its lowest value.
        smoothing: Length of the running median, as a share of the run; it removes the noise of single steps.
        hold: Share of the run for which the sharpness must stay at the edge to have reached it.
    """

    edge_band: float = 0.15
    saturation_band: float = 0.1
    smoothing: float = 0.01
    hold: float = 0.02


def regimes(run: Trajectory, learning_rate: float, settings: RegimeSettings | None = None) -> list[Segment]:
    """Label every step of a run.

    With r_t = lambda_t eta / 2, smoothed: the early transient lasts until r comes near the lowest value that it takes
    before it reaches the edge (r about 1) from below; saturation, until it leaves that neighbourhood for good;
    progressive sharpening, until it reaches the edge; what follows is the edge of stability. A regime that a run does
    not have is left out.

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
    edge = _arrival(ratio, 1 - settings.edge_band, max(1, round(settings.hold * end)))
    before = ratio[: end if edge is None else edge]
    lowest = float(np.min(before)) if len(before) else np.inf
    # A sharpness that falls to the edge and stays there never saturates below it.
    saturates = lowest < 1 - settings.edge_band
    near = np.flatnonzero(before <= (1 + settings.saturation_band) * lowest) if saturates else np.array([], int)
    settled, leaves = (int(near[0]), int(near[-1]) + 1) if len(near) else (len(before), len(before))
    # A sharpness that never drops below the band and a loss that has not yet fallen are both still the transient.
    high_loss = np.flatnonzero(run.loss[:leaves] > run.loss[0])
    settled = max(settled, int(high_loss[-1]) + 1 if len(high_loss) else 0, 1)
    bounds = [0, settled, max(leaves, settled), max(len(before), settled), end]
    if edge is None and len(before) - leaves < _MIN_SHARPENING * end:
        bounds[2] = bounds[3]  # a rise of a few steps at the end is noise
    names = list(Regime)[:4]
    parts = (Segment(r, a, min(b, end)) for r, a, b in zip(names, bounds, bounds[1:], strict=False))
    return [segment for segment in parts if segment.stop > segment.start]


_MIN_SHARPENING = 0.02


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


def _arrival(ratio: np.ndarray, edge: float, hold: int) -> int | None:
    """First step at which the ratio reaches the edge from below, and stays for `hold` steps; None if it never does.

    A run that is never below the edge after its first steps arrives where it stops falling.
    """
    below = np.flatnonzero(ratio < edge)
    if not len(below):
        lowest = float(np.min(ratio))
        return int(np.flatnonzero(ratio <= (2 - edge) * lowest)[0]) if len(ratio) > 2 * hold else None
    start = int(below[0])
    stays = np.convolve(ratio[start:] >= edge, np.ones(hold), mode="valid") >= hold
    arrivals = np.flatnonzero(stays)
    return start + int(arrivals[0]) if len(arrivals) else None

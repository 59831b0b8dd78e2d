"""The regimes of one long run, and the thresholds by which they are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Regime(StrEnum):
    """A regime of training (Kalra & Barkeshli 2023, Sec. 1; Cohen et al. 2021); r_t = lambda_t / edge_t."""

    EARLY_TRANSIENT = "early_transient"
    """From step 0: loss or r changes fast."""
    INTERMEDIATE_SATURATION = "intermediate_saturation"
    """r is about constant, below the edge."""
    PROGRESSIVE_SHARPENING = "progressive_sharpening"
    """r rises steadily."""
    EDGE_OF_STABILITY = "edge_of_stability"
    """r hovers around 1, or, with minibatches, around a level somewhat below."""
    DECLINING = "declining"
    """r falls steadily after the transient, as with cross-entropy once the examples are fitted."""
    DIVERGENT = "divergent"
    """The loss has left for good; always the last one."""


class Segment(NamedTuple):
    """Steps start <= t < stop of one regime."""

    regime: Regime
    start: int
    stop: int


@dataclass(frozen=True)
class RegimeSettings:
    """Thresholds, relative to the edge, to the run's own noise and to the steps so far.

    g = d log r / d log(t + time_scale) is the growth of r: 0.2 means that r grows by a fifth while t grows by 2.7.
    The defaults were chosen on one half of the labelled runs of `tests/labelled_runs.py` and checked on the other;
    docs/science.md has how many come out right, and how many with other values.

    Attributes:
        edge_band: A constant r is at the edge from 1 - edge_band on.
        noise_band: With noise sigma (of log r), from 1 - edge_band - noise_band sigma on, as minibatches hold the
            sharpness somewhat below the edge...
        noise_band_limit: ...but by no more than this below 1 - edge_band.
        arrived: From here on r is at the edge, whether it is constant or not.
        slow: Where |g| is below, r is constant...
        steady: ...and where it is above, r rises or falls steadily; between them, partly both.
        settled: r changes fast where |d log r / dt| is at least this share of the fastest so far: the transient ends
            when it is less.
        level_band: A fall has ended where r is within this share of the level at which it then stays.
        least_change: A rise or a fall of log r by less is none (with 0.1 one of 100 drawn runs more is wrong; with 0.15
            one less, but a labelled run gets another beginning when it goes on)...
        noise_change: ...nor is one by less than this many sigma.
        time_scale: t_0 in steps: before it, growth is judged as at t_0, as a few steps say little.
        shortest: A regime of fewer blocks (see `regime_trend`) is a fluctuation of the one before it.
    """

    edge_band: float = 0.15
    noise_band: float = 2.0
    noise_band_limit: float = 0.15
    arrived: float = 0.96
    slow: float = 0.1
    steady: float = 0.3
    settled: float = 0.2
    level_band: float = 0.15
    least_change: float = 0.12
    noise_change: float = 3.0
    time_scale: float = 60.0
    shortest: int = 8

"""Borders between regimes: what is too short or too small to be a regime, and where exactly one ends.

All of it looks at most `REACH` blocks back from where the forward pass saw a change, or t_0 steps, and `LOOK_AHEAD`
blocks beyond.
"""

from __future__ import annotations

import numpy as np

from sharpness_phases.analysis.regime_pass import (
    DECLINING,
    EDGE,
    LOOK_AHEAD,
    SATURATION,
    SHARPENING,
    TRANSIENT,
    stretches,
)
from sharpness_phases.analysis.regime_ramps import ROUNDING
from sharpness_phases.analysis.regime_rises import reshaped
from sharpness_phases.analysis.regime_terms import RegimeSettings
from sharpness_phases.analysis.regime_trend import Blocks, Trend, smooth

REACH = LOOK_AHEAD
"""Farthest that a border is moved back, as slow rises are seen late: so many blocks, a fifth of the steps so far. Early
in a run, `time_scale` steps if they are more."""

_LEVEL = 16  # blocks whose median is the level that a fall arrives at
_WORTH = 14.0
"""A plateau between transient and rise must make the residual smaller by this much in units of its own variance: one
that explains no more than the rise drawn back to the transient does is none. With 8, noise makes plateaus."""

_TURN = 2.5  # a fall that ends at t and turns into a rise before 2.5 t has no plateau between, if it is short as well


def refined(found: np.ndarray, blocks: Blocks, trend: Trend, settings: RegimeSettings) -> np.ndarray:
    """The labels with better borders.

    Args:
        found: Labels of n blocks, from `regime_pass.labels`, shape (n,).
        blocks: The run.
        trend: Its local trend.
        settings: Thresholds.

    Returns:
        Labels, shape (n,).
    """
    found = _large_enough(found, blocks, trend, settings)
    found = _long_enough(found, settings.shortest // 2)
    found = _arrivals(found, blocks, settings)
    found = _bends(found, blocks, settings)
    return reshaped(_long_enough(found, settings.shortest), blocks, trend, settings)


def _large_enough(found: np.ndarray, blocks: Blocks, trend: Trend, settings: RegimeSettings) -> np.ndarray:
    """A rise or a fall begins to count when it exceeds the noise within the look-ahead; before, the old label stays."""
    level = smooth(blocks.value, 2)
    least = np.maximum(settings.least_change, settings.noise_change * trend.wide_noise)
    out = found.copy()
    for label, start, stop in stretches(found):
        if start == 0 or label not in (SHARPENING, DECLINING) or out[start - 1] == label:
            continue
        ahead = np.minimum(np.arange(start, stop) + LOOK_AHEAD, stop - 1)
        sign = 1 if label == SHARPENING else -1
        # Before a rise there may be a sudden fall: a rise counts from the lowest level on, a fall from the highest.
        change = sign * level[ahead] - np.minimum.accumulate(sign * level[start - 1 : stop - 1])
        enough = np.flatnonzero(change >= least[start:stop])
        begins = max(start, start + int(enough[0]) - REACH) if len(enough) else stop
        out[start:begins] = out[start - 1]
    return out


def _long_enough(found: np.ndarray, shortest: int) -> np.ndarray:
    """What is shorter gets the label before it; the first stretch, the transient, may have any length."""
    out = found.copy()
    for _, start, stop in stretches(found):
        if start and stop - start < shortest:
            out[start:stop] = out[start - 1]
    return out


def _arrivals(found: np.ndarray, blocks: Blocks, settings: RegimeSettings) -> np.ndarray:
    """A fall to a level ends where r comes within `level_band` of it, at most `LOOK_AHEAD` blocks earlier."""
    out = found.copy()
    for before, after in zip(stretches(found), stretches(found)[1:], strict=False):
        if before.label not in (TRANSIENT, DECLINING) or after.label not in (SATURATION, EDGE):
            continue
        level = np.median(blocks.value[after.start : after.start + _LEVEL])
        start = max(before.start + 1, after.start - REACH)
        if before.label == TRANSIENT:
            lifted = np.flatnonzero(blocks.lifted[: after.start])  # a loss catapult belongs to the transient
            start = max(start, int(lifted[-1]) + 1) if len(lifted) else start
        away = np.abs(blocks.value[start : after.start] - level) >= np.log1p(settings.level_band)
        last = start + int(np.flatnonzero(away)[-1]) + 1 if away.any() else start
        out[last : after.start] = after.label
        if before.label == TRANSIENT and last >= after.start:  # the fall is not over yet
            above = blocks.value[after.start : after.stop] - level >= np.log1p(settings.level_band)
            out[after.start : after.start + (int(np.argmin(above)) if not above.all() else 0)] = TRANSIENT
    return out


def _bends(found: np.ndarray, blocks: Blocks, settings: RegimeSettings) -> np.ndarray:
    """A constant level ends, and a steady change begins, where a constant and a line fit best, side by side."""
    out, level = found.copy(), smooth(blocks.value, 2)
    for before, after in zip(stretches(found), stretches(found)[1:], strict=False):
        if before.label not in (SATURATION, EDGE) or after.label not in (SHARPENING, DECLINING):
            continue
        stop = min(after.stop, after.start + LOOK_AHEAD)
        farthest = max(before.start + 1, after.start - _reach(blocks, after.start, settings.time_scale))
        base = max(before.start, farthest - LOOK_AHEAD)
        turns = (before.label, after.label) == (SATURATION, SHARPENING)
        # A rise begins at its lowest step at the earliest.
        first = farthest + int(np.argmin(level[farthest : after.start])) if turns else farthest
        candidates = range(first, max(first + 1, stop - 3))
        residuals = [_misfit(blocks, base, bend, 0) + _misfit(blocks, bend, stop, 1) for bend in candidates]
        best = int(np.argmin(residuals))
        bend = candidates[best]
        between = turns and base == before.start > 0 and found[base - 1] == TRANSIENT
        if between:
            rounding = (stop - base) * ROUNDING**2
            allowed = (residuals[best] + rounding) * (1 + _WORTH / (stop - base))
            bend = base if _misfit(blocks, base, stop, 1) + rounding <= allowed else bend
        if between and bend - base < REACH and blocks.step[bend] < _TURN * blocks.step[base]:
            bend = base
        out[bend : after.start] = after.label
        out[after.start : bend] = before.label
    return out


def _reach(blocks: Blocks, border: int, steps: float) -> int:
    """By how many blocks a border may be moved back."""
    return max(REACH, border - int(np.searchsorted(blocks.step, blocks.step[border] - steps)))


def _misfit(blocks: Blocks, start: int, stop: int, degree: int) -> float:
    """Sum of squared residuals of log r around a constant (degree 0), or around a line in t (degree 1)."""
    t, value = blocks.step[start:stop], blocks.value[start:stop]
    if stop - start <= degree:
        return 0.0
    value = value - value.mean()
    misfit = float(value @ value)
    if degree:
        t = t - t.mean()
        misfit -= float(t @ value) ** 2 / float(t @ t)
    return max(misfit, 0.0)

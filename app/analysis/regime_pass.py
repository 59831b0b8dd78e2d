"""The forward pass: how badly each regime fits each block of a run, and the cheapest sequence of regimes.

A block costs between 0 and about 1 for each regime, and a change of regime costs `_CHANGE`. The label of a block is
that of the cheapest sequence that ends `LOOK_AHEAD` blocks later: what comes after that changes it no more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sharpness_phases.analysis.regime_terms import Regime, RegimeSettings
from sharpness_phases.analysis.regime_trend import Blocks, Trend

STATES = (
    Regime.EARLY_TRANSIENT,
    Regime.INTERMEDIATE_SATURATION,
    Regime.PROGRESSIVE_SHARPENING,
    Regime.EDGE_OF_STABILITY,
    Regime.DECLINING,
)
"""The regimes among which the pass chooses; a label is an index into them."""

TRANSIENT, SATURATION, SHARPENING, EDGE, DECLINING = range(len(STATES))

LOOK_AHEAD = 24
"""Blocks by which a label waits: so many measurements early in a run, later a quarter of the steps so far. With 12 or
16 blocks, a twentieth of the labelled runs more is wrong; with 32, none more is right."""

_CHANGE = 5.0
"""Cost of a change of regime: so many blocks must speak against the old one. From 4 to 6, about as many labels are
right."""

_EDGE_FIRST, _DECLINE_FIRST = 1.0, 16.0
"""What it costs more to go from the transient to the edge, or to a decline: a transient passes by the edge, and its
end is a slow fall itself, of an exponential one for 50 to 70 blocks. With 3 or 6 for the first, up to three short
stays at the edge are lost; from 10 to 24 for the second, as many labels are right."""

_UNSURE, _LEAST_WEIGHT = 0.15, 0.2
"""Where the error of g is `_UNSURE`, a block weighs half; at least `_LEAST_WEIGHT`. With 0.08 for the first, as many
labelled runs are right, with 0.3 three fewer; with 0.1 for the second, one of 100 drawn runs more is wrong."""

_UNSURE_SHARE = 0.25
"""Where |g| is large, its error may be, too: a block weighs half where it is this share of |g|. Without, falls at the
end of some dozens of measurements are missed; with 0.33, as many runs are right."""

_SURELY = 2.0
"""The fastest change so far is the largest that noise does not explain: |g| less so many errors. With 0, two
of 240 random runs more are wrong, as noise hides the transient's tail; with 1, five; with 3, as many are right."""

_STILL_FALLING = 0.4
"""Cost of a block of the transient in which r falls, though slowly, for each |g|: a fall of two e-folds after the
transient is a decline, one of a quarter is the end of the transient."""

_RISE_IN_TRANSIENT, _FAST_RISE = 0.3, 20.0
"""Cost of a block of the transient in which r rises by a factor e within `_FAST_RISE` steps, as in a catapult."""

_SURGE = (0.8, 1.1)
"""A rise is one of the transient, as in a catapult, partly where g is above the first and wholly above the second: r
grows faster than the steps do, which no straight line from a level above 0 does."""

_REBOUND = 0.15
"""Rise of log r after a fall, beyond the noise, by which the transient is surely over, however unsure the growth is."""

_HOVERS = 0.7
"""Cost of a block of the transient in which r is at the edge and does not surely fall. Of the short stays at the edge
before examples are fitted with cross-entropy, 0.5 leaves two to the transient."""

_HIGH_DECLINE = 0.15
"""Cost of a decline at the edge: r may fall there and rise again. From 0.1 to 0.25, as many labels are right."""

_SURE_RISE = (0.06, 0.14)
"""A rise whose g in a wide window, less twice its error, is between these is partly steady, and wholly above: of rises
that begin with the transient's end, 0.1 for the first takes a fifth for plateaus at first, and 0.04 finds rises in the
slow drift of minibatch runs."""

_FALLS_AT_EDGE, _ABOVE_EDGE, _FAR_ABOVE = 0.05, 0.2, (1.15, 1.35)
"""Small costs at the edge, for a steady fall, and for r above it: they decide only where nothing else does."""

_NOT_FLAT_AT_EDGE = 0.35
"""Cost of the edge where r is below it and not constant: between a wave around the edge, 0, and a rise, 1."""


class Stretch(NamedTuple):
    """Blocks start <= i < stop with one label."""

    label: int
    start: int
    stop: int


def stretches(found: np.ndarray) -> list[Stretch]:
    """The stretches of equal labels, in order."""
    borders = [0, *(np.flatnonzero(np.diff(found)) + 1).tolist(), len(found)]
    return [Stretch(int(found[start]), start, stop) for start, stop in zip(borders, borders[1:], strict=False)]


def labels(blocks: Blocks, trend: Trend, settings: RegimeSettings) -> np.ndarray:
    """The regime of every block.

    Args:
        blocks: A run of n blocks.
        trend: Its local trend.
        settings: Thresholds.

    Returns:
        Indices into `STATES`, shape (n,). The first is the transient, which never comes again.
    """
    return _cheapest(_costs(blocks, trend, settings))


def _ramp(values: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1."""
    return np.clip(values, 0.0, 1.0)


def _costs(blocks: Blocks, trend: Trend, settings: RegimeSettings) -> np.ndarray:
    """Cost of each regime at each block, shape (n, 5)."""
    g, error = trend.growth, trend.error
    level = np.exp(np.minimum(trend.level, 5.0))
    span = settings.steady - settings.slow
    rises, falls = _ramp((g - settings.slow) / span), _ramp((-g - settings.slow) / span)
    # A slow rise that is sure is steady, too.
    surely = trend.wide_growth - 2 * trend.wide_error
    low, high = _SURE_RISE
    rises = np.maximum(rises, _ramp((surely - low) / (high - low)))
    flat = 1 - np.maximum(rises, falls)
    lowered = np.minimum(settings.noise_band_limit, settings.noise_band * trend.noise)
    near = _ramp((level - (1 - settings.edge_band - lowered)) / 0.06 + 0.5)
    arrived = _ramp((level - settings.arrived) / 0.06 + 0.5)
    approaches = np.maximum(rises, _approach(trend, settings) * (near > 0))
    weight = np.maximum(1 / (1 + (error / np.maximum(_UNSURE, _UNSURE_SHARE * _steadily(trend))) ** 2), _LEAST_WEIGHT)

    at_edge = np.maximum(arrived, near * (1 - _NOT_FLAT_AT_EDGE * weight * (1 - np.minimum(flat, 1 - approaches))))
    low, high = _FAR_ABOVE
    ties = _FALLS_AT_EDGE * falls + _ABOVE_EDGE * _ramp((level - low) / (high - low))
    costs = np.empty((len(g), len(STATES)))
    falling = _ramp(_significance(-trend.wide_growth, trend.wide_error))
    hovers = _HOVERS * arrived * (1 - falling)
    over = np.maximum(_rebound(blocks, trend), hovers) * (1 - blocks.lifted)
    costs[:, TRANSIENT] = np.maximum(weight * _transient_cost(blocks, trend, falls, settings), over)
    costs[:, SATURATION] = weight * (1 - flat * (1 - near))
    # A level is sure where a growth is not, so that it has its full weight.
    costs[:, SHARPENING] = np.maximum(weight * (1 - approaches), _ramp((level - settings.arrived) / 0.07))
    costs[:, EDGE] = 1 - at_edge + weight * ties
    costs[:, DECLINING] = weight * (1 - falls) + _HIGH_DECLINE * arrived
    return costs


def _steadily(trend: Trend) -> np.ndarray:
    """|g|, as far as the widest window has it, too."""
    return np.minimum(np.abs(trend.growth), np.maximum(np.sign(trend.growth) * trend.wide_growth, 0.0))


def _significance(growth: np.ndarray, error: np.ndarray) -> np.ndarray:
    """0 where a growth is twice its error, 1 where it is four times."""
    return growth / np.maximum(error, 1e-9) / 2 - 1


def _approach(trend: Trend, settings: RegimeSettings) -> np.ndarray:
    """Whether r, near the edge but not there, surely rises at a rate that takes it there while t doubles or so."""
    to_go = np.maximum(-trend.level, 0.03)
    sure = _ramp(_significance(trend.growth, trend.error))
    return np.where(trend.level < np.log(settings.arrived + 0.01), _ramp(trend.growth / to_go - 0.5) * sure, 0.0)


def _rebound(blocks: Blocks, trend: Trend) -> np.ndarray:
    """Whether r, after its fall from its highest value so far, has risen again by more than the noise: 0 to 1."""
    lowest = np.empty(len(blocks.value))
    highest = low = -np.inf
    for block, value in enumerate(blocks.value.tolist()):
        low = value if value > highest else min(low, value)
        highest = max(highest, value)
        lowest[block] = low
    return _ramp((blocks.value - lowest) / (_REBOUND + trend.noise) / 0.4 - 2)


def _transient_cost(blocks: Blocks, trend: Trend, falls: np.ndarray, settings: RegimeSettings) -> np.ndarray:
    """Cost of the transient: none where r falls fast, or while the loss is above L_0."""
    g, time = trend.growth, blocks.step + settings.time_scale
    rate = np.abs(g) / time
    errors = _SURELY if len(g) > LOOK_AHEAD else 0.0  # fewer blocks say too little about the noise
    known = trend.error < 0.5 * np.abs(g)
    surely = np.maximum(np.abs(g) - errors * np.where(known, trend.error, 0.0), 0.0) * known / time
    fastest = np.maximum(np.maximum.accumulate(surely), 1e-12)
    # A fall that is slow beside the noise is seen in a wide window only, and a bend in a narrow one.
    narrow = _ramp(rate / fastest / settings.settled - 0.5) * _ramp(_significance(-g, trend.error))
    # A wide window may mix a fall with the level after it that a narrow one is sure of, but for slow falls at the edge.
    unseen = np.where(trend.level > np.log(settings.arrived), -settings.slow, np.inf)
    left_open = np.maximum(trend.wide_growth, np.minimum(g - 3 * trend.error, unseen))
    share = -left_open / time / fastest
    wide = _ramp(share / settings.settled - 0.5) * _ramp(_significance(-left_open, trend.wide_error))
    fast = np.maximum(narrow, wide)
    slow_fall = 1 - falls * (1 - np.minimum(1, _STILL_FALLING * np.abs(g)))
    low, high = _SURGE
    steep = np.maximum(_ramp(rate * _FAST_RISE - 0.5), _ramp((g - low) / (high - low)))
    rise = np.where(g > 0, 1 - (1 - _RISE_IN_TRANSIENT) * steep, 1.0)
    return np.minimum(np.minimum(1 - fast, slow_fall), rise) * (1 - blocks.lifted)


def _change_costs() -> np.ndarray:
    """Cost of going from one regime (row) to another (column)."""
    change = np.full((len(STATES), len(STATES)), _CHANGE)
    np.fill_diagonal(change, 0.0)
    change[TRANSIENT, EDGE] += _EDGE_FIRST
    change[TRANSIENT, DECLINING] += _DECLINE_FIRST
    change[1:, TRANSIENT] = np.inf
    return change


def _cheapest(costs: np.ndarray) -> np.ndarray:
    """The label of each block in the cheapest sequence up to `LOOK_AHEAD` blocks later (Viterbi, with a fixed lag)."""
    n = len(costs)
    change = _change_costs()
    total = np.full(len(STATES), np.inf)
    total[TRANSIENT] = 0.0
    came_from = np.zeros((n, len(STATES)), np.int64)
    found = np.zeros(n, np.int64)
    for block in range(1, n):
        ways = total[:, None] + change
        came_from[block] = ways.argmin(axis=0)
        total = ways.min(axis=0) + costs[block]
        if block > LOOK_AHEAD:
            decided = _walk_back(came_from, block, np.arange(len(STATES)), LOOK_AHEAD)[-1]
            found[block - LOOK_AHEAD] = label = decided[total.argmin()]
            if label != TRANSIENT:  # then no sequence counts that was
                total[decided == TRANSIENT] = np.inf
    rest = min(LOOK_AHEAD, n - 1)
    if rest:
        last = _walk_back(came_from, n - 1, np.array([total.argmin()]), rest - 1)
        found[n - rest :] = np.concatenate(last)[::-1]
    return found


def _walk_back(came_from: np.ndarray, block: int, ends: np.ndarray, count: int) -> list[np.ndarray]:
    """The states at a block of some sequences, and at so many blocks before, backwards; each of the shape of `ends`."""
    states = [ends]
    for earlier in range(block, block - count, -1):
        states.append(came_from[earlier, states[-1]])
    return states

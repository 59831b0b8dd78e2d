"""What a forward pass over the regimes sees of a run: log r_t on a grid of blocks, and its local growth.

Blocks are single measurements first and then longer, in proportion to the steps so far: runs of 50 and of 50,000 steps
have 50 to about 700 of them, and a regime is seen on the same logarithmic scale in all. The growth

    g = d log r / d log(t + t_0)

says by how many e-folds r grows while t grows by one: it has no unit, and does not depend on the scale of r or of t
where t is much above t_0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 0.01
"""Length of a block, as a share of the steps so far. With 0.007 and 0.015, as many labelled runs come out right."""

_HALF_WIDTHS = (3, 6, 12, 18)
"""Half widths of the windows in which a growth is fitted, in blocks: the narrowest is taken whose error is small
enough. Without the widest, noise of 10% breaks plateaus into pieces."""

WIDEST_SIDE = 24
"""Longest reach of a window to one side, in blocks: twice the widest half width that is used on one side only."""

_PRECISE, _DECISIVE = 0.1, 0.25
"""A window is wide enough where the error of g is below `_PRECISE`, or below `_DECISIVE` |g|. With half or twice as
much, as many labels are right."""

_SHARPER = 0.7
"""A window on one side of a block is taken where its residual is below this share of the window's around the block: at
a bend or a jump, what is before it and what is after it are not mixed. From 0.5 to 0.9, as many labels are right."""

_FEWEST = 3  # points that a line and an error can be fitted to
_SMALLEST_RATIO = 1e-6  # a sharpness of 0, as of a dead network, has a logarithm all the same
_ROUNDING = 1e-5  # residual of log r below which a fit is as good as exact


class Blocks(NamedTuple):
    """The measurements of a run, in n blocks.

    Attributes:
        first: Step of the first measurement of each block, shape (n,).
        last: Step of its last one.
        step: Mean step t.
        time: log(t + t_0).
        value: Mean of log r_t, with alternations of period 2 and single outliers taken out.
        scatter: Root mean square of log r_t around that, alternations included.
        measured: Number of measurements, as a float.
        lifted: Share of the measurements at which the loss is above L_0, single outliers taken out.
    """

    first: np.ndarray
    last: np.ndarray
    step: np.ndarray
    time: np.ndarray
    value: np.ndarray
    scatter: np.ndarray
    measured: np.ndarray
    lifted: np.ndarray


class Trend(NamedTuple):
    """The local trend of log r at every block.

    Attributes:
        growth: g, shape (n,).
        error: Its standard error; infinite where there are too few points.
        level: log r there, a running median over nine blocks.
        wide_growth: g in the widest window, which noise moves least and bends most.
        wide_error: Its standard error.
        noise: Spread of log r_t around the fitted lines, a running median.
        wide_noise: Its spread around lines over 25 blocks, slow fluctuations included, a running median.
    """

    growth: np.ndarray
    error: np.ndarray
    level: np.ndarray
    wide_growth: np.ndarray
    wide_error: np.ndarray
    noise: np.ndarray
    wide_noise: np.ndarray


class _Lines(NamedTuple):
    """Lines fitted in a window around each block, by weighted least squares."""

    growth: np.ndarray
    error: np.ndarray
    residual: np.ndarray
    level: np.ndarray


def blocks_of(steps: np.ndarray, ratio: np.ndarray, loss: np.ndarray, time_scale: float) -> Blocks:
    """Measurements in blocks.

    Args:
        steps: Steps at which the sharpness was measured, rising, shape (k,), k >= 1; the first one is taken as t = 0.
        ratio: r_t there.
        loss: L_t there; its first value is L_0.
        time_scale: t_0, in steps.

    Returns:
        The blocks.
    """
    log_ratio = _without_outliers(np.log(np.maximum(ratio, _SMALLEST_RATIO)))
    starts = _starts(steps)
    count = np.diff(np.append(starts, len(steps)))

    def mean(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts) / count

    value = mean(_without_alternation(log_ratio))
    step = mean(steps.astype(np.float64))
    return Blocks(
        first=steps[starts],
        last=steps[starts + count - 1],
        step=step,
        time=np.log(step + time_scale),
        value=value,
        scatter=np.sqrt(mean((log_ratio - np.repeat(value, count)) ** 2)),
        measured=count.astype(np.float64),
        lifted=mean((_without_outliers(loss) > loss[0]).astype(np.float64)),
    )


def _starts(steps: np.ndarray) -> np.ndarray:
    """Index of the first measurement of each block."""
    starts = [0]
    while True:
        here = starts[-1]
        beyond = max(here + 1, int(np.searchsorted(steps, steps[here] * (1 + BLOCK))))
        if beyond >= len(steps):
            return np.array(starts)
        starts.append(beyond)


def _without_outliers(values: np.ndarray) -> np.ndarray:
    """The median of every value and the second ones before and after it: an alternation of period 2 stays."""
    if len(values) < 3:
        return values
    padded = np.pad(values, 2, mode="reflect")
    return np.median(np.stack([padded[:-4], values, padded[4:]]), axis=0)


def _without_alternation(values: np.ndarray) -> np.ndarray:
    """Weights 1/4, 1/2, 1/4, which cancel period 2; the first value stays, as transients begin steeply."""
    padded = np.pad(values, 1, mode="edge")
    smooth = (padded[:-2] + 2 * values + padded[2:]) / 4
    smooth[0] = values[0]
    return smooth


def trend_of(blocks: Blocks) -> Trend:
    """The local trend at every block, from windows of up to `WIDEST_SIDE` blocks to either side.

    Args:
        blocks: A run.

    Returns:
        Growth, its error, level and noise.
    """
    wide_spread = np.hypot(blocks.scatter, _lines(blocks, WIDEST_SIDE // 2).residual)
    best = _lines(blocks, _HALF_WIDTHS[0])
    inflation = _inflation(blocks)
    growth, error, level = best.growth, best.error * inflation, best.level
    for half in _HALF_WIDTHS[1:]:
        wider = _lines(blocks, half)
        wider_error = wider.error * inflation
        poor = (error > np.maximum(_PRECISE, _DECISIVE * np.abs(growth))) & (wider_error < error)
        growth = np.where(poor, wider.growth, growth)
        error = np.where(poor, wider_error, error)
        level = np.where(poor, wider.level, level)
    noise = _running_median(blocks.scatter + np.abs(blocks.value - level), 8)
    level = _running_median(blocks.value, 4)
    wide_noise = _running_median(wide_spread, 4)
    return Trend(growth, error, level, wider.growth, wider_error, noise, wide_noise)


def _lines(blocks: Blocks, half: int) -> _Lines:
    """Lines in windows of 2 half + 1 blocks: around each block or, where they fit better, before or after it."""
    n = len(blocks.value)
    here = np.arange(n)
    found = _fit(blocks, np.maximum(0, here - half), np.minimum(n, here + half + 1))
    if 2 * half > WIDEST_SIDE:
        return found
    sides = (
        (here >= 2 * half, np.maximum(0, here - 2 * half), here + 1),
        (here + 2 * half < n, here, np.minimum(n, here + 2 * half + 1)),
    )
    for whole, start, stop in sides:
        side = _fit(blocks, start, stop)
        better = whole & (side.residual < _SHARPER * found.residual)
        found = _Lines(*(np.where(better, new, old) for new, old in zip(side, found, strict=True)))
    return found


def _fit(blocks: Blocks, start: np.ndarray, stop: np.ndarray) -> _Lines:
    """Lines through the blocks start <= i < stop, shape (n,) each."""
    x, y, w = blocks.time, blocks.value, blocks.measured
    sums = (_between(np.cumsum(v), start, stop) for v in (w, w * x, w * y, w * x * x, w * x * y, w * y * y))
    total, sx, sy, sxx, sxy, syy = sums
    mean_x, mean_y = sx / total, sy / total
    spread = np.maximum(sxx / total - mean_x**2, 1e-12)
    growth = (sxy / total - mean_x * mean_y) / spread
    variance = np.maximum(syy / total - mean_y**2 - growth**2 * spread, 0) + _ROUNDING**2
    points = stop - start
    free = np.maximum(points - 2, 1)
    known = points >= _FEWEST
    error = np.where(known, np.sqrt(variance / spread / free), np.inf)
    residual = np.where(known, np.sqrt(variance * points / free), np.inf)
    return _Lines(growth, error, residual, mean_y + growth * (x - mean_x))


def _inflation(blocks: Blocks) -> np.ndarray:
    # By how much errors are larger than of independent residuals: with correlation rho^k between residuals k blocks
    # apart, as of noise that forgets itself slowly, sqrt((1 + rho) / (1 - rho)). rho is estimated at a distance of 3
    # blocks, over which the smoothing no longer reaches; where it is small there, the smoothing makes it 1/2.
    n = len(blocks.value)
    here = np.arange(n)
    residual = blocks.value - _fit(blocks, np.maximum(0, here - 8), np.minimum(n, here + 9)).level
    start, stop = np.maximum(0, here - WIDEST_SIDE), np.minimum(n, here + WIDEST_SIDE + 1)
    power = _between(np.cumsum(residual**2), start, stop)
    products = np.zeros(n)
    products[: max(0, n - 3)] = residual[:-3] * residual[3:]
    common = _between(np.cumsum(products), start, np.maximum(stop - 3, start))
    at_three = np.clip(common / np.maximum(power, 1e-14), 0, 0.9)
    rho = np.where(at_three > 0.25, np.cbrt(at_three), 0.5)
    return np.sqrt((1 + rho) / (1 - rho))


def _between(cumulated: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sums over start <= i < stop, from cumulated sums."""
    padded = np.concatenate([[0.0], cumulated])
    return padded[stop] - padded[start]


def _running_median(values: np.ndarray, half: int) -> np.ndarray:
    """Median over windows of 2 half + 1; beyond the ends, the end values are repeated."""
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)


def smooth(values: np.ndarray, half: int) -> np.ndarray:
    """Mean over windows of 2 half + 1 values; beyond the ends, the end values are repeated.

    Args:
        values: Shape (n,).
        half: Half width of the windows.

    Returns:
        The means, shape (n,).
    """
    padded = np.pad(values, half, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1).mean(axis=1)

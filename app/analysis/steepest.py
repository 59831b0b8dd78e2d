"""c_crit of one curve, where its sharpness starts the steep fall, with an interval.

c_crit = argmax_c chi'(c) (Kalra & Barkeshli 2023, Sec. 3). The start of a fall lies before its steepest point: the
argmax is taken up to the largest chi, beyond which chaotic runs at large c bend the curve up and down, and where chi'
is known to be above zero: chi' is a slope per unit of c, and at small c the noise makes huge ones.

The interval is a test turned round: it reaches from the first to the last c at which chi' may be as large as at the
argmax, by a 95% test of their difference. It is then widened by how uncertain the place of the whole curve is, as
initialisations fall at different c: t quantile times the standard error of their shifts along log2 c. Half a step of
the grid is added on either side, as nothing was measured between.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sharpness_phases.analysis.averaging import Measured
from sharpness_phases.analysis.critical import Constant
from sharpness_phases.analysis.smoothing import Curve, SmoothCurve

_CERTAIN = 3.0
"""Standard deviations above zero from which chi or chi' is taken for more than noise: the largest of the noise at 200
points of a curve rarely exceeds three."""

_POSSIBLE = 2.0
"""Standard deviations above zero from which a maximum of chi' may hold c_crit: its 95% interval is above zero."""

_FLAT = 1e-6
"""Where the curve changes by no more than this share of its largest value, it does not fall: that is rounding."""

_NORMAL = 1.96
"""97.5% quantile of the normal distribution: ends of a 95% interval."""

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5% quantiles of Student's t distribution of 1 to 9 degrees of freedom."""

_NEAR = 1.0
"""Octaves around c_crit in which initialisations are compared: as wide as most falls."""


class Interval(NamedTuple):
    """A 95% interval on the axis of c; NaN where there is none.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float


NO_INTERVAL = Interval(math.nan, math.nan)


class Fall(NamedTuple):
    """The points of a curve between which c_crit is sought.

    Attributes:
        allowed: Which points they are, shape (points,).
        best: The one at which chi' is largest.
    """

    allowed: np.ndarray
    best: int


def fall_of(curve: SmoothCurve) -> Fall | None:
    """Where the sharpness begins to fall steeply.

    Args:
        curve: The curve.

    Returns:
        The stretches of chi' > 0 up to the largest chi that may hold c_crit, and the place of the largest chi' that is
        certainly above zero; where none is, all stretches of chi' > 0, and the place where it is most likely so. None
        where the sharpness does not fall.
    """
    certain = curve.chi > _CERTAIN * curve.chi_sd
    if np.ptp(curve.ratio) <= _FLAT * np.max(np.abs(curve.ratio)) or not certain.any():
        return None
    steepest = int(np.argmax(np.where(certain, curve.chi, -np.inf)))
    slope = curve.chi_prime[: steepest + 1]
    padded = np.concatenate(
        [[-np.inf], slope, [curve.chi_prime[steepest + 1] if steepest + 1 < len(curve.c) else -np.inf]]
    )
    peaks = np.flatnonzero((slope >= padded[:-2]) & (slope >= padded[2:]))
    if not len(peaks):
        return Fall(np.arange(len(curve.c)) == steepest, steepest)
    score = slope[peaks] / np.maximum(curve.chi_prime_sd[peaks], np.finfo(float).tiny)
    if (score > _CERTAIN).any():
        best = int(max(peaks[score > _CERTAIN], key=lambda peak: slope[peak]))
        possible = peaks[score > _POSSIBLE]
    else:
        best, possible = int(peaks[np.argmax(score)]), peaks
    return Fall(_stretches(slope > 0, possible, len(curve.c)), best)


def _stretches(positive: np.ndarray, peaks: np.ndarray, points: int) -> np.ndarray:
    """The points that are connected to a peak by positive ones, and the peaks themselves."""
    label = np.cumsum(~positive)
    allowed = np.zeros(points, bool)
    allowed[: len(positive)] = positive & np.isin(label, label[peaks])
    allowed[peaks] = True
    return allowed


def c_crit_of(curve: SmoothCurve, fall: Fall | None) -> Constant:
    """c_crit; censored `low` at the first point of the curve, `high` at the last one and without a fall."""
    if fall is None or fall.best == len(curve.c) - 1:
        return Constant(math.nan, "high")
    if fall.best == 0:
        return Constant(math.nan, "low")
    return Constant(float(2.0 ** _vertex(np.log2(curve.c), curve.chi_prime, fall.best)))


def _vertex(x: np.ndarray, values: Curve, index: int) -> float:
    """The place of a maximum between points: that of the parabola through the largest value and its neighbours."""
    before, at, after = values[index - 1 : index + 2]
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(x[index] + min(max(shift, -1.0), 1.0) * (x[index + 1] - x[index - 1]) / 2)


def interval_of(curve: SmoothCurve, fall: Fall, measured: Measured) -> Interval:
    """The 95% interval of c_crit.

    Args:
        curve: The curve.
        fall: Where it falls.
        measured: What it was fitted to, from several initialisations; one has no interval.

    Returns:
        The interval, within the measured c.
    """
    if len(measured.initialisations) < 2:
        return NO_INTERVAL
    gap = curve.chi_prime - curve.chi_prime[fall.best]
    possible = curve.c[fall.allowed & (gap + _NORMAL * curve.gap_sd(fall.best) >= 0)]
    place = _t(len(measured.initialisations) - 1) * _error_of_place(curve, fall, measured)
    around = 2.0 ** (place + float(np.median(np.diff(np.log2(measured.c)))) / 2)
    return Interval(float(max(possible[0] / around, curve.c[0])), float(min(possible[-1] * around, curve.c[-1])))


def _error_of_place(curve: SmoothCurve, fall: Fall, measured: Measured) -> float:
    """Standard error of the mean of the initialisations' shifts, in octaves.

    Near c_crit every initialisation is, to first order, r_i(x) = m(x) + l_i - s_i m'(x), shifted by s_i octaves: s_i is
    its slope over -m'.

    Args:
        curve: m.
        fall: Where it falls.
        measured: What it was fitted to.

    Returns:
        The error; 0 where fewer than two initialisations reach c_crit.
    """
    x = np.log2(measured.c)
    slope = np.interp(x, np.log2(curve.c), -math.log(2) * curve.c * curve.chi)
    near = np.abs(x - math.log2(curve.c[fall.best])) <= _NEAR
    shifts = []
    for row in measured.initialisations:
        known = near & np.isfinite(row)
        if known.sum() > 2:
            design = np.column_stack([np.ones(known.sum()), -slope[known]])
            shifts.append(np.linalg.lstsq(design, (row - measured.ratio)[known], rcond=None)[0][1])
    return float(np.std(shifts, ddof=1) / math.sqrt(len(shifts))) if len(shifts) > 1 else 0.0


def _t(freedom: int) -> float:
    """97.5% quantile of Student's t distribution; beyond the table by the expansion of Cornish and Fisher (1938)."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)

"""The saturated sharpness averaged over initialisations, and how large its noise is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_MOST_REPLICATES = 60
"""Largest number of independent differences that the measured noise counts for: it may be wrong by 20%, as the noise
of real curves is not the same at all c."""

_NEIGHBOURS = 5
"""Differences on either side from which the noise at one c is measured. Chosen so: eleven give it to about 30%."""

_EVEN = 0.05
"""Share of the average noise that every c has at least, so that no c is taken for exact by chance."""


class Measured(NamedTuple):
    """A curve's measurements, averaged.

    Attributes:
        c: Learning-rate constants, increasing, shape (k,).
        ratio: The average at each, shape (k,).
        noise: The variance of its noise up to a common factor, shape (k,).
        variance: That factor, 0 where it is not known.
        differences: How many independent differences it was measured from.
        initialisations: Those that were averaged, a row each, shape (n, k), NaN where one has diverged.
    """

    c: np.ndarray
    ratio: np.ndarray
    noise: np.ndarray
    variance: float
    differences: float
    initialisations: np.ndarray


def averaged(c: np.ndarray, ratios: np.ndarray) -> Measured:
    """The average over initialisations, of which some may end earlier than others.

    An initialisation that diverges has no value from there on (NaN) and drops out. As initialisations lie on different
    levels, a plain mean of those that are left would jump there: the average is the m(c) of the least-squares fit
    r_i(c) = m(c) + l_i with sum of all l_i = 0, which is the mean wherever none is missing.

    Args:
        c: Learning-rate constants, increasing, shape (k,).
        ratios: One row an initialisation, shape (n, k); NaN where it has diverged.

    Returns:
        The average at every c that some initialisation has reached.
    """
    reached = np.isfinite(ratios).any(axis=0)
    c, ratios = c[reached], ratios[:, reached]
    levels = _levels(ratios)
    mean = np.nanmean(ratios - levels[:, None], axis=0)
    count = np.isfinite(ratios).sum(axis=0)
    noise, variance, differences = _noise(np.log2(c), ratios - levels[:, None] - mean, count)
    return Measured(c, mean, noise / count, variance, differences, ratios)


def _levels(ratios: np.ndarray) -> np.ndarray:
    """The l_i, shape (n,)."""
    n, k = ratios.shape
    rows, columns = np.nonzero(np.isfinite(ratios))
    if len(rows) == n * k:
        return np.zeros(n)  # the mean needs none
    design = np.zeros((len(rows) + 1, k + n))
    design[np.arange(len(rows)), columns] = 1
    design[np.arange(len(rows)), k + rows] = 1
    design[-1, k:] = 1
    return np.linalg.lstsq(design, np.append(ratios[rows, columns], 0.0), rcond=None)[0][k:]


def _noise(x: np.ndarray, deviations: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The noise of one initialisation, from how far its deviation from the average is from that of its neighbours.

    Args:
        x: log2 c, shape (k,).
        deviations: From the average, shape (n, k), NaN where missing. What is smooth in them, as of initialisations
            that fall at different c, cancels.
        count: Number of initialisations at each x, shape (k,).

    Returns:
        The shape of the variance over x (mean about 1), shape (k,), the variance itself, and the number of differences.
    """
    k = len(x)
    left = (x[2:] - x[1:-1]) / (x[2:] - x[:-2])
    gaps = deviations[:, 1:-1] - left * deviations[:, :-2] - (1 - left) * deviations[:, 2:]
    repeated = np.minimum(np.minimum(count[:-2], count[1:-1]), count[2:])
    known = np.isfinite(gaps) & (repeated > 1)
    if not known.any():
        return np.ones(k), 0.0, 0.0
    # The average holds 1/m of every deviation: their squares are too small by (m - 1) / m.
    scale = (1 + left**2 + (1 - left) ** 2) * (1 - 1 / np.maximum(repeated, 2))
    squares = np.where(known, gaps, 0.0) ** 2 / scale
    sums, numbers = squares.sum(axis=0), known.sum(axis=0)
    variance = float(sums.sum() / numbers.sum())
    if variance <= 0:
        return np.ones(k), 0.0, 0.0
    near = np.abs(np.arange(k)[:, None] - np.arange(1, k - 1)) <= _NEIGHBOURS
    counted = near @ numbers
    local = np.where(counted > 0, near @ sums / np.maximum(counted, 1) / variance, 1.0)
    freedom = (1 - 1 / count.max()) * numbers.sum() / 2  # neighbouring differences share measurements
    return (1 - _EVEN) * local + _EVEN, variance, min(freedom, _MOST_REPLICATES)

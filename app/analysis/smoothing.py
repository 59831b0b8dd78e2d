"""A smooth curve through noisy measurements, its first two derivatives in c, and how well they are known.

The curve r is a Gaussian process over x = log2 c with a Matern covariance of order 7/2, an unknown constant as its mean
and independent noise (Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2 and 4). How
smooth it is and how large the noise is are not set but weighed: the length is one of `LENGTHS`, the noise one of
`NOISES`, and each pair counts by its marginal likelihood, so that a sharp fall is smoothed over a short length and a
wide one over a long one. Where initialisations were repeated, how far they scatter about their own mean from one c to
the next says how large the noise is. Everything is in closed form; there are no random numbers.

With the natural logarithm l of 2, dr/dc = r' / (l c) and d2r/dc2 = (r'' / l^2 - r' / l) / c^2, the primes of r being
derivatives in x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.polynomial import Polynomial

from sharpness_phases.analysis.averaging import Measured

Curve: TypeAlias = np.ndarray
"""Values at the points of a curve, shape (points,)."""

LENGTHS = 2.0 ** np.arange(-2.5, 3.1, 0.5)
"""Lengths over which curves change, in octaves of c: from below two steps of the default grid to more than the grid."""

NOISES = 10.0 ** np.arange(-11, 2.1, 0.5)
"""Variances of the noise relative to that of the curve. The smallest stands for none: below it, rounding of the
covariance (relative 1e-16, condition numbers of 1e11) shows in the derivatives of curves without noise."""

FINENESS = 3
"""Points of a curve from one measured c to the next; between them a parabola finds the place of a maximum."""

_NEGLIGIBLE = 2e-3
"""Pairs of length and noise with less than this share of the best one's likelihood are left out."""

_L = math.log(2.0)
_ORDER_7_2 = Polynomial([1, 1, 2 / 5, 1 / 15])


@dataclass(frozen=True)
class SmoothCurve:
    """A curve over c with its derivatives, weighed over lengths and noises.

    Attributes:
        c: The points p, increasing: the measured c and `FINENESS` - 1 between any two of them.
        fits: The curves of single lengths and noises.
        weights: What each counts; their sum is 1.
    """

    c: Curve
    fits: list[_Fit]
    weights: np.ndarray

    @cached_property
    def ratio(self) -> Curve:
        """The ratio r at the points."""
        return self._mean([fit.ratio for fit in self.fits])

    @cached_property
    def chi(self) -> Curve:
        """-dr/dc at the points."""
        return self._mean([fit.chi for fit in self.fits])

    @cached_property
    def chi_prime(self) -> Curve:
        """dchi/dc at the points."""
        return self._mean([fit.chi_prime for fit in self.fits])

    @cached_property
    def chi_sd(self) -> Curve:
        """Standard deviation of chi, given the measurements."""
        return self._sd([fit.chi for fit in self.fits], [fit.chi_variance for fit in self.fits])

    @cached_property
    def chi_prime_sd(self) -> Curve:
        """Standard deviation of chi', given the measurements."""
        return self._sd([fit.chi_prime for fit in self.fits], [fit.chi_prime_variance for fit in self.fits])

    def gap_sd(self, index: int) -> Curve:
        """Standard deviation of chi'(p) - chi'(q), given the measurements, for every point p.

        Args:
            index: That of the point q.

        Returns:
            The standard deviations.
        """
        gaps = [fit.chi_prime - fit.chi_prime[index] for fit in self.fits]
        return self._sd(gaps, [fit.gap_variance(index) for fit in self.fits])

    def _mean(self, curves: list[Curve]) -> Curve:
        return self.weights @ np.array(curves)

    def _sd(self, curves: list[Curve], variances: list[Curve]) -> Curve:
        """Of a mixture: what each fit leaves open, and how far the fits are apart."""
        apart = np.array(curves) - self._mean(curves)
        return np.sqrt(np.maximum(self.weights @ (np.array(variances) + apart**2), 0.0))


def smooth(measured: Measured) -> SmoothCurve:
    """Fit a curve and its derivatives.

    Args:
        measured: The measurements, of which there are at least three.

    Returns:
        The curve.
    """
    k = len(measured.c)
    x = np.interp(np.arange(FINENESS * (k - 1) + 1) / FINENESS, np.arange(k), np.log2(measured.c))
    fits = [_Fit(prior, noise) for prior in (_Prior(length, measured, x) for length in LENGTHS) for noise in NOISES]
    likelihoods = np.array([fit.likelihood for fit in fits])
    weights = np.exp(likelihoods - likelihoods.max())
    kept = np.flatnonzero(weights > _NEGLIGIBLE)
    return SmoothCurve(2.0**x, [fits[i] for i in kept], weights[kept] / weights[kept].sum())


class _Prior:
    """All curves of one length at once: what does not depend on the noise.

    With the covariance K of the k measurements and the shape V of their noise, V^-1/2 K V^-1/2 = U diag(w) U^T, so that
    (K + g V)^-1 = V^-1/2 U diag(1 / (w + g)) U^T V^-1/2 for every g.

    Args:
        length: In octaves of c.
        measured: The measurements.
        x: log2 of the points.
    """

    def __init__(self, length: float, measured: Measured, x: np.ndarray) -> None:
        self.length, self.measured, self.x = length, measured, x
        at = np.log2(measured.c)
        root = np.sqrt(measured.noise / measured.noise.mean())
        covariance = _matern(at[:, None] - at, length)[0] / root[:, None] / root
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        self.eigenvalues = np.maximum(values, 0.0)
        self.y, self.one = vectors.T @ (measured.ratio / root), vectors.T @ (1 / root)
        between = _matern(x[:, None] - at, length)
        c = 2.0 ** x[:, None]
        to_ratio, to_chi = between[0], -between[1] / (_L * c)
        to_chi_prime = -(between[2] / _L**2 - between[1] / _L) / c**2
        self.to_ratio, self.to_chi, self.to_chi_prime = (
            (rows / root) @ vectors for rows in (to_ratio, to_chi, to_chi_prime)
        )

    def chi_variance(self) -> Curve:
        """Variance of chi at the points, of a curve of unit variance without measurements."""
        return -_matern(np.zeros(1), self.length)[2] / (_L * 2.0**self.x) ** 2

    def chi_prime_covariance(self, index: int) -> Curve:
        """Covariance of chi' at the points with that at one of them; that of r' with r'' cancels."""
        derivatives = _matern(self.x - self.x[index], self.length)
        return (derivatives[4] / _L**4 - derivatives[2] / _L**2) / (2.0**self.x * 2.0 ** self.x[index]) ** 2

    def chi_prime_variance(self) -> Curve:
        """Variance of chi' at the points."""
        at_zero = _matern(np.zeros(1), self.length)
        return (at_zero[4] / _L**4 - at_zero[2] / _L**2) / 2.0 ** (4 * self.x)


class _Fit:
    """The curve of one length and one noise, given the measurements.

    The variance a^2 of the curve is that of the largest likelihood; the constant has a flat prior, which the likelihood
    integrates out (Rasmussen & Williams 2006, Sec. 2.7).

    Args:
        prior: Of the length.
        noise: Variance of the noise, relative to that of the curve.
    """

    def __init__(self, prior: _Prior, noise: float) -> None:
        measured, k = prior.measured, len(prior.y)
        self._prior = prior
        self._inverse = 1 / (prior.eigenvalues + noise)
        self._weight = float(prior.one @ (self._inverse * prior.one))
        self._constant = float(prior.one @ (self._inverse * prior.y)) / self._weight
        rest = prior.y - self._constant * prior.one
        self._solution = self._inverse * rest
        # The measured variance is that of the noise, chi-squared distributed: as good as so many more measurements.
        freedom, variance = measured.differences, measured.variance * float(measured.noise.mean())
        squares = float(rest @ self._solution) + freedom * variance / noise
        self._amplitude = max(squares / (k - 1 + freedom), np.finfo(float).tiny)
        self.likelihood = -0.5 * (
            (k - 1 + freedom) * math.log(self._amplitude)
            + freedom * math.log(noise)
            - float(np.log(self._inverse).sum())
            + math.log(self._weight)
        )

    @cached_property
    def ratio(self) -> Curve:
        """The ratio r at the points."""
        return self._constant + self._prior.to_ratio @ self._solution

    @cached_property
    def chi(self) -> Curve:
        """-dr/dc at the points."""
        return self._prior.to_chi @ self._solution

    @cached_property
    def chi_prime(self) -> Curve:
        """dchi/dc at the points."""
        return self._prior.to_chi_prime @ self._solution

    @cached_property
    def chi_variance(self) -> Curve:
        """Variance of chi."""
        return self._left(self._prior.chi_variance(), self._prior.to_chi, self._prior.to_chi)

    @cached_property
    def chi_prime_variance(self) -> Curve:
        """Variance of chi'."""
        rows = self._prior.to_chi_prime
        return self._left(self._prior.chi_prime_variance(), rows, rows)

    def gap_variance(self, index: int) -> Curve:
        """Variance of chi'(p) - chi'(q) for every point p, where q is the point at an index."""
        rows = self._prior.to_chi_prime
        shared = self._left(self._prior.chi_prime_covariance(index), rows, rows[index])
        return self.chi_prime_variance + self.chi_prime_variance[index] - 2 * shared

    def _left(self, before: Curve, rows: np.ndarray, others: np.ndarray) -> Curve:
        """A covariance: before measuring, less what the measurements tell, more what the constant leaves open."""
        told = (rows * others) @ self._inverse
        constant = (rows @ (self._inverse * self._prior.one)) * (others @ (self._inverse * self._prior.one))
        return self._amplitude * (before - told + constant / self._weight)


def _matern(distance: np.ndarray, length: float) -> list[np.ndarray]:
    """The Matern covariance of order 7/2 and unit variance, and its first four derivatives.

    k(d) = (1 + z + 2 z^2 / 5 + z^3 / 15) exp(-z) with z = sqrt(7) |d| / length. The derivative of q(z) exp(-z) in z is
    (q' - q)(z) exp(-z); odd derivatives in d have the sign of d.

    Args:
        distance: The distances d, in octaves.
        length: In octaves.

    Returns:
        Five arrays of the shape of the distances.
    """
    rate = math.sqrt(7) / length
    z, sign, q = rate * np.abs(distance), np.sign(distance), _ORDER_7_2
    derivatives = []
    for order in range(5):
        value = q(z) * np.exp(-z) * rate**order
        derivatives.append(value * sign if order % 2 else value)
        q = q.deriv() - q
    return derivatives

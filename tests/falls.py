"""Made-up falls of the saturated sharpness whose c_crit is known, to audit its estimate.

`python tests/falls.py 200` prints the bias without noise and the coverage of the 95% interval of 200 experiments for
each kind of noise (a few minutes for each; docs/reliability.md). Seeds are the caller's: `python tests/falls.py 200 7`.
"""

import sys
from functools import cache
from math import erf

import numpy as np

from sharpness_phases.analysis.saturation import saturation_curves

X = np.round(np.arange(-1, 6.01, 0.1), 10)
"""The default grid, log2 c."""

_FINE = np.arange(-7, 9, 0.001)
_ERF = np.vectorize(erf)


def _steepness(c_0, octaves):
    """The k for which the logistic function of k (c - c_0) falls from 90 to 10% within so many octaves around c_0."""
    return 4.394 / (c_0 * (2 ** (octaves / 2) - 2 ** (-octaves / 2)))


FALLS = {
    "logistic in log c": lambda c, w: 1 / (1 + c ** (4.394 / w / np.log(2))),
    "normal in log c": lambda c, w: 0.5 - 0.5 * _ERF(np.log2(c) * 2.563 / w / np.sqrt(2)),
    "logistic in c": lambda c, w: 1 / (1 + np.exp(np.clip(_steepness(1, w) * (c - 1), -500, 500))),
    "constant, then linear": lambda c, w: -np.logaddexp(0, _steepness(1, w) * (c - 1)) / _steepness(1, w),
    "algebraic in c": lambda c, w: -_steepness(1, w) * (c - 1) / np.sqrt(4 + (_steepness(1, w) * (c - 1)) ** 2),
}
"""Shapes around c = 1, w octaves wide."""


@cache
def _offset(shape, octaves):
    """log2 of the c_crit of a shape around c = 1, by differences on a fine grid."""
    c = 2.0**_FINE
    chi = -np.gradient(FALLS[shape](c, octaves), c)
    slope = np.gradient(chi, c)[5 : np.argmax(chi[5:-5]) + 5]
    return _FINE[5 + np.argmax(slope)]


def curve(shape, octaves, c_crit, x=X):
    """A fall of 0.7 from about 1, at log2 c = x; those that never end fall by so much within three octaves."""
    octaves = round(octaves, 3)

    def values(x):
        return FALLS[shape](2.0 ** (x - np.log2(c_crit) + _offset(shape, octaves)), octaves)

    shown = np.arange(X[0], min(X[-1], np.log2(c_crit) + 3), 0.02)
    return 0.95 + 0.7 * (values(x) - values(shown).max()) / np.ptp(values(shown))


def some_fall(rng):
    """A shape, its width in octaves and its c_crit: widths from 0.3 to 3, c_crit from 0.7 to 8."""
    shape = list(FALLS)[rng.integers(len(FALLS))]
    return shape, 2 ** rng.uniform(np.log2(0.3), np.log2(3)), 2 ** rng.uniform(np.log2(0.7), 3)


def experiment(rng, fall, noise, shift=0.0, level=0.0, n=4):
    """Ratios of n initialisations, with noise at every c, shifted along log2 c and in level."""
    shape, octaves, c_crit = fall
    rows = [curve(shape, octaves, c_crit * 2 ** rng.normal(0, shift)) + rng.normal(0, level) for _ in range(n)]
    return np.array(rows) + noise * rng.standard_normal((n, len(X)))


def bias(count, seed):
    """Errors of c_crit without noise, in octaves; NaN where it is censored."""
    rng = np.random.default_rng(seed)
    falls = [some_fall(rng) for _ in range(count)]
    return np.array([np.log2(saturation_curves(2.0**X, curve(*f)[None]).c_crit.value / f[2]) for f in falls])


def coverage(count, seed, noise, shift, level, n=4):
    """Whether the interval holds c_crit, its width in octaves, and how many experiments have no c_crit."""
    rng = np.random.default_rng(seed)
    held, widths = [], []
    for _ in range(count):
        fall = some_fall(rng)
        found = saturation_curves(2.0**X, experiment(rng, fall, noise, shift, level, n))
        if not found.c_crit.censored:
            held.append(found.interval.low <= fall[2] <= found.interval.high)
            widths.append(np.log2(found.interval.high / found.interval.low))
    return np.mean(held), np.median(widths), count - len(held)


def main(count=100, seed=2026):
    """Print the audit."""
    errors = bias(count, seed)
    print(f"without noise: largest error {np.nanmax(np.abs(errors)):.3f} octaves, {np.isnan(errors).sum()} censored,")
    print(f"  {(np.abs(errors) < 0.1).mean():.1%} of {count} within a grid step of 0.1")
    print("noise  shift  level  covered  width (octaves)  censored")
    for shift, level in ((0.0, 0.0), (0.1, 0.0), (0.05, 0.03)):
        for noise in (0.001, 0.01, 0.03, 0.06):
            held, width, without = coverage(count, [seed, int(1e4 * noise), int(1e3 * shift)], noise, shift, level)
            print(f"{noise:5g} {shift:6g} {level:6g} {held:8.1%} {width:16.2f} {without:9}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

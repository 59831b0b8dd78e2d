"""Orbits of the uv model with a target, by the exact map instead of by training."""

import numpy as np

from sharpness_phases.analysis.bifurcation import balanced_orbit, relative_sharpness
from sharpness_phases.analysis.uv_orbits import Orbit, Start

START = Start(target=1.0, width=4, r_0=0.25)
GRID = np.round(np.arange(0.8025, 2.03, 0.01), 4)


def exact_orbit(g, first=4000, steps=128):
    """The orbit that training should give; longer transients than there, since they cost nothing."""
    r = balanced_orbit(START.r_0, g, first + steps)[first:]
    if not np.all(np.isfinite(r)):
        return Orbit(g, 2 * g, first, np.empty(0), np.empty(0))
    return Orbit(g, 2 * g, first, r, relative_sharpness(r, g) / g)


def exact_orbits():
    return [exact_orbit(float(g)) for g in GRID]

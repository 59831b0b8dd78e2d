"""The uv model with a target, at the edge of stability and beyond it: the exact map, its cycles, its thresholds.

On the one example (1, y) with L = D^2 / 2, D = f - y, a minimum has lambda = (|u|^2 + |v|^2) / n >= 2 |y| / sqrt(n),
so that one with eta lambda < 2 exists iff eta < sqrt(n) / |y|. Balanced weights, u = v for y > 0 and u = -v for y < 0,
stay balanced, and r = f / y follows a map of one variable with one parameter:

    r' = F(r) = r (1 - g (r - 1))^2,    g = eta |y| / sqrt(n).

r = 1 is the balanced minimum, and F'(1) = 1 - 2g leaves (-1, 1) at g = 1, where eta lambda = 2: the edge of stability.
Beyond it r visits 2, 4, 8, ... values in turn, then values without a period, and from g = 2 on it leaves for infinity.
The uv model's route to chaos: Kalra, He & Barkeshli 2023 (arXiv 2311.02076), Sec. 5; period doubling: Feigenbaum 1978.

F has the critical points 1 + 1 / g, which falls on the repelling fixed point 0, and r_c = (1 + g) / (3 g). Both are
real, so that F has a negative Schwarzian derivative, and the stable cycle attracts r_c if there is one (Singer 1978).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

Values: TypeAlias = float | np.ndarray
"""A number, or an array of numbers."""

DOUBLINGS = 6
"""Period doublings that are computed: up to period 64. Their distances shrink by 4.67 each (Feigenbaum 1978), so that
the limit, extrapolated from the last three, changes by less than 1e-6 with one more."""

_SETTLING = 1024
"""Steps after which r_c has come so near to a cycle that Newton's method finds it. Chosen so: at a threshold, where
it comes nearer slowest, like t^-1/2, the distance is then a few hundredths."""

_SCAN = 16
"""Share of the distance of the last two thresholds in which the next one is looked for: it lies about 16 / 4.67 = 3.4
such steps away, and the cycle is well apart from the shorter one after the first of them."""

_NEWTON_STEPS, _NEWTON_ROUNDING = 50, 16 * np.finfo(np.float64).eps
"""Newton steps at most, and the |F^p(r) - r| per point of a cycle that is rounding. From a start that is a few
hundredths off, six steps come to rounding, for all cycles up to period 256."""


class Threshold(NamedTuple):
    """Where a cycle loses its stability to one of twice its period.

    Attributes:
        period: The new period: 2, 4, 8, ...
        g: The parameter g from which on the new cycle is there.
    """

    period: int
    g: float


def balanced_map(r: Values, g: Values) -> Values:
    """One step of gradient descent from balanced weights: F(r) = r (1 - g (r - 1))^2.

    Args:
        r: f / y, not negative.
        g: eta |y| / sqrt(n).

    Returns:
        f' / y, of the arguments' shape.
    """
    return r * (1 - g * (r - 1)) ** 2


def balanced_slope(r: Values, g: Values) -> Values:
    """Derivative of the balanced map: F'(r) = (1 - d) (1 - d - 2 g r) with d = g (r - 1).

    Args:
        r: f / y.
        g: eta |y| / sqrt(n).

    Returns:
        The derivative, of the arguments' shape.
    """
    kept = 1 - g * (r - 1)
    return kept * (kept - 2 * g * r)


def relative_sharpness(r: Values, g: Values) -> Values:
    """The sharpness in units of the edge: eta mu / 2 = (g / 2) max(3r - 1, 1 - r), mu the Hessian's top eigenvalue.

    From `analysis.uv.top_eigenvalue` with lambda = 2 |f| / sqrt(n). At the minimum, r = 1, it is g.

    Args:
        r: f / y.
        g: eta |y| / sqrt(n).

    Returns:
        eta mu / 2, of the arguments' shape.
    """
    return g / 2 * np.maximum(3 * r - 1, 1 - r)


def balanced_orbit(r_0: Values, g: Values, steps: int) -> np.ndarray:
    """r_t for t = 0..steps.

    Args:
        r_0: Where to start.
        g: eta |y| / sqrt(n).
        steps: Number of steps.

    Returns:
        An array of shape (steps + 1, ...); infinite or NaN once it overflows.
    """
    orbit = [np.broadcast_arrays(np.asarray(r_0, np.float64), g)[0]]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            orbit.append(np.asarray(balanced_map(orbit[-1], g)))
    return np.array(orbit)


def critical_point(g: Values) -> Values:
    """r_c = (1 + g) / (3 g), where F'(r) = 0 and F(r) > 0: the start that every stable cycle attracts.

    Args:
        g: eta |y| / sqrt(n).

    Returns:
        r_c, of the argument's shape.
    """
    return (1 + g) / (3 * g)


def cycle(g: float, period: int) -> np.ndarray:
    """The cycle of a period, stable or just no longer so: r with F^p(r) = r, by Newton's method.

    Args:
        g: eta |y| / sqrt(n).
        period: p, a power of 2.

    Returns:
        The p values of r in the order in which they are visited, shape (p,).

    Raises:
        ValueError: If there is no such cycle near the orbit of the critical point.
    """
    r = float(critical_point(g))
    for _ in range(_SETTLING):
        r = r * (1 - g * (r - 1)) ** 2
    # Where the cycle has just become unstable, r and F^p(r) lie on both sides of it.
    r = (r + float(balanced_orbit(r, g, period)[-1])) / 2
    for _ in range(_NEWTON_STEPS):
        orbit = balanced_orbit(r, g, period)
        missing = float(orbit[-1]) - r
        if abs(missing) <= _NEWTON_ROUNDING * period:
            # Otherwise it is a cycle of half the period, twice.
            if period == 1 or abs(orbit[period // 2] - r) > math.sqrt(np.finfo(np.float64).eps):
                return orbit[:-1]
            break
        slope = multiplier(orbit[:-1], g)
        change = missing / (slope - 1) if slope != 1 else math.nan
        if not abs(change) < 1:  # infinite, not a number, or nowhere near
            break
        r -= change
    raise ValueError(f"No cycle of period {period} near the critical point's orbit at g = {g!r}.")


def multiplier(orbit: np.ndarray, g: float) -> float:
    """Derivative of the iterated map along a cycle, the product of F'(r) over its points.

    Args:
        orbit: The points of the cycle, shape (p,).
        g: eta |y| / sqrt(n).

    Returns:
        (F^p)'(r); the cycle is stable iff it lies between -1 and 1.
    """
    return float(np.prod(balanced_slope(orbit, g)))


def period_doublings(count: int = DOUBLINGS) -> list[Threshold]:
    """The thresholds g at which a cycle of period 1, 2, 4, ... gives way to one of twice its period.

    Each is the root of (F^p)'(r) + 1 on the cycle of period p, which falls from 1 at the cycle's birth.

    Args:
        count: Number of doublings.

    Returns:
        A threshold for each: period 2 at g = 1, period 4 at sqrt(5) - 1, ...
    """
    thresholds: list[Threshold] = []
    before, last = 0.0, 0.0
    for doubling in range(count):
        period = 2**doubling

        def excess(g: float, period: int = period) -> float:
            return multiplier(cycle(g, period), g) + 1

        step = (last - before or 1.0) / _SCAN
        low = last + step
        while excess(low + step) > 0:
            low += step
        before, last = last, bisect(excess, low, low + step)
        thresholds.append(Threshold(2 * period, last))
    return thresholds


def accumulation(thresholds: list[Threshold]) -> float:
    """Where the period doublings end, and orbits without period begin: the limit of the thresholds.

    Args:
        thresholds: At least three of them, in order.

    Returns:
        Their limit as a geometric sequence through the last three has it (Aitken's extrapolation).
    """
    first, second, third = (threshold.g for threshold in thresholds[-3:])
    return third - (third - second) ** 2 / ((third - second) - (second - first))


def divergence_threshold() -> float:
    """The g from which on r leaves for infinity from almost every start.

    r cannot pass the repelling fixed point 1 + 2 / g as long as the map's largest value F(r_c) is below it.

    Returns:
        The root of F(r_c) = 1 + 2 / g, which is 2.
    """
    return bisect(lambda g: float(1 + 2 / g - balanced_map(critical_point(g), g)), 1.0, 3.0)


def lyapunov_exponent(orbit: np.ndarray, g: Values) -> np.ndarray:
    """Mean of log |F'(r)| along an orbit: the rate at which two neighbours part, per step.

    Args:
        orbit: r_t after the transient, shape (steps, ...).
        g: eta |y| / sqrt(n).

    Returns:
        The exponent, of shape (...): below 0 on a stable cycle, above 0 in chaos; NaN where r left for infinity.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slopes = np.abs(balanced_slope(orbit, g))
        # A cycle through the critical point has the slope 0; so that a mean remains, it counts as the smallest number.
        exponents = np.mean(np.log(np.maximum(slopes, np.finfo(np.float64).tiny)), axis=0)
    return np.where(np.all(np.isfinite(orbit), axis=0), exponents, np.nan)


def period_of(orbit: np.ndarray, tolerance: float, apart: float = 0.0) -> int | None:
    """The period of an orbit after its transient.

    Args:
        orbit: r_t, shape (steps,).
        tolerance: Largest difference of two values that count as equal.
        apart: Difference that r_t and r_{t+q} of a cycle have somewhere for every q below its period. An orbit that is
            still on its way to a cycle of period q, now on one side and now on the other, has a smaller one.

    Returns:
        The smallest p, up to half the steps, with r_{t+p} = r_t at all t; None if there is none, or the orbit is still
        on its way.
    """
    nearest = math.inf
    for period in range(1, len(orbit) // 2 + 1):
        difference = float(np.max(np.abs(orbit[period:] - orbit[:-period])))
        if difference <= tolerance:
            return period if nearest >= apart else None
        nearest = min(nearest, difference)
    return None


def bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """A root of a continuous function that changes its sign between two arguments.

    Args:
        function: The function.
        low: Where it has one sign.
        high: Where it has the other, above `low`.

    Returns:
        The root, as exact as floats are.

    Raises:
        ValueError: If the sign is the same at both.
    """
    at_low, at_high = function(low), function(high)
    if at_low == 0 or at_high == 0:
        return low if at_low == 0 else high
    sign = math.copysign(1.0, at_low)
    if not at_high * sign < 0:
        raise ValueError(f"The function has one sign at {low!r} and {high!r}.")
    while low < (middle := (low + high) / 2) < high:
        if sign * function(middle) > 0:
            low = middle
        else:
            high = middle
    return high

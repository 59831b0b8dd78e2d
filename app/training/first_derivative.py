"""Whether the gradient that a network is trained with is the derivative of its loss.

It is not where a gradient is stopped or replaced by intention: SimSiam and BYOL stop that of one view, straight-through
estimators pass one by what has none. Such a gradient is that of no function, and what second derivatives give is then
neither its Jacobian nor a Hessian. No layer alone need show it: each of two outputs may be right, and their product,
which the loss takes, not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from sharpness_phases.curvature.examples import Nested
from sharpness_phases.training.objective import Objective

_SHARES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
"""By how much the loss is to change, relative to it: at the last, float32 leaves about 1e-3 of the slope."""

_AGREES = 5e-3
"""Relative difference of two slopes that are the same."""

_SETTLED_SHARES = 3
"""Successive slopes that must agree with each other: by chance, kinks make two agree."""


class _Slope(NamedTuple):
    """A slope as a share of the gradient's length.

    Attributes:
        central: From both sides.
        apart: How far the slopes of the two sides are from each other.
    """

    central: float
    apart: float


def slopes_along_gradient(objective: Objective, x: Nested, y: Nested) -> list[float]:
    """The slopes of a loss along parts v of its gradient g, over |v|, from values of the loss alone.

    Each is (L(theta + h v) - L(theta - h v)) / (2 h |v|^2), at decreasing h, on which the differences settle; the parts
    are those of the first half of the variables and of the others, as a gradient may be stopped on its way to some.

    Args:
        objective: The loss L; its variables are moved and put back exactly.
        x: Inputs, shape (B, ...), one tensor or nested ones.
        y: Targets, likewise.

    Returns:
        1 where g is the derivative; slopes that settle on nothing, or have no gradient, are left out.
    """
    variables = objective.variables
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        loss = objective.loss(x, y)
    gradient = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    gradient = [tf.convert_to_tensor(part) for part in gradient]
    saved = [tf.identity(variable) for variable in variables]
    middle = (len(variables) + 1) // 2
    try:
        found = [
            _slope(objective, x, y, saved, [g if i in half else tf.zeros_like(g) for i, g in enumerate(gradient)])
            for half in (range(middle), range(middle, len(variables)))
        ]
    finally:
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)
    return [slope for slope in found if slope is not None]


def _slope(
    objective: Objective, x: Nested, y: Nested, weights: list[tf.Tensor], direction: list[tf.Tensor]
) -> float | None:
    squared = math.fsum(float(tf.reduce_sum(tf.square(tf.cast(part, tf.float64)))) for part in direction)
    here = _loss_at(objective, x, y, weights, direction, 0.0)
    size = abs(here) or 1.0
    if not 0 < squared < math.inf or not math.isfinite(size):
        return None
    slopes = list[_Slope]()
    for share in _SHARES:
        step = share * size / squared
        ahead, behind = (_loss_at(objective, x, y, weights, direction, sign * step) for sign in (1, -1))
        length = step * squared
        slopes.append(_Slope((ahead - behind) / (2 * length), abs(ahead - 2 * here + behind) / length))
        if abs(slopes[-1].central - 1) <= _AGREES:
            return 1.0
    return _settled(slopes)


def _loss_at(
    objective: Objective, x: Nested, y: Nested, weights: list[tf.Tensor], direction: list[tf.Tensor], step: float
) -> float:
    for variable, weight, part in zip(objective.variables, weights, direction, strict=True):
        variable.assign(weight + tf.cast(step, weight.dtype) * tf.cast(part, weight.dtype))
    return float(objective.loss(x, y))


def _settled(slopes: list[_Slope]) -> float | None:
    """The first slope, off on both sides, that the ones before it agree with four times better than with 1."""
    for last in range(_SETTLED_SHARES, len(slopes) + 1):
        *_, now = few = [each.central for each in slopes[last - _SETTLED_SHARES : last]]
        off = abs(now - 1)
        # Beside a kink that is nearer than every step, one side is right, and the other off by twice as much.
        if math.isfinite(now) and max(few) - min(few) <= off / 4 and slopes[last - 1].apart <= off:
            return now
    return None

"""What a run looks at again when it has ended: what an estimate left open, and what rounding may have decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import EigenResult
from sharpness_phases.curvature.preconditioned import participation_ratio
from sharpness_phases.runs.questions import ESTIMATE_WOBBLE, risen_again
from sharpness_phases.training.nearest_weights import NearestWeights
from sharpness_phases.training.rounding import shake
from sharpness_phases.training.rows import Row
from sharpness_phases.training.saved_state import raw, state_put_back
from sharpness_phases.training.sharpness_model import SharpnessModel

LEAST_ESTIMATE = 0.5
"""Share of the limit from which on an estimate that has risen again is measured. Chosen so: late in runs of deep
networks with cross-entropy, estimates were as low as half of the truth (`docs/performance.md`)."""

FAR_LOSS, FAR_SHARPNESS = 4.0, 30.0
"""Times the initial loss and lambda_0 above which a sharpness is measured again, at shaken weights. Chosen below what
was seen: where rounding decided, one of them was exceeded at least three times over (`docs/reliability.md`)."""

SHAKE = 32
"""Relative size of the shake of every weight, in units of its last place: as the rounding errors of a forward pass
through eight layers add up to. Chosen so: of 13 sharpnesses that rounding in float32 had made wrong by more than 1e-3,
shakes of 8, 16 and 32 units found 12, 12 and all, and called 23, 30 and 43 of 545 right ones into question."""

WeightsAfter: TypeAlias = Callable[[Sequence[int]], Iterable[object]]
"""Function of some steps' numbers that puts the weights after each of them into the network, one after the other."""


def confirm_estimates(
    table: Row, model: SharpnessModel, nearest: NearestWeights, sharpness_limit: float, weights_after: WeightsAfter
) -> None:
    """Measure on the whole set what a run's estimates leave open, and put it in the table.

    What the sample says has no bound; an answer is not left to it. Measured are the step nearest to the limit, every
    one at which the estimates had risen again towards it (with cross-entropy they fall behind then), and every one that
    may exceed it if its estimate is as far off, below or above, as the farthest of those that were measured: where the
    sample says too much it has other eigenvectors than the whole set, and may as well say too little. Of a run that
    looks at two steps only, at the low end of the grid where little changes, the last is not needed.

    Args:
        table: The run's rows, changed in place.
        model: Its model.
        nearest: The weights of the step that came nearest to the limit.
        sharpness_limit: The limit.
        weights_after: Trains it again.
    """
    if (step := int(nearest.step.numpy())) < 0:
        return
    estimates = table.sharpness.copy()
    known = table.sharpness[1:][np.isfinite(table.residual[1:])]
    if np.nanmax(known, initial=-np.inf) < min(nearest.estimate.numpy(), sharpness_limit):
        model.network.set_weights([weight.numpy() for weight in nearest.weights])
        _measure_into(table, model, step, sharpness_limit)
    while steps := _open_steps(table, estimates, sharpness_limit):
        for step, _ in zip(steps, weights_after(steps), strict=True):
            _measure_into(table, model, step, sharpness_limit)


def _open_steps(table: Row, estimates: np.ndarray, sharpness_limit: float) -> list[int]:
    """The steps whose estimates leave open whether the sharpness exceeds the limit; none if it does elsewhere."""
    if np.any(table.sharpness[1:] > sharpness_limit):
        return []
    estimates, sharpness, residual = estimates[1:], table.sharpness[1:], table.residual[1:]
    known = np.isfinite(residual) & (estimates > 0)
    ratios = sharpness[known] / estimates[known]
    off = max(np.max(ratios, initial=1.0), 1 / np.min(ratios[ratios > 0], initial=1.0))
    looks_at_few = np.count_nonzero(np.isfinite(estimates)) <= 2
    exceeds = (estimates * (1 + ESTIMATE_WOBBLE) * off > sharpness_limit) & (not looks_at_few)
    rises = np.append(False, risen_again(estimates, ESTIMATE_WOBBLE)) & (estimates > LEAST_ESTIMATE * sharpness_limit)
    estimated = np.isnan(residual) & (sharpness == estimates)  # not once measured, as NaN
    return (1 + np.flatnonzero(estimated & (exceeds | rises))).tolist()


def doubt_far_sharpnesses(table: Row, model: SharpnessModel, weights_after: WeightsAfter) -> None:
    """Take back the word "converged" of a sharpness that a shake of the weights by some rounding errors changes.

    Where a network has been driven far, as shortly before it diverges, rounding may move its outputs by as much as the
    curvature needs to be another: the eigenpair is exact, the Hessian is not.

    Args:
        table: The run's rows, changed in place: `converged`, and `products` by what this took.
        model: Its model.
        weights_after: Trains it again.
    """
    loss, sharpness = table.loss, table.sharpness
    far = (loss[1:] > FAR_LOSS * loss[0]) | (sharpness[1:] > FAR_SHARPNESS * sharpness[0])
    steps = (1 + np.flatnonzero(far & (table.converged[1:] > 0))).tolist()
    if not steps:
        return
    with state_put_back(model):
        for step, _ in zip(steps, weights_after(steps), strict=True):
            weights = model.network.get_weights()
            shake(list(map(raw, model.trainable_variables)), SHAKE)
            found = _measure(model, step, float("nan"))
            model.network.set_weights(weights)  # from which training goes on
            table.products[step] += found.hvps
            apart = abs(found.eigenvalue - sharpness[step])
            table.converged[step] = apart <= model.tracker.tolerance / 2 * abs(sharpness[step])


def _measure_into(table: Row, model: SharpnessModel, step: int, sharpness_limit: float) -> None:
    """Measure at the present weights, those after a step, and put it in the table."""
    result = _measure(model, step, sharpness_limit)
    table.sharpness[step], table.residual[step] = result.eigenvalue, result.residual
    table.converged[step] = result.converged
    table.products[step] += result.hvps
    table.participation[step] = participation_ratio(result.eigenvector)


def _measure(model: SharpnessModel, step: int, sharpness_limit: float) -> EigenResult:
    tracker = model.tracker
    found = tracker.measure(tf.constant(step), tf.constant(sharpness_limit, tracker.operator.dtype))
    return found.sharpness.to_python()

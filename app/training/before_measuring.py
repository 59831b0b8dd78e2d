"""What is looked at before a network is measured for the first time."""

from __future__ import annotations

import keras

from sharpness_phases.curvature.examples import Nested, count_of, take
from sharpness_phases.training.data_faults import require_loss
from sharpness_phases.training.noise import require_no_noise
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.precision import require_digits
from sharpness_phases.training.right_derivatives import BatchNorm
from sharpness_phases.training.second_derivatives import CHECKED_EXAMPLES, check_second_derivatives


def require_measurable(
    network: keras.Model, objective: Objective, x: Nested, y: Nested, chunk_size: int | None = None
) -> None:
    """Refuse weights of too few digits, and examples that have no loss, with a `ValueError` that says which it is.

    Args:
        network: A Keras model that is built.
        objective: Its loss.
        x: Inputs, shape (B, ...), one tensor or nested ones.
        y: Targets, likewise, perhaps with weights.
        chunk_size: Number of examples that are looked at at once; None for all.
    """
    require_digits(network)
    require_loss(objective.loss, objective.outputs, x, y, chunk_size or count_of((x, y)))


def verified(network: keras.Model, objective: Objective, x: Nested, y: Nested, batch_norm: BatchNorm) -> bool:
    """Refuse a network that draws random numbers in inference, or whose second derivatives are wrong.

    The first is a `ValueError`, the second a `SecondDerivativeError`, which is one, too.

    Args:
        network: A Keras model that is built.
        objective: Its loss.
        x: Inputs, shape (B, ...), one tensor or nested ones, of which a few are taken.
        y: Targets, likewise, perhaps with weights.
        batch_norm: Which statistics batch normalisation uses.

    Returns:
        Whether all was found right; False where noise of rounding hid the answer.
    """
    require_no_noise(network, lambda: objective.outputs(take(x, slice(CHECKED_EXAMPLES))))
    return check_second_derivatives(network, objective, x, y, batch_norm)

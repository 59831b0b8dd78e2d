"""The four phases of early training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

BOUNDARIES = ("c_loss", "c_sharp", "c_max")
"""The constants that bound the phases, from low c to high c."""


class Phase(StrEnum):
    """A phase of early training (Kalra & Barkeshli 2023, Sec. 2.1)."""

    SHARPNESS_REDUCTION = "sharpness reduction"
    """c < c_loss: loss and sharpness fall."""
    LOSS_CATAPULT = "loss catapult"
    """c_loss <= c < c_sharp: the loss rises first, the sharpness falls."""
    LOSS_AND_SHARPNESS_CATAPULT = "loss and sharpness catapult"
    """c_sharp <= c <= c_max: both rise first."""
    DIVERGENT = "divergent"
    """c > c_max."""


def boundary(values: Sequence[float], censored: Sequence[str]) -> float:
    """One constant of several initialisations as a phase boundary.

    Args:
        values: The constant of every initialisation; NaN where it is censored.
        censored: "", "low" or "high" for each.

    Returns:
        The mean over initialisations. Where some are censored there is no mean, and it is the median, in which `low`
        counts as 0 and `high` as infinity.

    Raises:
        ValueError: If there are no values.
    """
    if not len(values):
        raise ValueError("A boundary needs at least one initialisation. Received: none.")
    if not any(censored):
        return sum(values) / len(values)
    sides = {"low": 0.0, "high": math.inf}
    ordered = sorted(sides.get(side, value) for value, side in zip(values, censored, strict=True))
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def classify(c: float, c_loss: float, c_sharp: float, c_max: float) -> Phase:
    """Phase at the learning-rate constant c.

    Args:
        c: Learning-rate constant eta lambda_0, above 0.
        c_loss: Where the loss catapult begins; infinity if nowhere, 0 if everywhere. So for the others.
        c_sharp: Where the sharpness catapult begins.
        c_max: Largest c that does not diverge.

    Returns:
        The phase.

    Raises:
        ValueError: If c is not above 0, or a constant is NaN.
    """
    if not c > 0:
        raise ValueError(f"`c` must be above 0. Received: {c!r}.")
    if any(math.isnan(constant) for constant in (c_loss, c_sharp, c_max)):
        raise ValueError(f"The constants must be known. Received: c_loss={c_loss}, c_sharp={c_sharp}, c_max={c_max}.")
    if c > c_max:
        return Phase.DIVERGENT
    if c >= c_sharp:
        return Phase.LOSS_AND_SHARPNESS_CATAPULT
    return Phase.LOSS_CATAPULT if c >= c_loss else Phase.SHARPNESS_REDUCTION

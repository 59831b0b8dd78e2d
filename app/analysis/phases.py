"""The five phases of early training."""

from __future__ import annotations

import math
from enum import StrEnum

BOUNDARIES = ("c_loss", "c_sharp", "c_max")
"""The critical constants that bound the phases, from low c to high c; the arguments of `classify` after c."""


class Phase(StrEnum):
    """A phase of early training (Kalra & Barkeshli 2023, Sec. 2.1), in the order of pictures and legends."""

    SHARPNESS_REDUCTION = "sharpness reduction"
    """c < c_loss and c < c_sharp: loss and sharpness fall."""
    LOSS_CATAPULT = "loss catapult"
    """c_loss <= c < c_sharp: the loss rises first, the sharpness falls."""
    EARLY_SHARPENING = "early sharpening"
    """c_sharp <= c < c_loss: the sharpness rises, the loss never does (cross-entropy, narrow networks). Not in the
    paper; "catapult" would be false."""
    LOSS_AND_SHARPNESS_CATAPULT = "loss and sharpness catapult"
    """c >= c_loss and c >= c_sharp: both rise first."""
    DIVERGENT = "divergent"
    """c > c_max, whatever the other constants are."""


def classify(c: float, c_loss: float, c_sharp: float, c_max: float) -> Phase:
    """Phase at the learning-rate constant c; a boundary belongs to the phase on its right, c_max to that on its left.

    Args:
        c: Learning-rate constant eta lambda_0, above 0.
        c_loss: Smallest c at which the loss rises; infinity if there is none, 0 if it rises at every c.
        c_sharp: Smallest c at which the sharpness rises; infinity or 0 likewise.
        c_max: Largest c that does not diverge; infinity if none diverges, 0 if every c does.

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
    if c >= c_loss:
        return Phase.LOSS_AND_SHARPNESS_CATAPULT if c >= c_sharp else Phase.LOSS_CATAPULT
    return Phase.EARLY_SHARPENING if c >= c_sharp else Phase.SHARPNESS_REDUCTION

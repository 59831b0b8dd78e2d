"""How far rounding moves a sharpness: the weights changed by units of their last place.

A loss that is computed in float32 is that of weights which differ from the true ones by some units in the last place.
Where its curvature depends on these, as where a unit stands at the kink of its ReLU to within rounding, or where a
network has been driven far, the eigenpair that is found is exact, and yet not that of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from sharpness_phases.training.saved_state import SavedState

SHAKES = 2
"""Changes of all weights that are looked at: a unit at its kink to within rounding crosses it in one of two."""


def shake(variables: Sequence[tf.Variable], units: int, seed: int = 0) -> None:
    """Multiply each weight by 1 plus or minus some units of its last place.

    Args:
        variables: The weights, changed in place.
        units: How many units.
        seed: Of the signs, the same every time.
    """
    signs = np.random.default_rng(seed)
    for variable in variables:
        unit = np.finfo(tf.as_dtype(variable.dtype).as_numpy_dtype).eps
        factor = 1 + units * unit * signs.choice([-1.0, 1.0], variable.shape)
        variable.assign(variable * tf.cast(factor, variable.dtype))


def moved_by_rounding(variables: Sequence[tf.Variable], eigenvalue: float, quotient: Callable[[], float]) -> float:
    """How far a shake of one unit of the last place moves an eigenvalue; the weights are put back.

    Args:
        variables: The weights.
        eigenvalue: Of H at these weights, with the eigenvector v.
        quotient: Measures v.H v at the weights as they are: to first order, where the eigenvalue has moved to.

    Returns:
        The largest relative change of `SHAKES`; NaN where a quotient is not finite.
    """
    saved, apart = SavedState(variables), list[float]()
    for seed in range(SHAKES):
        try:
            shake(variables, units=1, seed=seed)
            apart.append(abs(quotient() - eigenvalue))
        finally:
            saved.put_back()
    return float(np.max(apart) / abs(eigenvalue)) if eigenvalue else 0.0

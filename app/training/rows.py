"""What a compiled loop of training steps tells of each step, as one row of numbers."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.training.tracker import Measurement

Tensor: TypeAlias = tf.Tensor
"""A tensor of any shape."""


class Row(NamedTuple):
    """What is known after a step, each a float64; an array of them has the shape (steps,).

    Attributes:
        loss: Loss L_t.
        accuracy: Accuracy.
        sharpness: lambda_t, or its estimate; NaN where neither was asked for.
        residual: Its residual; NaN of an estimate.
        converged: 1 where lambda_t is as exact as was asked for, else 0.
        products: Products on the whole measurement set that it took; those on a sample count by its share.
        participation: Share of the weights that take part in the eigenvector of lambda_t; NaN where not measured.
        at_floor: Share of the weights whose preconditioner is epsilon's; NaN without one, or where not measured.
    """

    loss: Scalar | np.ndarray
    accuracy: Scalar | np.ndarray
    sharpness: Scalar | np.ndarray = float("nan")
    residual: Scalar | np.ndarray = float("nan")
    converged: Scalar | np.ndarray = 0.0
    products: Scalar | np.ndarray = 0.0
    participation: Scalar | np.ndarray = float("nan")
    at_floor: Scalar | np.ndarray = float("nan")

    def stacked(self) -> Tensor:
        """The row as a tensor of float64, shape (`COLUMNS`,)."""
        return tf.stack([tf.cast(value, tf.float64) for value in self])


COLUMNS = len(Row._fields)


def measured_row(found: Measurement, spent: Scalar | float = 0.0, at_floor: Scalar | float = float("nan")) -> Tensor:
    """The row of a measurement on the whole measurement set.

    Args:
        found: The measurement.
        spent: Products on a sample that it took besides, by its share.
        at_floor: As of `Row`.

    Returns:
        Its fields, shape (`COLUMNS`,).
    """
    result = found.sharpness
    vector = tf.convert_to_tensor(result.eigenvector)
    return Row(
        found.loss,
        found.accuracy,
        result.eigenvalue,
        result.residual,
        result.converged,
        tf.cast(result.hvps, tf.float64) + spent,
        1 / (tf.cast(tf.size(vector), vector.dtype) * tf.reduce_sum(tf.square(tf.square(vector)))),
        at_floor,
    ).stacked()

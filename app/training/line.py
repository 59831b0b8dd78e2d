"""The loss on the straight line from the weights before training to those after it: does it pass a barrier?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import Scalar, Vector
from sharpness_phases.training.sharpness_model import SharpnessModel
from sharpness_phases.training.tracing import traced

LINE_POINTS = 101
"""Points of the line from theta_0 to theta_T on which a barrier is looked for (Kalra & Barkeshli 2023, Sec. 2.1)."""


class Line(NamedTuple):
    """What the line from the initial weights to the last ones passes.

    Attributes:
        highest: Its largest loss; NaN where it was not looked at.
        rise: The largest rise along it.
    """

    highest: float = float("nan")
    rise: float = float("nan")


class LineFromStart:
    """Looks at the lines that end at a model's present weights; compiled once for all of them.

    Args:
        model: A compiled model with a measurement set.
    """

    def __init__(self, model: SharpnessModel) -> None:
        self._model = model
        self._losses = traced(self._losses_behind_start)

    def look(self, start: list[np.ndarray], loss_0: float) -> Line:
        """Look at the line to the present weights, which stay.

        Args:
            start: The weights where the line begins.
            loss_0: The loss L_0 there.

        Returns:
            What is seen at `LINE_POINTS` equidistant points; at the first one L_0 as it was measured, since computed in
            another way it might exceed L_0 by rounding.
        """
        network = self._model.network
        end = network.get_weights()
        losses = self._losses([tf.constant(array) for array in start], [tf.constant(array) for array in end])
        network.set_weights(end)
        seen = np.append(loss_0, np.nan_to_num(losses.numpy(), nan=np.inf, posinf=np.inf))
        return Line(float(seen.max()), float(np.max(seen - np.minimum.accumulate(seen))))

    def _losses_behind_start(self, start: list[tf.Tensor], end: list[tf.Tensor]) -> Vector:
        """The losses behind the first point, in one compiled loop."""

        def loss_at(share: Scalar) -> Scalar:
            for weight, a, b in zip(self._model.network.weights, start, end, strict=True):
                weight.assign(a + tf.cast(share, a.dtype) * (b - a))
            return tf.cast(self._model.loss_on_measurement(), tf.float64)

        shares = tf.constant(np.linspace(0.0, 1.0, LINE_POINTS)[1:])
        return tf.map_fn(loss_at, shares, parallel_iterations=1)

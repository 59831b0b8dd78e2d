"""The optimizers of training runs: how one is built, its preconditioner, and its stability edge.

On a quadratic loss, gradient descent w -= eta g is stable in a direction of curvature lambda iff lambda < 2 / eta: the
*edge* (Cohen et al. 2021, Sec. 2). Where an optimizer divides the gradient by a diagonal P, the curvature that counts
is the top eigenvalue of P^-1/2 H P^-1/2.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import keras
import numpy as np

from sharpness_phases.curvature.operator import Vector

Rate: TypeAlias = float | np.ndarray
"""A learning rate eta, or several."""


class OptimizerRule(NamedTuple):
    """What is known of an optimizer of the family of stochastic gradient descent.

    Attributes:
        momentum: Share of the last velocity that is kept, in [0, 1).
    """

    momentum: float = 0.0

    def build(self, learning_rate: float = 0.0) -> keras.optimizers.Optimizer:
        """A Keras optimizer.

        Args:
            learning_rate: Its rate eta; runs set their own.

        Returns:
            The optimizer, with a state of zeros.
        """
        return keras.optimizers.SGD(learning_rate, momentum=self.momentum)

    def preconditioner(self) -> Vector | None:
        """The diagonal P by which the gradient is divided, shape (n,); None for 1, as of this family."""
        return None

    def edge(self, learning_rate: Rate) -> Rate:
        """The stability edge 2 / eta of plain gradient descent on a quadratic loss.

        With momentum m, gradient descent is stable up to 2 (1 + m) / eta; what is stored and drawn so far is 2 / eta.

        Args:
            learning_rate: Rate eta; 0 has its edge at infinity.

        Returns:
            The sharpness at which training becomes unstable, of the argument's shape.
        """
        with np.errstate(divide="ignore"):
            edge = 2 / np.asarray(learning_rate, np.float64)
        return edge if edge.ndim else float(edge)


PLAIN = OptimizerRule()
"""Plain gradient descent."""

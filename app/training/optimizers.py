"""The optimizers of training runs: how one is built, its preconditioner, and its stability edge.

On a quadratic loss, gradient descent w -= eta g is stable in a direction of curvature lambda iff lambda < 2 / eta: the
*edge* (Cohen et al. 2021, Sec. 2), which momentum and weight decay move (`sharpness_phases.runs.edge`). Where an
optimizer divides the gradient by a diagonal P, the curvature that counts is the top eigenvalue of P^-1/2 H P^-1/2.
"""

from __future__ import annotations

from typing import NamedTuple

import keras

from sharpness_phases.curvature.operator import Vector
from sharpness_phases.runs.edge import Rate, sgd_edge


class OptimizerRule(NamedTuple):
    """What is known of an optimizer of the family of stochastic gradient descent.

    Attributes:
        momentum: Share of the last velocity that is kept, in [0, 1).
        nesterov: Whether the velocity is Nesterov's.
        weight_decay: Decoupled weight decay gamma; 0 for none.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def build(self, learning_rate: float = 0.0) -> keras.optimizers.Optimizer:
        """A Keras optimizer.

        Args:
            learning_rate: Its rate eta; runs set their own.

        Returns:
            The optimizer, with a state of zeros.
        """
        return keras.optimizers.SGD(
            learning_rate, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay or None
        )

    def preconditioner(self) -> Vector | None:
        """The diagonal P by which the gradient is divided, shape (n,); None for 1, as of this family."""
        return None

    def edge(self, learning_rate: Rate) -> Rate:
        """The stability edge on a quadratic loss, as `sharpness_phases.runs.edge.sgd_edge` gives it.

        Args:
            learning_rate: Rate eta; 0 has its edge at infinity.

        Returns:
            The sharpness at which training becomes unstable, of the argument's shape.
        """
        return sgd_edge(learning_rate, self.momentum, self.nesterov, self.weight_decay)


PLAIN = OptimizerRule()
"""Plain gradient descent."""


def rule_of(optimizer: keras.optimizers.Optimizer) -> OptimizerRule | None:
    """What is known of a Keras optimizer.

    Args:
        optimizer: As a model is compiled with; a `LossScaleOptimizer` counts as the one inside.

    Returns:
        Its rule if it is `keras.optimizers.SGD`, with or without momentum; None for all others, subclasses included,
        whose edge is not known.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if type(inner) is not keras.optimizers.SGD:
        return None
    return OptimizerRule(float(inner.momentum), bool(inner.nesterov), float(inner.weight_decay or 0.0))

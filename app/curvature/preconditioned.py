"""The Hessian in the coordinates in which a preconditioned optimizer is gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import Linearization, Matvec, Operator, Vector

Diagonal: TypeAlias = Callable[[Vector], Vector]
"""Function (gradient) -> P, the diagonal of a preconditioner at the present state; both of shape (n,), P positive."""


class PreconditionedOperator:
    """The symmetric operator P^-1/2 H P^-1/2, which has the eigenvalues of P^-1 H.

    It is the Hessian in the coordinates u = P^1/2 w, in which w -= eta P^-1 g is plain gradient descent; its gradient
    there is P^-1/2 g. A solver for symmetric matrices is right for it, and would not be for P^-1 H.

    Args:
        operator: The Hessian H.
        diagonal: Gives P, from the gradient at the weights where H is linearised; asked anew at every linearisation.

    Attributes:
        size: Number n of rows.
        dtype: Of its vectors.

    Example:
        H = [5] of L = mean (theta x)^2 / 2 over x = 1, 3, with P = [4]:

        >>> from sharpness_phases.curvature.hessian import HessianOperator
        >>> theta, x = tf.Variable([2.0]), tf.constant([1.0, 3.0])
        >>> hessian = HessianOperator(lambda x, y: tf.reduce_mean((theta * x) ** 2) / 2, [theta], x, x)
        >>> operator = PreconditionedOperator(hessian, lambda gradient: tf.constant([4.0]))
        >>> operator.linearize().matvec(tf.constant([1.0])).numpy()
        array([1.25], dtype=float32)
    """

    def __init__(self, operator: Operator, diagonal: Diagonal) -> None:
        self._operator = operator
        self._diagonal = diagonal
        self.size, self.dtype = operator.size, operator.dtype

    def linearize(self) -> Linearization:
        """Loss, P^-1/2 g, and the product, with P as it is now; callable inside a `tf.function`."""
        here = self._operator.linearize()
        scale = 1 / tf.sqrt(self._diagonal(here.gradient))

        def scaled(matvec: Matvec) -> Matvec:
            return lambda vector: scale * matvec(scale * vector)

        doubt = None if here.doubt is None else scaled(here.doubt)
        return here._replace(gradient=scale * here.gradient, matvec=scaled(here.matvec), doubt=doubt)


def participation_ratio(vector: np.ndarray) -> float:
    """Share of the coordinates that take part in a unit vector u: 1 / (n sum_i u_i^4).

    Args:
        vector: u, shape (n,).

    Returns:
        Between 1/n, for one coordinate alone, and 1, for all alike; NaN of a vector with NaN.

    Example:
        >>> participation_ratio(np.array([0.0, 1.0, 0.0, 0.0]))
        0.25
    """
    return float(1 / (len(vector) * np.sum(np.asarray(vector, np.float64) ** 4)))

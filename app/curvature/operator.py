"""The types of linear algebra: an operator, a solver, what it is asked for, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

Scalar: TypeAlias = tf.Tensor
"""A tensor of shape (); a Python number where no graph is traced."""

Vector: TypeAlias = tf.Tensor
"""A flat tensor of shape (n,)."""

Matvec: TypeAlias = Callable[[Vector], Vector]
"""A symmetric matrix H as the map v -> H v."""


class Linearization(NamedTuple):
    """Loss, flat gradient and Hessian-vector product at one set of weights.

    Attributes:
        loss: Loss L.
        gradient: Gradient g of L, shape (n,).
        matvec: Map v -> H v, H the Hessian of L.
        accuracy: The second mean of a loss function that gives a pair, such as the accuracy; zero without.
        doubt: Map v -> how far H v may be off, shape (n,), by another computation; None where products are exact but
            for rounding.
    """

    loss: Scalar
    gradient: Vector
    matvec: Matvec
    accuracy: Scalar
    doubt: Matvec | None = None


class Operator(Protocol):
    """The Hessian H of a loss, linearised at the weights as they are when it is asked.

    Attributes:
        size: Number n of rows of H.
        dtype: Of the vectors that H is applied to.
    """

    size: int
    dtype: tf.DType

    def linearize(self) -> Linearization:
        """Loss, gradient and product at the present weights; callable inside a `tf.function`."""
        ...


class Aim(NamedTuple):
    """What is asked of a solver beside its tolerance.

    Attributes:
        threshold: The solver may stop once it is proved on which side of it the eigenvalue lies; NaN for never.
        least_overlap: Smallest share of the start vector, of length 1, along any direction that is fixed beforehand,
            such as the top eigenvector: see `sharpness_phases.curvature.starts.least_overlap`. 0 where nothing is known
            of it: then an eigenvector that the start lacks can hide a larger eigenvalue.
    """

    threshold: Scalar | float = float("nan")
    least_overlap: Scalar | float = 0.0


TO_TOLERANCE = Aim()
"""The eigenvalue itself, from a start of which nothing is known."""


class EigenResult(NamedTuple):
    """The largest (most positive) eigenvalue of a symmetric operator, with evidence.

    The fields are scalar tensors inside a `tf.function` and plain Python numbers after `to_python`.

    Attributes:
        eigenvalue: Estimate theta of the largest algebraic eigenvalue.
        eigenvector: Unit vector v of shape (n,) with theta = v.Hv.
        residual: ||Hv - theta v||; an eigenvalue of H lies within this distance of theta.
        error: Estimate of |theta - lambda|: the residual, or residual^2 / gap where that is smaller and the gap between
            the largest and the second eigenvalue is known (Parlett 1998, Sec. 11.7).
        converged: Whether the eigenvalue is as exact as was asked for: the solver's stopping rule was met, and the
            products did not contradict each other.
        hvps: Number of Hessian-vector products used.
    """

    eigenvalue: Scalar | float
    eigenvector: Vector | np.ndarray
    residual: Scalar | float
    error: Scalar | float
    converged: Scalar | bool
    hvps: Scalar | int

    def to_python(self) -> EigenResult:
        """The same result with Python numbers and a NumPy eigenvector."""
        return EigenResult(
            float(self.eigenvalue),
            np.asarray(self.eigenvector),
            float(self.residual),
            float(self.error),
            bool(self.converged),
            int(self.hvps),
        )


class Solver(Protocol):
    """Finds the largest algebraic eigenvalue of a symmetric operator."""

    def solve(self, matvec: Matvec, start: Vector, aim: Aim = TO_TOLERANCE) -> EigenResult:
        """Find the largest eigenvalue; callable inside a `tf.function`.

        Args:
            matvec: The operator, v -> H v on tensors of shape (n,).
            start: Start vector of shape (n,), not zero; it need not have unit length.
            aim: How early the solver may stop; a solver is free to go on to its end.

        Returns:
            The result, with NaN where the operator gives NaN or infinity.
        """
        ...

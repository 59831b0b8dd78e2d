"""What a solver returns: the value and the evidence for it."""

from __future__ import annotations

from typing import Any, NamedTuple


class EigenResult(NamedTuple):
    """The largest (most positive) eigenvalue of a symmetric operator, with evidence.

    The fields are scalar tensors inside a `tf.function` and plain Python numbers after `to_python`.

    Attributes:
        eigenvalue: Estimate theta of the largest algebraic eigenvalue.
        eigenvector: Unit vector v of shape (n,) with theta = v.Hv.
        residual: ||Hv - theta v||; an eigenvalue of H lies within this distance of theta.
        error: Estimate of |theta - lambda|: the residual, or residual^2 / gap where that is smaller and the gap between
            the largest and the second eigenvalue is known (Parlett 1998, Sec. 11.7).
        converged: Whether the solver's stopping rule was met.
        hvps: Number of Hessian-vector products used.
    """

    eigenvalue: Any
    eigenvector: Any
    residual: Any
    error: Any
    converged: Any
    hvps: Any

    def to_python(self) -> EigenResult:
        """The same result with Python numbers and a NumPy eigenvector."""
        return EigenResult(
            float(self.eigenvalue),
            self.eigenvector.numpy(),
            float(self.residual),
            float(self.error),
            bool(self.converged),
            int(self.hvps),
        )

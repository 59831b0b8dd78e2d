"""The largest eigenvalue of a symmetric operator, by ARPACK in float64: not one of the project's solvers."""

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh


def largest_of(product: Callable[[np.ndarray], np.ndarray], size: int) -> float:
    """The largest algebraic eigenvalue of a matrix (n, n), of which only products are known."""
    if size <= 20:
        return float(np.linalg.eigvalsh(np.stack([product(row) for row in np.eye(size)]))[-1])
    start = np.random.default_rng(3).standard_normal(size)
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    return float(eigsh(operator, k=1, which="LA", v0=start, tol=1e-7, return_eigenvectors=False)[0])

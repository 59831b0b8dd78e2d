"""The largest eigenvalue by another route than that of `Lanczos`, to hold its results against."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

Product: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""The map v -> H v of a symmetric matrix, on float64 arrays of shape (n,)."""

BASIS = 48
"""Vectors kept, and as many products; chosen so: of 10^6 weights they take 0.8 GB."""

KEPT = 8
"""Ritz vectors that a full basis is replaced by; chosen so: more than the few large eigenvalues that lie close."""

STARTS = 2
"""Random starts, of which the larger result is taken: each is solved until its error is small, which one start alone
reaches at a lower eigenvalue only if it lacks the top eigenvector, and two that both lack it are not met."""


class Reference(NamedTuple):
    """The largest eigenvalue, as exactly as it was asked for.

    Attributes:
        eigenvalue: theta.
        error: Bound of its distance from an eigenvalue: the residual r = ||H v - theta v|| of its unit eigenvector v,
            or r^2 / gap to the next Ritz value, if that is less (Parlett 1998, Sec. 11.7).
        products: Products that all starts took.
    """

    eigenvalue: float
    error: float
    products: int


def largest_eigenvalue(
    product: Product, size: int, tolerance: float = 1e-5, max_products: int = 2000, seed: int = 0
) -> Reference:
    """Largest algebraic eigenvalue of a symmetric matrix by thick-restarted Lanczos (Wu & Simon 2000), in float64.

    Every vector is made orthogonal to all others twice, and the stop rests on the residual alone. Slow, and meant
    so: it shares neither starts nor precision nor stop with `curvature.lanczos.Lanczos`.

    Args:
        product: The matrix H, of n rows.
        size: n.
        tolerance: Relative error to reach.
        max_products: Products of one start after which it gives up.
        seed: Of the random starts.

    Returns:
        The result; NaN where a product is not finite.
    """
    found = [_solve(product, size, tolerance, max_products, np.random.default_rng([seed, i])) for i in range(STARTS)]
    if any(not np.isfinite(each.eigenvalue) for each in found):
        return Reference(np.nan, np.nan, sum(each.products for each in found))
    best = max(found, key=lambda each: each.eigenvalue)
    return best._replace(products=sum(each.products for each in found))


def _solve(product: Product, size: int, tolerance: float, max_products: int, random: np.random.Generator) -> Reference:
    most = min(BASIS, size)
    basis, products = np.zeros((most, size)), np.zeros((most, size))
    following = _unit(random.standard_normal(size))
    count = 0
    for spent in range(1, max_products + 1):
        basis[count], products[count] = following, product(following)
        count += 1
        if not np.all(np.isfinite(products[count - 1])):
            return Reference(np.nan, np.nan, spent)
        projected = basis[:count] @ products[:count].T
        values, weights = np.linalg.eigh((projected + projected.T) / 2)
        top = weights[:, -1]
        residual = float(np.linalg.norm(top @ products[:count] - values[-1] * (top @ basis[:count])))
        gap = values[-1] - values[-2] if count > 1 else 0.0
        error = residual**2 / gap if gap > residual else residual
        rest = _orthogonal(products[count - 1], basis[:count])
        length = float(np.linalg.norm(rest))
        exhausted = count == size or length <= np.finfo(float).eps * np.linalg.norm(products[count - 1])
        if error <= tolerance * abs(values[-1]) or exhausted:
            break
        following = _unit(_orthogonal(rest / length, basis[:count]))
        if count == most:
            count = min(KEPT, most - 1)
            basis[:count], products[:count] = (weights[:, -count:].T @ of for of in (basis, products))
    return Reference(float(values[-1]), float(error), spent)


def _orthogonal(vector: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What of a vector lies across an orthonormal basis."""
    return vector - (basis @ vector) @ basis


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)

"""Hessian-vector products compared with central differences of the gradient, which take no second derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.hessian import HessianOperator


class Steps(NamedTuple):
    """At which steps a precision is compared.

    Attributes:
        sizes: Steps relative to the weights' size, decreasing; below the last, rounding exceeds the agreement.
        agreement: Relative difference below which a product counts as right.
    """

    sizes: tuple[float, ...]
    agreement: float


STEPS = {
    tf.float32: Steps((1e-3, 3e-4, 1e-4, 3e-5), 2e-3),
    tf.float64: Steps((1e-3, 1e-4, 1e-5, 1e-6, 1e-7), 1e-4),
}
"""Noise of float32 is ~2e-4 in networks. In float64 it is below 1e-6 at every step, and at the last one fewer than one
of a million kinks lies between the two gradients; the smallest fault known, of a group normalisation, is 2e-3."""

_SETTLED_STEPS = 3
"""Successive steps whose differences must agree with each other: by chance, kinks make two agree."""

_ROUNDINGS = 8
"""How many times the rounding of the two gradients a fault must be. What is far smaller than the gradient is lost in it
at every step alike, as is the curvature where a softmax is saturated: one of its probabilities stays 1."""


class Comparison(NamedTuple):
    """What the differences say of a product.

    Attributes:
        error: The smallest relative difference between product and differences; NaN where they are not finite.
        settled_on: Relative difference to what the differences settled on; None if they did not, or agree.
        agrees: Whether the product is right.
    """

    error: float
    settled_on: float | None
    agrees: bool


def compare_products(operator: HessianOperator, variables: Sequence[tf.Variable], seed: int = 0) -> Comparison:
    """Compare a Hessian-vector product along a random vector with central differences of the gradient.

    Differences are taken at decreasing steps: a gradient that jumps where a ReLU switches spoils large steps, and is
    not the product's fault. The product is right if one step agrees with it, and wrong if the differences settle on
    something else that rounding does not explain.

    Args:
        operator: A Hessian.
        variables: The variables that it differentiates; they are moved and put back exactly.
        seed: Fixes the direction.

    Returns:
        The comparison.
    """
    steps = STEPS[operator.dtype]
    saved = [v.numpy() for v in variables]
    direction = _random_direction(saved, seed)
    product = operator.linearize().matvec(operator.flatten(direction)).numpy().astype(np.float64)
    best, earlier = np.inf, list[np.ndarray]()
    try:
        for step in steps.sizes:
            now, rounding = _difference(operator, variables, saved, direction, step)
            error = _relative(now, product)
            if not np.isfinite(error):
                return Comparison(float("nan"), None, agrees=False)
            best = min(best, error)
            if best <= steps.agreement:
                return Comparison(best, None, agrees=True)
            earlier = [*earlier, now][-_SETTLED_STEPS:]
            surely = float(np.linalg.norm(now - product)) > _ROUNDINGS * rounding
            if surely and _has_settled(earlier, error):
                return Comparison(best, error, agrees=False)
    finally:
        for variable, weight in zip(variables, saved, strict=True):
            variable.assign(weight)
    return Comparison(best, None, agrees=False)


def _random_direction(weights: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """A random direction, in every variable as large as its weights are."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(np.mean(np.concatenate([w.ravel() for w in weights]) ** 2)) or 1.0
    return [rng.standard_normal(w.shape).astype(w.dtype) * (_rms(w) or scale) for w in weights]


def _difference(
    operator: HessianOperator,
    variables: Sequence[tf.Variable],
    weights: Sequence[np.ndarray],
    direction: Sequence[np.ndarray],
    step: float,
) -> tuple[np.ndarray, float]:
    """(g(w + h d) - g(w - h d)) / 2h for the step h, float64, shape (n,), and the length that rounding may give it."""
    gradients = []
    for sign in (1, -1):
        for variable, weight, d in zip(variables, weights, direction, strict=True):
            variable.assign(weight + np.asarray(sign * step, weight.dtype) * d)
        gradients.append(operator.linearize().gradient.numpy().astype(np.float64))
    unit = float(np.finfo(operator.dtype.as_numpy_dtype).eps)
    rounding = unit * float(np.linalg.norm(np.maximum(*np.abs(gradients))))
    return (gradients[0] - gradients[1]) / (2 * step), rounding / (2 * step)


def _has_settled(differences: Sequence[np.ndarray], error: float) -> bool:
    """Whether the last differences agree with each other four times better than with the product."""
    *before, now = differences
    return (
        bool(np.any(now))
        and len(differences) == _SETTLED_STEPS
        and all(_relative(now, other) <= error / 4 for other in before)
    )


def _rms(array: np.ndarray) -> np.floating:
    return np.sqrt(np.mean(np.square(array)))


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    return 0.0 if size == 0 else float(np.linalg.norm(a - b)) / size

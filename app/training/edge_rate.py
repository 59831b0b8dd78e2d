"""The learning rate whose stability edge a compiled model's sharpness is at."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np

from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Solver
from sharpness_phases.training.batches import Batch
from sharpness_phases.training.optimizers import edge_rule, inner_optimizer, stability_edge
from sharpness_phases.training.right_derivatives import BatchNorm
from sharpness_phases.training.second_derivatives import SecondDerivativeError
from sharpness_phases.training.sharpness_model import SharpnessModel

LOOSE = 1e-2
"""Tolerance of a sharpness that a rate is held against: rates are chosen by factors, not by percents."""

AT_THE_EDGE = 2.0
"""c = 2 eta / eta_edge of the edge itself."""


class EdgeRate(NamedTuple):
    """The stability edge at the present weights.

    Attributes:
        learning_rate: The rate at which `sharpness` is the optimizer's edge; infinite where the sharpness is not
            positive, NaN where it is not known.
        sharpness: Largest eigenvalue of the operator that the edge is held against; NaN where it is not known.
        words: The formula of the edge; else why it is not known.
        products: Products with the Hessian that it took.
    """

    learning_rate: float
    sharpness: float
    words: str
    products: int


def edge_rate(
    model: keras.Model,
    batch: Batch,
    solver: Solver | None = None,
    chunk_size: int | None = None,
    verify: bool = True,
    seed: int = 0,
    batch_norm: BatchNorm = "batch",
) -> EdgeRate:
    """Measure a model's sharpness, and find the rate that it is the edge of.

    With lambda^P the largest eigenvalue of P^-1/2 H P^-1/2 (of H where the optimizer has no preconditioner P), the rate
    is eta with edge(eta) = lambda^P, such as 2 / lambda for gradient descent (`EdgeRule.rate`).

    Args:
        model: A compiled model; nothing of it changes but metrics.
        batch: The examples to measure on; their weights count.
        solver: Eigenvalue solver; `Lanczos` of tolerance `LOOSE` by default.
        chunk_size: Number of examples differentiated at once; None for all.
        verify: Check second derivatives first.
        seed: Fixes start vectors.
        batch_norm: See `SharpnessModel`.

    Returns:
        The rate; one that is not known says why in its `words`.
    """
    rule = edge_rule(inner_optimizer(model.optimizer))
    if rule is None:
        return EdgeRate(math.nan, math.nan, stability_edge(model.optimizer).words, 0)
    try:
        measured = SharpnessModel(
            model,
            tuple(part for part in batch if part is not None),
            solver=solver or Lanczos(tolerance=LOOSE),
            every=0,
            chunk_size=chunk_size,
            verify=verify,
            seed=seed,
            batch_norm=batch_norm,
        )
        measured.compile(optimizer=model.optimizer, jit_compile=bool(model.jit_compile))
        found = measured.sharpness()
    except (SecondDerivativeError, ValueError, NotImplementedError) as error:
        return EdgeRate(math.nan, math.nan, f"the sharpness could not be measured: {error}", 0)
    sharpness = float(found.eigenvalue)
    if np.isnan(sharpness):
        return EdgeRate(math.nan, math.nan, "the loss at the present weights is not finite", found.hvps)
    rate = float(rule.rate(AT_THE_EDGE, sharpness)) if sharpness > 0 else math.inf
    return EdgeRate(rate, sharpness, rule.in_words, found.hvps)

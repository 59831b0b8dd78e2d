"""Given a model and a learning rate that goes wrong: is it the rate?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sharpness_phases.advice.start import BATCHES, Measuring, measured_at_the_start, require_counts, training_batches
from sharpness_phases.analysis.verdict import Verdict, judge
from sharpness_phases.errors import UserError
from sharpness_phases.training.startup import import_tensorflow

if TYPE_CHECKING:
    import keras

    from sharpness_phases.curvature.gradient_differences import Products
    from sharpness_phases.training.batches import Data
    from sharpness_phases.training.measurement_set import ClassWeight
    from sharpness_phases.training.right_derivatives import BatchNorm

STEPS = 32
"""Steps of a run, as of the longest of an advice."""

SLOWER = 64.0
"""The rate in question is held against a run at a 64th of it, or of the lowest safe rate if that is lower: one that
hardly moves the weights. A run at a quarter tells whether a smaller rate would have done."""


def explain_learning_rate(
    model: keras.Model,
    data: Data,
    learning_rate: float | None = None,
    batch_size: int = 32,
    steps: int = STEPS,
    verify: bool = True,
    seed: int = 0,
    batch_norm: BatchNorm = "batch",
    class_weight: ClassWeight | None = None,
    products: Products = "exact",
) -> Verdict:
    """Tell why training goes wrong: the learning rate, the data, or the network.

    The data and the network are looked at first: strings, NaN, labels out of range, inputs and targets that are not
    scaled, a network that is dead. Then the rate is held against the stability edge and one safe step, and runs at it
    and at smaller ones are made from the same state on the same batches. Nothing of the model is changed.

    Args:
        model: A compiled model, at the weights from which training goes wrong.
        data: Training data, as for `recommend_learning_rate`.
        learning_rate: The rate in question; None for the compiled optimizer's present one.
        batch_size: Examples in a batch of arrays.
        steps: Optimizer steps of a run.
        verify: Check the model's second derivatives first.
        seed: Fixes the order of arrays.
        batch_norm: Which statistics batch normalisation uses while the sharpness is measured.
        class_weight: Weights of the examples by class, as of `fit`.
        products: "exact" products with the Hessian, or by "differences" of the gradient; see `SharpnessModel`. Another
            word is a `ValueError`.

    Returns:
        The cause with its reasons; printed, it tells them.

    Raises:
        UserError: If the model is not compiled with a loss, the data are none, or a number is out of range.

    Example:
        >>> import keras, numpy as np
        >>> x, y = np.eye(8, dtype="float32")[:4], np.ones((4, 1), "float32")
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(), "mse")
        >>> verdict = explain_learning_rate(model, (x, y), 5.0, batch_size=4)
        >>> verdict.cause, verdict.exceeded[0]
        ('the rate', 'stability edge')
    """
    import_tensorflow()
    require_counts(batch_size=batch_size, steps=steps)
    batches = training_batches(model, data, max(steps, BATCHES), batch_size, seed, class_weight)
    from sharpness_phases.curvature.gradient_differences import require_products
    from sharpness_phases.training.health import first_fault, look_at
    from sharpness_phases.training.short_runs import short_runs

    rate = float(model.optimizer.learning_rate) if learning_rate is None else learning_rate
    if not 0 < rate < math.inf:
        raise UserError(f"learning_rate must be a positive number; got {rate!r}")
    health = look_at(model, batches[0])
    if health.hopeless:
        return Verdict("the data" if health.data else "the network", (), None, health.data + health.network)
    how = Measuring(verify=verify, seed=seed, batch_norm=batch_norm, products=require_products(products))
    start = measured_at_the_start(model, data, batches, how, class_weight)
    slow = min([rate, *start.facts.safe_rates]) / SLOWER
    with short_runs(model, batches) as runs:
        curves = {each: runs.losses(each, steps).tolist() for each in (slow, rate / 4, rate)}
    if not all(map(math.isfinite, curves[slow])) and (fault := first_fault(model, batches[:steps])) is not None:
        return Verdict("the data", (), None, (f"{fault} No rate spares the loss that.",))
    verdict = judge(rate, curves, start.facts)
    seen = health.data + health.network
    if verdict.cause == "none found" and seen:
        return verdict._replace(cause="the data" if health.data else "the network", sentences=seen + verdict.sentences)
    return verdict._replace(sentences=verdict.sentences + seen)

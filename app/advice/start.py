"""What is looked at, at the start, of a model that is to be trained: data, the next step, the stability edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from sharpness_phases.analysis.advice import Facts
from sharpness_phases.errors import UserError

if TYPE_CHECKING:
    import keras

    from sharpness_phases.curvature.gradient_differences import Products
    from sharpness_phases.curvature.operator import Solver
    from sharpness_phases.training.batches import Data
    from sharpness_phases.training.critical import CriticalLearningRate
    from sharpness_phases.training.measurement_set import ClassWeight
    from sharpness_phases.training.right_derivatives import BatchNorm
    from sharpness_phases.training.training_batches import TrainingBatches

BATCHES = 3
"""Batches on which the next step is measured, whose median and spread are told."""

FORWARD, PRODUCT = 1 / 3, 2.0
"""Cost of a forward pass, and of a product with the Hessian, in optimizer steps: a gradient is one forward pass and a
backward one of twice its arithmetic, a product two gradients (Pearlmutter 1994)."""


class Measuring(NamedTuple):
    """How the sharpness is measured; see `recommend_learning_rate`."""

    examples: int | None = None
    solver: Solver | None = None
    chunk_size: int | None = None
    verify: bool = True
    seed: int = 0
    batch_norm: BatchNorm = "batch"
    products: Products = "exact"


class Start(NamedTuple):
    """What is known before any run.

    Attributes:
        facts: Sharpness, edge and safe step.
        cost: What it took, in optimizer steps.
    """

    facts: Facts
    cost: float


def require_counts(**counts: int | None) -> None:
    """Refuse a number that is no count.

    Args:
        **counts: By name; None passes.

    Raises:
        UserError: If one is no integer of at least 1.
    """
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UserError(f"{name} must be an integer of at least 1; got {value!r}")


def training_batches(
    model: keras.Model, data: Data, count: int, batch_size: int, seed: int, class_weight: ClassWeight | None = None
) -> TrainingBatches:
    """The batches of a training of a model that can be trained.

    Args:
        model: The model.
        data: As `fit` takes them.
        count: Number of batches.
        batch_size: Examples in a batch of arrays.
        seed: Fixes the order of arrays.
        class_weight: Weights of the examples by class, as of `fit`.

    Returns:
        The batches; the model is built on the first.

    Raises:
        UserError: If the model is not compiled with a loss, or the data are none or cannot be weighted by class.
    """
    from sharpness_phases.training.critical import has_loss
    from sharpness_phases.training.own_methods import has_own_step
    from sharpness_phases.training.training_batches import TrainingBatches

    if not has_loss(model) and not (model.compiled and has_own_step(model)):
        raise UserError(
            "A learning rate is found for a model compiled with a loss and an optimizer: call "
            "model.compile(optimizer=..., loss=...) first"
        )
    try:
        batches = TrainingBatches(data, count, batch_size, seed, class_weight)
        first = batches[0]
    except ValueError as error:
        raise UserError(str(error)) from None
    model._symbolic_build(data_batch=tuple(first))  # as `fit` would
    return batches


def measured_at_the_start(
    model: keras.Model,
    data: Data,
    batches: TrainingBatches,
    how: Measuring,
    class_weight: ClassWeight | None = None,
) -> Start:
    """Measure the next step and the stability edge; all state is as before.

    Args:
        model: A compiled model.
        data: Where the examples for the sharpness are from, if another number of them is asked for than a batch.
        batches: The first of them are those of the next step.
        how: How the sharpness is measured.
        class_weight: Weights of the examples by class, as of `fit`.

    Returns:
        What is known.
    """
    from sharpness_phases.training.batches import one_batch
    from sharpness_phases.training.edge_rate import edge_rate
    from sharpness_phases.training.measurement_set import weighted_by_class
    from sharpness_phases.training.own_methods import has_own_step
    from sharpness_phases.training.saved_state import state_put_back
    from sharpness_phases.training.training_batches import examples_of

    steps = [] if has_own_step(model) else _next_steps(model, batches)
    measured = weighted_by_class(one_batch(data, how.examples), class_weight) if how.examples else batches[0]
    with state_put_back(model):
        edge = edge_rate(model, measured, *how[1:])
    facts = Facts(edge.learning_rate, edge.sharpness, edge.words, tuple(step.eta_c for step in steps))
    share = examples_of(measured) / examples_of(batches[0])
    return Start(facts, FORWARD * sum(step.forwards for step in steps) + PRODUCT * edge.products * share)


def _next_steps(model: keras.Model, batches: TrainingBatches) -> list[CriticalLearningRate]:
    """eta_c on each of some batches."""
    from sharpness_phases.training.critical import NextStep

    first = NextStep(model, batches[0])
    found = [first.measure()]
    for batch in batches[1:BATCHES]:
        last = found[-1].eta_c
        found.append(first.on(batch).measure(last if 0 < last < math.inf else None))
    return found

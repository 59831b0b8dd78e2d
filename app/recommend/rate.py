"""A learning rate for a user's own compiled model: its edge, one safe step, and short runs with its very optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sharpness_phases.analysis.advice import Curves, Facts, Warmup, reasons, warmup_of
from sharpness_phases.analysis.rate_search import RateFinding, search_rate
from sharpness_phases.errors import UserError
from sharpness_phases.training.startup import import_tensorflow

if TYPE_CHECKING:
    import keras

    from sharpness_phases.curvature.operator import Solver
    from sharpness_phases.training.batches import Data
    from sharpness_phases.training.critical import CriticalLearningRate
    from sharpness_phases.training.right_derivatives import BatchNorm
    from sharpness_phases.training.training_batches import TrainingBatches

HORIZON = 1000
"""Optimizer steps of the training that a rate is for, unless told."""

STEPS_OF_ADVICE = 160
"""Most optimizer steps of all short runs together: with what measures the edge, as many as a range test takes."""

BATCHES = 3
"""Batches on which the next step is measured, whose median and spread are told."""

FALLBACK = 1e-3
"""Where to begin if nothing is known, not even a rate of the optimizer's own."""

FORWARD, PRODUCT = 1 / 3, 2.0
"""Cost of a forward pass, and of a product with the Hessian, in optimizer steps: a gradient is one forward pass and a
backward one of twice its arithmetic, a product two gradients (Pearlmutter 1994)."""


@dataclass(frozen=True)
class LearningRateAdvice:
    """A learning rate for a model as it stands, with what it rests on; printed, it tells all of it.

    Attributes:
        learning_rate: The rate to train with.
        ceiling: The largest rate whose short run lowered the loss, below one that did not; infinite where none failed.
        warmup: Steps and first rate of a warm-up; None where none is needed.
        reasons: Why, a sentence each.
        cost: What it took, in optimizer steps.
        optimizer: Name of the compiled optimizer.
        horizon: Optimizer steps of the training that the rate is for.
        steps: Optimizer steps of the longest short runs.
        runs: For each rate tried, the loss of every batch before its step.
        facts: Sharpness, edge and safe step at the start.
    """

    learning_rate: float
    ceiling: float
    warmup: Warmup | None
    reasons: tuple[str, ...]
    cost: float
    optimizer: str
    horizon: int
    steps: int
    runs: Curves
    facts: Facts

    @property
    def edge_rate(self) -> float:
        """The rate whose stability edge the sharpness is at now; NaN if not known."""
        return self.facts.edge_rate

    @property
    def eta_c(self) -> float:
        """The rate from which the very next step raises the loss, the median over batches; NaN if not known."""
        return self.facts.safe_step

    def __str__(self) -> str:
        """The advice as a short text."""
        ceiling = f"{self.ceiling:.3g}" if math.isfinite(self.ceiling) else f"above {max(self.runs):.3g}"
        warmup = f"{self.warmup.steps} steps, from {self.warmup.first_rate:.3g} on" if self.warmup else "not needed"
        rows = [
            f"Suggested learning rate for {self.optimizer}: {self.learning_rate:.3g}",
            f"  ceiling:  {ceiling}",
            f"  warm-up:  {warmup}",
            f"  cost:     that of {self.cost:.0f} optimizer steps",
        ]
        return "\n".join([*rows, *self.reasons])

    def plot(self, path: str | Path) -> Path:
        """Draw what the runs ended at, over the rate, with the suggestion, the edge and eta_c.

        Args:
            path: File to write; its ending decides the format.

        Returns:
            The file.
        """
        from sharpness_phases.views.advice import AdviceFigure

        marks = {"suggested": self.learning_rate, "stability edge": self.edge_rate, "one safe step": self.eta_c}
        title = f"Learning rate for {self.optimizer}"
        return AdviceFigure(self.runs, marks, title).save(path)


def recommend_learning_rate(
    model: keras.Model,
    data: Data,
    batch_size: int = 32,
    steps: int = HORIZON,
    examples: int | None = None,
    solver: Solver | None = None,
    chunk_size: int | None = None,
    verify: bool = True,
    seed: int = 0,
    batch_norm: BatchNorm = "batch",
    budget: int = STEPS_OF_ADVICE,
) -> LearningRateAdvice:
    """Find a learning rate for a compiled model, its data and its optimizer, from its present state.

    Three things are measured at the present weights, and nothing of the model is changed, also after an error:

    - the optimizer's *stability edge*: the rate at which lambda^P, the top eigenvalue of the (preconditioned) Hessian,
      is as large as the optimizer can bear (`stability_edge`; Cohen et al. 2021, 2022);
    - *one safe step*: eta_c, from which the very next update raises the loss of its batch (Kalra et al. 2026);
    - *short runs* with the compiled optimizer and `train_step`, every rate from the same state and on the same batches,
      until runs of twice the steps say the same (`sharpness_phases.analysis.rate_search`).

    The edge and the safe step say where to begin and why a rate fails; the runs decide. Learning-rate finders let the
    rate grow within one run, so that their answer depends on its range and its seed (docs/advice.md compares).

    Args:
        model: A Keras model, compiled with the loss and the optimizer that are to be trained with; a schedule of its
            rate gives way to constant rates.
        data: Training data: (x, y) or (x, y, sample_weight) of arrays, nested as the model takes them, or a
            `tf.data.Dataset` or `keras.utils.PyDataset` of batches.
        batch_size: Examples in a batch of arrays, as in `fit`; at most as many as there are.
        steps: Optimizer steps of the training to come: longer ones bear slightly smaller rates.
        examples: Number of training examples that the sharpness is measured on; None for those of one batch.
        solver: Eigenvalue solver; `Lanczos` to one percent by default.
        chunk_size: Number of examples differentiated at once for the sharpness, to bound memory; None for all.
        verify: Check the model's second derivatives first, as `SharpnessModel` does.
        seed: Fixes the order of arrays and the start vector of the solver.
        batch_norm: Which statistics batch normalisation uses while the sharpness is measured; see `SharpnessModel`.
        budget: Most optimizer steps of all short runs together.

    Returns:
        The advice.

    Raises:
        UserError: If a number is no positive integer, the model is not compiled with a loss, the data are no use, the
            loss at the present weights is not finite, or no rate lowers it.

    Example:
        On a quadratic loss gradient descent is stable below 2 / lambda:

        >>> import keras
        >>> x, y = np.eye(8, dtype="float32")[:4], np.ones((4, 1), "float32")
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(), "mse")
        >>> advice = recommend_learning_rate(model, (x, y), batch_size=4)
        >>> model.optimizer.learning_rate = advice.learning_rate
        >>> round(advice.edge_rate, 3), 0.5 < advice.learning_rate < 4
        (4.0, True)
    """
    import_tensorflow()
    counts = {"batch_size": batch_size, "steps": steps, "budget": budget}
    for name, value in (counts if examples is None else counts | {"examples": examples}).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be an integer of at least 1; got {value!r}")
    from sharpness_phases.training.batches import one_batch
    from sharpness_phases.training.edge_rate import edge_rate
    from sharpness_phases.training.optimizers import inner_optimizer
    from sharpness_phases.training.saved_state import state_put_back
    from sharpness_phases.training.short_runs import short_runs
    from sharpness_phases.training.training_batches import TrainingBatches, examples_of

    _require_compiled(model)
    try:
        batches = TrainingBatches(data, max(budget, BATCHES), batch_size, seed)
        measured = one_batch(data, examples) if examples else batches[0]
    except ValueError as error:
        raise UserError(str(error)) from None
    found = _next_steps(model, batches)
    with state_put_back(model):
        edge = edge_rate(model, measured, solver, chunk_size, verify, seed, batch_norm)
    facts = Facts(edge.learning_rate, edge.sharpness, edge.words, tuple(step.eta_c for step in found))
    with short_runs(model, batches) as runs:
        finding = search_rate(runs.losses, _begin(model, facts), steps, budget)
        curves = {rate: tuple(runs.losses(rate, count).tolist()) for rate, (count, _) in finding.ends.items()}
        cost = runs.steps + FORWARD * sum(step.forwards for step in found)
    if not finding.learning_rate > 0:
        raise UserError(_hopeless(finding))
    cost += PRODUCT * edge.products * examples_of(measured) / examples_of(batches[0])
    warmup = warmup_of(finding.learning_rate, curves, facts)
    return LearningRateAdvice(
        learning_rate=finding.learning_rate,
        ceiling=finding.ceiling,
        warmup=warmup,
        reasons=reasons(finding, warmup, facts, steps),
        cost=cost,
        optimizer=type(inner_optimizer(model.optimizer)).__name__,
        horizon=steps,
        steps=finding.steps,
        runs=curves,
        facts=facts,
    )


def _require_compiled(model: keras.Model) -> None:
    """Refuse a model without a loss."""
    import keras

    own_loss = type(model).compute_loss is not keras.Model.compute_loss
    own_step = type(model).train_step is not keras.Model.train_step
    if not model.compiled or not (model.loss or own_loss or own_step):
        raise UserError(
            "recommend_learning_rate needs a model compiled with a loss and an optimizer, as these are analysed: call "
            "model.compile(optimizer=..., loss=...) first"
        )


def _next_steps(model: keras.Model, batches: TrainingBatches) -> list[CriticalLearningRate]:
    """eta_c on each of some batches; none of a model whose training step is its own."""
    import keras

    from sharpness_phases.training.critical import NextStep

    if type(model).train_step is not keras.Model.train_step:
        return []
    first = NextStep(model, batches[0])
    found = [first.measure()]
    if not math.isfinite(found[0].loss):
        raise UserError(
            f"The loss at the present weights is {found[0].loss:g}; it must be finite. Look for NaN in the data, and "
            "standardise inputs and targets"
        )
    for batch in batches[1:BATCHES]:
        last = found[-1].eta_c
        found.append(first.on(batch).measure(last if 0 < last < math.inf else None))
    return found


def _begin(model: keras.Model, facts: Facts) -> float:
    """A rate to begin the runs with: the smaller of the edge's and the safe step's; else the optimizer's own."""
    own = float(model.optimizer.learning_rate)
    return min(facts.safe_rates) if facts.safe_rates else own if 0 < own < math.inf else FALLBACK


def _hopeless(finding: RateFinding) -> str:
    """Why no rate can be given."""
    rates = sorted(finding.ends)
    return (
        f"No rate from {rates[0]:.3g} to {rates[-1]:.3g} lowers the loss within {finding.steps} steps: the weights may "
        "be at a minimum, the network dead (all outputs constant), or some examples far larger than the others. Look "
        "at the data, standardise inputs and targets, initialise the network anew"
    )

"""A learning rate for a user's own compiled model: its edge, one safe step, and short runs with its very optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sharpness_phases.advice.start import (
    BATCHES,
    Measuring,
    measured_at_the_start,
    require_counts,
    training_batches,
)
from sharpness_phases.analysis.advice import Curves, Facts, Warmup, reasons, warmup_of
from sharpness_phases.analysis.rate_search import RateFinding, search_rate
from sharpness_phases.analysis.verdict import Verdict, judge
from sharpness_phases.errors import UserError
from sharpness_phases.training.startup import import_tensorflow

if TYPE_CHECKING:
    import keras

    from sharpness_phases.curvature.gradient_differences import Products
    from sharpness_phases.curvature.operator import Solver
    from sharpness_phases.training.batches import Data
    from sharpness_phases.training.measurement_set import ClassWeight
    from sharpness_phases.training.right_derivatives import BatchNorm

HORIZON = 1000
"""Optimizer steps of the training that a rate is for, unless told."""

STEPS_OF_ADVICE = 160
"""Most optimizer steps of all short runs together: with what measures the edge, as many as a range test takes."""

FALLBACK = 1e-3
"""Where to begin if nothing is known, not even a rate of the optimizer's own."""


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

    def explain(self, learning_rate: float) -> Verdict:
        """Say whether a rate would go wrong from the weights that the advice was asked at, by the runs that were made.

        `explain_learning_rate` asks the model itself, and looks at its data.

        Args:
            learning_rate: The rate in question.

        Returns:
            Which limits it exceeds, at which step it leaves, and why; printed, it tells that.
        """
        return judge(learning_rate, self.runs, self.facts, self.ceiling)

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
    class_weight: ClassWeight | None = None,
    products: Products = "exact",
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
        class_weight: Weights of the examples by class, as of `fit`.
        products: "exact" products with the Hessian, or by "differences" of the gradient, for what TensorFlow cannot
            differentiate twice; see `SharpnessModel`. Another word is a `ValueError`.

    Returns:
        The advice.

    Raises:
        UserError: If a number is no positive integer, the model is not compiled with a loss, the data are no use or
            have weights beside those by class, the loss at the present weights is not finite, or no rate lowers it.

    Example:
        On a quadratic loss gradient descent is stable below 2 / lambda:

        >>> import keras, numpy as np
        >>> x, y = np.eye(8, dtype="float32")[:4], np.ones((4, 1), "float32")
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(), "mse")
        >>> advice = recommend_learning_rate(model, (x, y), batch_size=4)
        >>> model.optimizer.learning_rate = advice.learning_rate
        >>> round(advice.edge_rate, 3), 0.5 < advice.learning_rate < 4
        (4.0, True)
    """
    import_tensorflow()
    require_counts(batch_size=batch_size, steps=steps, examples=examples, budget=budget)
    batches = training_batches(model, data, max(budget, BATCHES), batch_size, seed, class_weight)
    from sharpness_phases.curvature.gradient_differences import require_products
    from sharpness_phases.training.health import first_fault, look_at
    from sharpness_phases.training.optimizers import inner_optimizer
    from sharpness_phases.training.short_runs import short_runs

    health = look_at(model, batches[0])
    if health.hopeless:
        raise UserError(" ".join(["No learning rate can train this.", *health.data, *health.network]))
    how = Measuring(examples, solver, chunk_size, verify, seed, batch_norm, require_products(products))
    start = measured_at_the_start(model, data, batches, how, class_weight)
    with short_runs(model, batches) as runs:
        finding = search_rate(runs.losses, _begin(model, start.facts), steps, budget)
        curves = {rate: tuple(runs.losses(rate, count).tolist()) for rate, (count, _) in finding.ends.items()}
        cost = start.cost + runs.steps
    if not finding.learning_rate > 0:
        fault = first_fault(model, batches[: finding.steps])
        raise UserError(_hopeless(finding) if fault is None else f"No learning rate can train this. {fault}")
    warmup = warmup_of(finding.learning_rate, curves, start.facts)
    why = reasons(finding, warmup, start.facts, steps)
    return LearningRateAdvice(
        learning_rate=finding.learning_rate,
        ceiling=finding.ceiling,
        warmup=warmup,
        reasons=why + health.data + health.network,
        cost=cost,
        optimizer=type(inner_optimizer(model.optimizer)).__name__,
        horizon=steps,
        steps=finding.steps,
        runs=curves,
        facts=start.facts,
    )


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

"""Stored sharpnesses held against measurements of another kind: cold, in float64, by another solver, to 1e-5."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from sharpness_phases.analysis.tables import RunLabels, split_runs
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.operator import Linearization
from sharpness_phases.curvature.reference import Product, largest_eigenvalue
from sharpness_phases.data.preprocessing import batch_indices
from sharpness_phases.runs.axis import axis_of, preconditions
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec, learning_rates, limits_of
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.simulator import Simulator
from sharpness_phases.training.beginning import InitialState
from sharpness_phases.training.device import double_precision
from sharpness_phases.training.sharpness_model import SharpnessModel

TOLERANCE = 1e-5
"""Relative error of a measurement of the audit, a hundredth of what a stored one claims."""


class Audited(NamedTuple):
    """A stored sharpness and what it should be.

    Attributes:
        run_id: The run.
        question: What the run was for.
        depth: Depth of the network.
        width: Its width.
        seed: The initialisation.
        c: Learning-rate constant; NaN before training.
        step: Step after which it was measured.
        stored: The stored sharpness.
        residual: Its stored residual; NaN of an estimate from a sample.
        converged: Whether it says to be exact.
        truth: The sharpness measured anew.
        limit: The threshold of which the run asked the side; NaN where none.
        said: Whether the run says that its sharpness exceeds the limit at some step.
        loss: The stored loss.
        loss_again: The loss when the run was repeated.
    """

    run_id: str
    question: str
    depth: int
    width: int
    seed: int
    c: float
    step: int
    stored: float
    residual: float
    converged: bool
    truth: float
    limit: float
    said: bool
    loss: float
    loss_again: float


def chosen_rows(runs: pd.DataFrame, share: float, seed: int = 0) -> pd.DataFrame:
    """A share of the stored sharpnesses, chosen at random.

    Args:
        runs: All runs, a row per step.
        share: In (0, 1]; one at least is chosen.
        seed: Fixes the choice.

    Returns:
        Those rows, in their order; lambda_0, which all runs of an initialisation repeat, counts once.
    """
    repeated = (runs["step"] == 0) & (runs["question"] != Purpose.INITIAL.value)
    stored = np.flatnonzero(np.isfinite(runs["sharpness"]) & ~repeated)
    count = min(len(stored), max(1, round(share * len(stored))))
    return runs.iloc[np.sort(np.random.default_rng(seed).choice(stored, count, replace=False))]


def audit(config: ExperimentConfig, runs: pd.DataFrame, rows: pd.DataFrame) -> Iterator[Audited]:
    """Repeat the training of stored runs, and measure anew what they stored.

    Args:
        config: The experiment.
        runs: All its runs, a row per step.
        rows: Those to be audited, as `chosen_rows` gives them.

    Yields:
        The result for each.
    """
    simulator, audits = Simulator(config), None
    steps = {str(name): of_run["step"].tolist() for name, of_run in rows.groupby("run_id", sort=False)}
    for labels, run in split_runs(runs[runs["run_id"].isin(rows["run_id"])]):
        cell = Cell(labels["depth"], labels["width"], labels["seed"])
        if audits is None or audits.cell != cell:
            audits = _CellAudit(simulator, config, cell)
        yield from audits.audited(labels, run, steps[labels["run_id"]])


class _CellAudit:
    """The audit of one initialisation.

    Args:
        simulator: What repeats the training.
        config: The experiment.
        cell: The initialisation.

    Attributes:
        cell: As given.
    """

    def __init__(self, simulator: Simulator, config: ExperimentConfig, cell: Cell) -> None:
        self.cell = cell
        self._simulator, self._config = simulator, config
        self._weights = simulator.network(cell).get_weights()
        self._reference = _in_double_precision(simulator, config, cell)

    def audited(self, labels: RunLabels, run: Trajectory, steps: list[int]) -> Iterator[Audited]:
        """Measure a run anew after some of its steps.

        Args:
            labels: What describes it.
            run: The run.
            steps: The steps, increasing.

        Yields:
            The result for each.
        """
        limit = self._limit(labels, run)
        said = bool(np.any(run.sharpness[1:] > limit))
        shape = (self.cell.depth, self.cell.width, self.cell.seed)
        for step, (weights, divisor) in zip(steps, self._states_after(labels, run, steps), strict=True):
            truth, loss_again = self._measured(weights, divisor)
            yield Audited(
                labels["run_id"],
                labels["question"],
                *shape,
                labels["c"],
                step,
                float(run.sharpness[step]),
                float(run.residual[step]),
                bool(run.converged[step]),
                truth,
                limit,
                said,
                float(run.loss[step]),
                loss_again,
            )

    def _limit(self, labels: RunLabels, run: Trajectory) -> float:
        """The threshold of which a run was asked the side; NaN for other runs."""
        purpose = Purpose(labels["question"])
        if purpose not in (Purpose.SHARPNESS, Purpose.ONSET):
            return float("nan")
        spec = RunSpec(self.cell, purpose, labels["lr_exponent"])
        return limits_of(spec, self._config, float(run.loss[0]), float(run.sharpness[0])).sharpness_limit

    def _states_after(
        self, labels: RunLabels, run: Trajectory, steps: list[int]
    ) -> Iterator[tuple[list[np.ndarray], np.ndarray | None]]:
        """The weights of a run after some steps, by training again, and the optimizer's preconditioner, if any."""
        preconditioned = preconditions(self._config.trained_by)
        if steps == [0] and not preconditioned:
            yield self._weights, None
            return
        loss, sharpness, nan = float(run.loss[0]), float(run.sharpness[0]), float("nan")
        initial = InitialState(self._weights, loss, nan, sharpness, nan, nan, True, 0, nan, self.cell.seed)
        size, count = self._config.training.batch_size, len(self._simulator.data.x)
        batches = batch_indices(count, size, max(1, steps[-1]), self.cell.seed)
        runner, rate = self._simulator.runner(self.cell), axis_of(self._config).rate(labels["c"], sharpness)
        if preconditioned:
            runner.expect_first_batch(initial, batches[0])
        rates = learning_rates(self._config, float(rate), len(batches))
        for weights in runner.weights_after(initial, rates, batches, steps):
            yield weights, runner.model.stability_edge().preconditioner if preconditioned else None

    def _measured(self, weights: list[np.ndarray], divisor: np.ndarray | None) -> tuple[float, float]:
        """Sharpness, of P^-1/2 H P^-1/2 where a divisor P is given, and loss at these weights."""
        model = self._reference
        model.network.set_weights(weights)
        operator = model.tracker.operator
        here = operator.linearize()
        product = _product(here, operator.dtype)
        if divisor is not None:
            product = _scaled(product, divisor.astype(np.float64) ** -0.5)
        found = largest_eigenvalue(product, operator.size, TOLERANCE)
        return found.eigenvalue, float(here.loss)


def _product(here: Linearization, dtype: tf.DType) -> Product:
    return lambda vector: here.matvec(tf.constant(vector, dtype)).numpy().astype(np.float64)


def _scaled(product: Product, scale: np.ndarray) -> Product:
    return lambda vector: scale * product(scale * vector)


def _in_double_precision(simulator: Simulator, config: ExperimentConfig, cell: Cell) -> SharpnessModel:
    """The cell's network and loss in float64, as far as the user's own code does not fix another precision."""
    with double_precision():
        network = simulator.network(cell)
        chunk_size = config.sharpness.chunk_size
        statistics = config.sharpness.batch_norm
        model = SharpnessModel(
            network, simulator.measurement, every=0, chunk_size=chunk_size, verify=False, batch_norm=statistics
        )
        loss = build_loss(config.loss, "float64", config.data.info.has_labels)
        model.compile(optimizer="sgd", loss=loss, jit_compile=False)
        model.tracker  # noqa: B018  # built in this precision
    return model

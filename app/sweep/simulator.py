"""Training runs of a cell: one network's weights, batches and lambda_0, shared by all its learning rates."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.chunks import NotAMean
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.power import PowerIteration
from sharpness_phases.custom_code import names_custom_code
from sharpness_phases.data.preprocessing import TrainingData, batch_indices, measurement_indices, prepare
from sharpness_phases.errors import MachineError, UserError
from sharpness_phases.runs.axis import axis_of, preconditions
from sharpness_phases.runs.identity import TEXT_FILE, own_code
from sharpness_phases.runs.spec import Cell, RunSpec, cells, learning_rates, limits_of
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.networks import build_network
from sharpness_phases.sweep.optimizers import build_optimizer
from sharpness_phases.training.beginning import InitialState
from sharpness_phases.training.device import set_determinism, set_precision, share_memory, uses_xla
from sharpness_phases.training.right_derivatives import trained_batch_normalization
from sharpness_phases.training.runner import TrajectoryRunner
from sharpness_phases.training.sharpness_model import SharpnessModel

T = TypeVar("T")

_FEWEST_AT_ONCE, _SMALLEST_BASIS = 8, 4  # measurement examples and vectors; with fewer, memory goes to other things

logger = logging.getLogger(__name__)


class Simulator:
    """Carries out training runs of an experiment; holds the data and one compiled network at a time.

    Nothing is loaded or built before the first run, so that an experiment that is already complete costs nothing.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        set_precision(config.device.tensor_float_32)
        set_determinism(config.device.deterministic)
        share_memory()
        self._config = config
        self._own_code = own_code(config)
        self._chunk_size = config.sharpness.chunk_size
        self._basis_size = Lanczos().basis_size
        self._architecture: tuple[int, int] | None = None
        self._runner: TrajectoryRunner | None = None

    @cached_property
    def data(self) -> TrainingData:
        """The training data."""
        data = self._config.data
        return prepare(data.size, data.train_examples, data.data_dir, data.seed)

    @cached_property
    def measurement(self) -> tuple[np.ndarray, np.ndarray]:
        """The measurement set (x, y), the same for every measurement of the experiment."""
        settings = self._config.sharpness
        chosen = measurement_indices(len(self.data.x), settings.examples, settings.seed)
        return self.data.x[chosen], self.data.y[chosen]

    def network(self, cell: Cell) -> keras.Model:
        """A new network with the cell's initial weights."""
        return build_network(self._config.model, cell, self._config.data.info)

    def runner(self, cell: Cell) -> TrajectoryRunner:
        """The compiled runner of a cell's architecture, traced once for all its seeds and learning rates."""
        if self._runner is None or self._architecture != (cell.depth, cell.width):
            there_was_one, self._runner = self._runner is not None, None
            keras.backend.clear_session(free_memory=there_was_one)  # which looks through all objects there are
            self._runner = TrajectoryRunner(self.model(cell), self.data.x, self.data.y)
            self._architecture = (cell.depth, cell.width)
        return self._runner

    def require_unchanged_code(self) -> None:
        """Refuse to go on after the user's own code or text has changed: a run's id tells by what it was computed.

        Raises:
            UserError: If it has changed.
        """
        now = own_code(self._config)
        if changed := [name for name, digest in self._own_code.items() if now[name] != digest]:
            kind = "file" if changed == [TEXT_FILE] else "code"
            raise UserError(
                f"The {kind} of {' and '.join(changed)} was changed while the experiment ran. Finished runs are kept, "
                f"as runs of the {kind} before; run again to begin with the new one."
            )

    def within_memory(self, compute: Callable[[], T]) -> T:
        """Compute; where memory does not suffice, again with half as many examples at once and half the basis.

        Where it does not suffice for a few examples and vectors, either, it ends with `MachineError`.

        Args:
            compute: What; it asks for the runner itself.

        Returns:
            Its result, which these numbers change by rounding only, or within the solver's tolerance.

        Raises:
            UserError: If it does not suffice for all examples, and the loss is not a mean over them.
        """
        while True:
            try:
                return compute()
            except NotAMean as error:
                raise UserError(f"sharpness.chunk_size: {error}") from None
            except (tf.errors.ResourceExhaustedError, MemoryError):
                self._ask_for_less()

    def _ask_for_less(self) -> None:
        """Half as many examples at once and half the basis, as far as they may be lowered."""
        examples = self._config.sharpness.examples
        at_once = min(self._chunk_size or examples, examples)
        fixed = self._chunks_decide()
        lowest = at_once if fixed else min(_FEWEST_AT_ONCE, at_once)
        if at_once <= lowest and self._basis_size <= _SMALLEST_BASIS:
            advice = "Lower sweep.widths or training.batch_size, or take a device with more memory, then run again."
            if fixed:
                advice += " With batch normalisation sharpness.chunk_size decides the loss, so that it is left to you."
            raise MachineError(
                f"Out of memory, even with {at_once} measurement examples at once and a basis of {self._basis_size} "
                f"vectors. Finished runs are kept. {advice}"
            ) from None
        if at_once > lowest:
            self._chunk_size = max(lowest, at_once // 2)
        self._basis_size = max(_SMALLEST_BASIS, self._basis_size // 2)
        self._runner = None
        logger.warning(
            "Out of memory with %d measurement examples at once; going on with %d (sharpness.chunk_size), "
            "and a basis of %d vectors at most.",
            at_once,
            self._chunk_size or examples,
            self._basis_size,
        )

    def _chunks_decide(self) -> bool:
        """Whether another chunk size gives other numbers: with batch normalisation."""
        if self._config.sharpness.batch_norm != "batch":
            return False
        if not names_custom_code(self._config.model.family):
            return self._config.model.normalization == "batch"
        return bool(trained_batch_normalization(self.network(cells(self._config)[0])))

    def model(self, cell: Cell) -> SharpnessModel:
        """A compiled `SharpnessModel` of a cell's network."""
        config = self._config
        model = SharpnessModel(
            self.network(cell),
            measurement=self.measurement,
            solver=build_solver(config.sharpness.solver, config.sharpness.tolerance, self._basis_size),
            every=0,
            chunk_size=self._chunk_size,
            seed=config.sharpness.seed,
            batch_norm=config.sharpness.batch_norm,
            preconditioned=preconditions(config.trained_by),
        )
        self.compile(model)
        return model

    def compile(self, model: keras.Model) -> None:
        """Compile a model with the experiment's optimizer and loss, by XLA where it says so."""
        config = self._config
        optimizer = build_optimizer(config.trained_by)
        loss = build_loss(config.loss, of_labels=config.data.info.has_labels)
        model.compile(optimizer=optimizer, loss=loss, jit_compile=uses_xla(config.device.xla))


class CellRunner:
    """The runs of one cell.

    Args:
        simulator: Where they are carried out.
        config: The experiment.
        cell: The initialisation.
    """

    def __init__(self, simulator: Simulator, config: ExperimentConfig, cell: Cell) -> None:
        self._simulator = simulator
        self._config = config
        self._cell = cell

    @cached_property
    def initial(self) -> InitialState:
        """The network before training, with lambda_0.

        Raises:
            UserError: If lambda_0 is not above 0: c has no meaning then.
        """
        weights = self._simulator.network(self._cell).get_weights()
        state = self._simulator.within_memory(
            lambda: self._simulator.runner(self._cell).initial_state(weights, self._cell.seed, self._batches(1)[0])
        )
        if not state.sharpness > 0:
            raise UserError(
                f"The initial sharpness of {self._cell.name} is {state.sharpness:g}; rates in units of it need "
                "a positive one. The network may be dead, or the data constant: change `model`, `data` or the seeds."
            )
        if not state.converged and self._config.sharpness.solver == "lanczos":
            share, tolerance = state.residual / state.sharpness, self._config.sharpness.tolerance
            side, why = "above", ""
            if share <= tolerance:
                side, why = "within", ", but rounding spoils products, or a larger eigenvalue is not excluded"
            logger.warning(
                "%s: lambda_0 may be inexact: after %d products its residual is %.1e of it, %s sharpness.tolerance "
                "%.1e%s.",
                self._cell.name,
                state.hvps,
                share,
                side,
                tolerance,
                why,
            )
        return state

    def _batches(self, steps: int) -> np.ndarray:
        """The first batches of this initialisation: the same for every run."""
        return batch_indices(len(self._simulator.data.x), self._config.training.batch_size, steps, self._cell.seed)

    def before_training(self) -> Trajectory:
        """The state at step 0 alone, with the cost of lambda_0; `UserError` after the user's own code has changed."""
        state = self.initial
        self._simulator.require_unchanged_code()
        values = (state.loss, state.accuracy, state.sharpness, state.residual)
        loss, accuracy, sharpness, residual = (np.array([value], np.float64) for value in values)
        converged, hvps = np.array([state.converged]), np.array([state.hvps], np.int64)
        participation, at_floor = np.array([state.participation]), np.array([state.at_floor])
        return Trajectory(
            loss,
            accuracy,
            sharpness,
            residual,
            converged,
            hvps,
            diverged=False,
            participation=participation,
            at_floor=at_floor,
        )

    def trajectory(self, spec: RunSpec) -> Trajectory:
        """Train as the run's purpose asks.

        Args:
            spec: The run, of this cell, with an exponent.

        Returns:
            The run; it ends as soon as its purpose is served. `UserError` if the user's own code has changed.
        """
        initial = self.initial
        limits = limits_of(spec, self._config, initial.loss, initial.sharpness)
        batches, axis = self._batches(limits.steps), axis_of(self._config)
        rate = float(axis.rate(spec.c, initial.sharpness))
        run = self._simulator.within_memory(
            lambda: self._simulator.runner(self._cell).run(
                initial,
                learning_rates(self._config, rate, limits.steps),
                batches,
                measure=limits.measured,
                first_loss_limit=limits.first_loss_limit,
                sharpness_limit=limits.sharpness_limit,
                barrier_after=limits.barrier_after,
            )
        )
        self._simulator.require_unchanged_code()
        return replace(run, edge=np.asarray(axis.edge(learning_rates(self._config, rate, len(run.loss)))))


def build_solver(name: str, tolerance: float, basis_size: int) -> Lanczos | PowerIteration:
    """The solver of a config: "lanczos", or "power" for the reference protocol of 20 iterations."""
    return Lanczos(tolerance=tolerance, basis_size=basis_size) if name == "lanczos" else PowerIteration()

"""Completing a cell: the search asks, stored runs answer, or new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from sharpness_phases.analysis.critical import undecided
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import UserError
from sharpness_phases.runs.identity import identities, identity
from sharpness_phases.runs.questions import Question
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec, criteria
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.sweep.dialogue import Dialogue, Unanswered
from sharpness_phases.sweep.search import adaptive, exhaustive
from sharpness_phases.training.startup import import_tensorflow

if TYPE_CHECKING:
    from sharpness_phases.sweep.simulator import CellRunner, Simulator


_SAME_LOSS, _SAME_SHARPNESS = 1e-4, 1e-2
"""Relative differences of L_0 and lambda_0 up to which a network is the stored one. Chosen so: other machines differ by
1e-6 in L_0, and by `sharpness.tolerance` in lambda_0, 1e-3; other initialisations by percents."""


class RunKeeper(Protocol):
    """Where a cell's runs are kept, such as `sharpness_phases.store.runs.RunStore`."""

    def find(self, run_id: str) -> Trajectory | None:
        """A run, None if there is none."""
        ...

    def write(self, run_id: str, labels: Mapping[str, Any], trajectory: Trajectory) -> None:
        """Keep a run."""
        ...


class Incomplete(Exception):
    """A run is missing, and none may be computed."""


class CellSweep:
    """Completes a cell: asks the search's questions, answers from the store or by a training run.

    Args:
        config: The experiment.
        cell: The initialisation.
        store: Where runs are read from and written to.
        simulator: A simulator of the same experiment to go on with; made when the first run has to be computed.
        compute: Whether missing runs are computed; else `complete` raises `Incomplete` at the first.
        runs: What computes them; that of the simulator by default.

    Attributes:
        computed: Number of runs computed so far.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        cell: Cell,
        store: RunKeeper,
        simulator: Simulator | None = None,
        compute: bool = True,
        runs: CellRunner | None = None,
    ) -> None:
        self._config = config
        self._cell = cell
        self._store = store
        self._criteria = criteria(config)
        self._runs = runs
        self._compute = compute
        self.simulator = simulator
        self.computed = 0

    def complete(self) -> None:
        """Run what the experiment asks for and the store does not hold."""
        exponents = self._config.sweep.lr_exponents.exponents()
        self._before_training()
        if self._config.sweep.search == "exhaustive":
            exhaustive(len(exponents), lambda i: self._diverges_early(self._trajectory(exponents[i], Purpose.WHOLE)))
        else:
            self._search(exponents)
        if self._config.analysis.saturation:
            exhaustive(len(exponents), lambda i: self._trajectory(exponents[i], Purpose.SATURATION).diverged)

    def _diverges_early(self, run: Trajectory) -> bool:
        return self._criteria.answer(Question.DIVERGENCE, run) is True

    def _search(self, exponents: list[float]) -> None:
        def run_at(index: int, question: Question) -> Trajectory:
            return self._trajectory(exponents[index], Purpose(question.value))

        dialogue = Dialogue(run_at, self._criteria)
        try:
            adaptive([2.0**x for x in exponents], dialogue, barrier=self._criteria.barrier)
            # A run for one question may have answered another where the search had not looked.
            while (missing := undecided(len(exponents), dialogue.runs, self._criteria)) is not None:
                dialogue.ask(*missing)
        except Unanswered as error:
            raise UserError(
                f"{self._cell.name}: at c = {2.0 ** exponents[error.index]:.4g} the sharpness is not a number while "
                "the loss is finite: the second derivative of the loss, or of a layer, is not defined there"
            ) from None

    def _before_training(self) -> None:
        spec = RunSpec(self._cell)
        if self._found(spec) is None:
            self._keep(spec, self._cell_runs().before_training())

    def _trajectory(self, exponent: float, purpose: Purpose) -> Trajectory:
        spec = RunSpec(self._cell, purpose, exponent)
        for serving in spec.serving:
            if (found := self._found(serving)) is not None:
                return found
        run = self._cell_runs().trajectory(spec)
        self._keep(spec, run)
        return run

    def _found(self, spec: RunSpec) -> Trajectory | None:
        """The run in the store, under whatever id it was stored."""
        found = (self._store.find(name) for name in identities(self._config, spec))
        return next((run for run in found if run is not None), None)

    def _keep(self, spec: RunSpec, run: Trajectory) -> None:
        labels = spec.labels(self._config, float(run.sharpness[0]))
        self._store.write(identity(self._config, spec), labels, run)
        self.computed += 1

    def _cell_runs(self) -> CellRunner:
        """The cell's runs; TensorFlow is imported here, when the first run has to be computed."""
        if not self._compute:
            raise Incomplete(self._cell.name)
        if self._runs is None:
            import_tensorflow()
            from sharpness_phases.sweep.simulator import CellRunner, Simulator

            if self.simulator is None:
                self.simulator = Simulator(self._config)
            self._runs = CellRunner(self.simulator, self._config, self._cell)
            self._require_the_stored_network(self._runs)
        return self._runs

    def _require_the_stored_network(self, runs: CellRunner) -> None:
        """Refuse to go on with another initialisation than that of the stored runs."""
        stored = self._found(RunSpec(self._cell))
        if stored is None:
            return
        now = runs.initial
        pairs = ((stored.loss[0], now.loss, _SAME_LOSS), (stored.sharpness[0], now.sharpness, _SAME_SHARPNESS))
        if any(abs(before - after) > share * abs(before) for before, after, share in pairs):
            raise UserError(
                f"{self._cell.name}: the stored runs began at L_0 = {stored.loss[0]:.6g} and lambda_0 = "
                f"{stored.sharpness[0]:.6g}, the network built now at {now.loss:.6g} and {now.sharpness:.6g}: it "
                "is another initialisation. Own models must take all their weights from `seed`; --fresh runs all anew"
            )

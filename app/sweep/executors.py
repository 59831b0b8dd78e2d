"""Carrying out an experiment's cells."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from app.analysis.critical import Question, undecided
from app.config.schema import ExperimentConfig
from app.errors import UserError
from app.store.runs import RunStore
from app.sweep.plan import Cell, criteria, identity, labels
from app.sweep.search import Answer, adaptive, exhaustive
from app.training.quiet import import_tensorflow
from app.trajectory import Trajectory

if TYPE_CHECKING:
    from app.sweep.cell import CellRuns, Simulator


class Executor(Protocol):
    """Carries out cells, in any order and place."""

    def run(self, config: ExperimentConfig, cells: Sequence[Cell], store: RunStore) -> Iterator[tuple[Cell, int]]:
        """Carry out what is missing of the cells.

        Args:
            config: The experiment.
            cells: Which cells.
            store: Where runs are read from and written to.

        Yields:
            Each finished cell and the number of runs that were computed for it.
        """
        ...


class SerialExecutor:
    """Carries out one cell after the other, in this process."""

    def run(self, config: ExperimentConfig, cells: Sequence[Cell], store: RunStore) -> Iterator[tuple[Cell, int]]:
        """See `Executor.run`."""
        simulator = None
        found: dict[tuple[int, int], list[dict[Question, int | None]]] = {}
        for cell in cells:
            earlier = found.setdefault((cell.depth, cell.width), [])
            sweep = CellSweep(config, cell, store, simulator, _expected(earlier))
            sweep.complete()
            simulator = sweep.simulator
            earlier.append(sweep.edges)
            yield cell, sweep.computed


def _expected(earlier: Sequence[Mapping[Question, int | None]]) -> dict[Question, int]:
    """Where the edges are expected, from other initialisations of the same architecture: at their median."""
    indices: dict[Question, list[int]] = {}
    for edges in earlier:
        for question, index in edges.items():
            if index is not None:
                indices.setdefault(question, []).append(index)
    return {question: statistics.median_high(values) for question, values in indices.items()}


class CellSweep:
    """Completes a cell: asks the search's questions, answers from the store or by a training run.

    Args:
        config: The experiment.
        cell: The initialisation.
        store: Where runs are read from and written to.
        simulator: A simulator of the same experiment to go on with; made when the first run has to be computed.
        guesses: Grid indices at which an adaptive search expects the conditions to begin to hold.

    Attributes:
        edges: Where an adaptive search found them to, None where nowhere.
        computed: Number of runs computed so far.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        cell: Cell,
        store: RunStore,
        simulator: Simulator | None = None,
        guesses: Mapping[Question, int] | None = None,
    ) -> None:
        self._config = config
        self._cell = cell
        self._store = store
        self._criteria = criteria(config)
        self._runs: CellRuns | None = None
        self._guesses = guesses
        self.edges: dict[Question, int | None] = {}
        self.simulator = simulator
        self.computed = 0

    def complete(self) -> None:
        """Run what the experiment asks for and the store does not hold."""
        exponents = self._config.sweep.lr_exponents.exponents()
        self._before_training()
        if self._config.sweep.search == "exhaustive":
            exhaustive(len(exponents), lambda i: self._diverges_early(self._trajectory(exponents[i], None)))
        else:
            self._search(exponents)
        if self._config.analysis.saturation:
            exhaustive(len(exponents), lambda i: self._trajectory(exponents[i], Question.SATURATION).diverged)

    def _diverges_early(self, run: Trajectory) -> bool:
        return self._criteria.answer(Question.DIVERGENCE, run) is True

    def _search(self, exponents: list[float]) -> None:
        runs: dict[int, list[Trajectory]] = {}

        def known(index: int, question: Question) -> Answer | None:
            for run in runs.get(index, ()):
                answer = self._criteria.answer(question, run)
                if answer is not None:
                    return Answer(answer, self._criteria.closeness(question, run))
            return None

        def ask(index: int, question: Question) -> Answer:
            if (found := known(index, question)) is not None:
                return found
            runs.setdefault(index, []).append(self._trajectory(exponents[index], question))
            if (found := known(index, question)) is None:
                raise UserError(
                    f"{self._cell.name}: at c = {2.0 ** exponents[index]:.4g} the sharpness is not a number while the "
                    "loss is finite: the second derivative of the loss, or of a layer, is not defined there"
                )
            return found

        self.edges = adaptive([2.0**x for x in exponents], ask, known, self._guesses, self._criteria.barrier)
        # A run for one question may have answered another where the search had not looked.
        while (missing := undecided(len(exponents), runs, self._criteria)) is not None:
            ask(*missing)

    def _before_training(self) -> None:
        name = identity(self._config, self._cell, None, None)
        if name not in self._store:
            self._keep(name, None, None, self._cell_runs().before_training())

    def _trajectory(self, exponent: float, question: Question | None) -> Trajectory:
        # A whole run answers every yes-or-no question, too.
        for asked in (question,) if question is Question.SATURATION else (None, question):
            name = identity(self._config, self._cell, exponent, asked)
            if name in self._store:
                return self._store.read(name)
        run = self._cell_runs().trajectory(exponent, question)
        self._keep(name, exponent, question, run)
        return run

    def _keep(self, name: str, exponent: float | None, question: Question | None, run: Trajectory) -> None:
        columns = labels(self._config, self._cell, exponent, float(run.sharpness[0]))
        reason = "initial" if exponent is None else "whole" if question is None else question.value
        self._store.write(name, columns | {"question": reason}, run)
        self.computed += 1

    def _cell_runs(self) -> CellRuns:
        """The cell's runs; TensorFlow is imported here, when the first run has to be computed."""
        if self._runs is None:
            import_tensorflow()
            from app.sweep.cell import CellRuns, Simulator

            if self.simulator is None:
                self.simulator = Simulator(self._config)
            self._runs = CellRuns(self.simulator, self._config, self._cell)
        return self._runs


def build_executor(config: ExperimentConfig) -> Executor:
    """The executor that the config asks for."""
    return SerialExecutor()

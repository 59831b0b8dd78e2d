"""An experiment from its config to its pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from sharpness_phases.analysis.uv import compare_with_exact
from sharpness_phases.analyzer import PhaseAnalyzer
from sharpness_phases.config.loading import ConfigError, dump_config, load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.custom_code import names_custom_code
from sharpness_phases.errors import UserError
from sharpness_phases.runs.identity import identities
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec, cells
from sharpness_phases.store.claims import Claims
from sharpness_phases.store.files import remove_unfinished, write_text
from sharpness_phases.store.folder import (
    CONFIG_FILE,
    RUNS_FOLDER,
    errors_with_advice,
    set_aside,
    stored_config,
    work_folder,
)
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.executors import build_executor
from sharpness_phases.training.startup import import_tensorflow
from sharpness_phases.views.diagram import ComparisonSheet, Over, PhaseDiagram
from sharpness_phases.views.results import write_results

if TYPE_CHECKING:
    from sharpness_phases.sweep.cost import Estimate
    from sharpness_phases.training.runner import InitialState

logger = logging.getLogger(__name__)

_PACKAGES = ("sharpness-phases", "tensorflow", "keras", "numpy")


class Progress(Protocol):
    """Told of an experiment's progress."""

    def started(self, cells: Sequence[Cell]) -> None:
        """The cells that will be carried out, or found complete."""
        ...

    def finished(self, cell: Cell, computed: int) -> None:
        """A cell is complete, after so many new runs."""
        ...


class Experiment:
    """Runs what is missing of an experiment, analyses it and draws it.

    Args:
        config: What to run.
        folder: Where results go; outputs/<name> by default.

    Example:
        `experiment.run()` then runs it, and `.critical_constants()` of what that returns is a table.

        >>> experiment = Experiment.from_config("quickstart", overrides=["sweep.widths=[64,128]"])
        >>> experiment.config.sweep.widths
        [64, 128]
        >>> experiment.folder.as_posix()
        'outputs/quickstart'
    """

    def __init__(self, config: ExperimentConfig, folder: str | Path | None = None) -> None:
        self.config = config
        self.folder = Path("outputs") / config.name if folder is None else Path(folder)

    @classmethod
    def from_config(
        cls, source: str | Path, overrides: Sequence[str] = (), folder: str | Path | None = None
    ) -> Experiment:
        """Read an experiment from a config; one that is wrong is a `UserError`.

        Args:
            source: Path of a YAML file, or the name of a shipped config.
            overrides: Texts `key.path=value`.
            folder: Where results go; outputs/<name> by default.

        Returns:
            The experiment.
        """
        return cls(load_config(source, overrides), folder)

    @classmethod
    def open(cls, folder: str | Path) -> Experiment:
        """An experiment that has been run; a folder without one is a `UserError`.

        Args:
            folder: Folder that `phases run` has written.

        Returns:
            The experiment, with the config that was run.
        """
        return cls(stored_config(folder), folder)

    def run(self, progress: Progress | None = None, fresh: bool = False) -> PhaseAnalyzer:
        """Run what the search asks for and the folder does not hold; then analyse and draw.

        Several processes may do so in one folder: they share the cells, and each draws when all are complete.

        A folder that cannot be written and data that cannot be loaded are a `UserError`, and leave nothing behind; so
        is `fresh` while another process works in the folder. A full disk and lack of memory are a `MachineError`, and
        finished runs are kept.

        Args:
            progress: Told of every finished cell.
            fresh: Set old runs aside (in `runs.old-1`, ...) and run everything.

        Returns:
            The analyzer of the runs.

        """
        with self._at_work() as claims:
            if fresh:
                self._set_runs_aside(claims)
            store = self._compute(cells(self.config), progress, claims)
            claims.wait("analysis")
            return self._analyze(PhaseAnalyzer.from_store(store, self.config))

    def run_shard(self, shard: tuple[int, int], progress: Progress | None = None) -> int:
        """Run the shard's share of the cells, for arrays of jobs: all shards together run all; nothing is drawn.

        Errors are those of `run`.

        Args:
            shard: (i, n): every n-th cell, from the i-th on, 1 <= i <= n.
            progress: Told of every finished cell.

        Returns:
            Number of the shard's cells.

        """
        todo = self._cells_of(shard)
        with self._at_work() as claims:
            self._compute(todo, progress, claims)
        return len(todo)

    def analyze(self) -> PhaseAnalyzer:
        """Redo the analysis and the pictures from stored runs only; none at all are a `UserError`.

        Returns:
            The analyzer.

        """
        with errors_with_advice(self.folder):
            return self._analyze(PhaseAnalyzer.from_store(self._store(), self.config))

    def run_uv(self, progress: Progress | None = None) -> pd.DataFrame:
        """Run an experiment of the uv model, hold it against the exact solution, draw the exact c_loss on top.

        A config of anything but the uv model with plain gradient descent is a `UserError`.

        Args:
            progress: Told of every finished cell.

        Returns:
            A row per width n: mean c_loss and its exact value over the initialisations where both are known, the
            largest distance in grid steps of the first from the grid point above the second, and the largest relative
            errors of f and lambda over all stored steps.

        """
        _require_solvable(self.config)
        analyzer = self.run(progress)
        table = compare_with_exact(analyzer.critical_constants(), analyzer.runs, self.config.sweep.lr_exponents.step)
        exact = table[["width", "c_loss_exact"]].rename(columns={"c_loss_exact": "c_loss"}).assign(depth=2)
        with errors_with_advice(self.folder):
            for ending in ("png", "svg"):
                PhaseDiagram(analyzer.summary, analyzer.title, exact).save(self.folder / f"phase_diagram.{ending}")
        return table

    def plan(self, rate: float | None = None) -> list[Estimate]:
        """Estimate what all runs cost; nothing is run.

        Args:
            rate: Floating-point operations per second of the device; measured on this machine by default.

        Returns:
            An entry for every (depth, width).
        """
        import_tensorflow()
        from sharpness_phases.sweep.cost import estimate
        from sharpness_phases.training.device import matrix_product_rate

        return estimate(self.config, matrix_product_rate() if rate is None else rate)

    def long_work(self, shard: tuple[int, int] | None = None, fresh: bool = False) -> float | None:
        """Tell before `run` or `run_shard` whether what is missing will take long; nothing is imported if nothing is.

        Args:
            shard: As for `run_shard`.
            fresh: As for `run`.

        Returns:
            Seconds on this machine, if they are more than an hour; else None, as for tasks of a cluster and for code of
            the user's, which may do what cannot be counted.
        """
        todo = self._cells_of((1, 1) if shard is None else shard)
        if not fresh:
            try:
                todo = self._not_begun(todo, self._store())
            except OSError:  # which `run` explains
                return None
        own = self.config.model.is_custom or names_custom_code(self.config.loss)
        if not todo or own or self.config.executor.kind != "serial":
            return None
        import_tensorflow()
        from sharpness_phases.sweep.forecast import long_work

        return long_work(self.config, todo)

    def initial_sharpness(self) -> list[tuple[Cell, InitialState]]:
        """Measure lambda_0 of every network of the experiment; nothing is stored.

        Returns:
            Cells and their states before training; a state's `error` estimates that of its sharpness.
        """
        import_tensorflow()
        from sharpness_phases.sweep.simulator import CellRunner, Simulator

        simulator = Simulator(self.config)
        return [(cell, CellRunner(simulator, self.config, cell).initial) for cell in cells(self.config)]

    def _cells_of(self, shard: tuple[int, int]) -> list[Cell]:
        index, of = shard
        return cells(self.config)[index - 1 :: of]

    @contextmanager
    def _at_work(self) -> Iterator[Claims]:
        """The folder, made if need be, cleared of what a killed process left, with the claims of this process on it."""
        with work_folder(self.folder, keep=self._is_needed), Claims(self.folder) as claims:
            if claims.is_alone():
                remove_unfinished(self.folder, self.folder / RUNS_FOLDER)
            yield claims

    def _is_needed(self) -> bool:
        """Whether the folder holds runs, or another process works in it."""
        with Claims(self.folder) as claims:
            return len(self._store()) > 0 or not claims.is_alone()

    def _compute(self, todo: Sequence[Cell], progress: Progress | None, claims: Claims) -> RunStore:
        """Carry out what is missing of the cells."""
        store = self._store(writable=True)
        self._write_config(store)
        if progress is not None:
            progress.started(todo)
        for cell, computed in build_executor(self.config).run(self.config, todo, store, claims):
            if computed and claims.claim("packing"):
                store.pack()
                claims.release("packing")
            if progress is not None:
                progress.finished(cell, computed)
        return store

    def _analyze(self, analyzer: PhaseAnalyzer) -> PhaseAnalyzer:
        write_results(analyzer, self.folder)
        return analyzer

    def _not_begun(self, todo: Sequence[Cell], store: RunStore) -> list[Cell]:
        """The cells without the first runs that each kind of search makes; no file is read for it."""
        lowest = self.config.sweep.lr_exponents.exponents()[0]

        def first_runs(cell: Cell) -> Iterator[RunSpec]:
            yield RunSpec(cell)
            if self.config.sweep.search == "exhaustive":
                yield RunSpec(cell, Purpose.WHOLE, lowest)
            if self.config.analysis.saturation:
                yield RunSpec(cell, Purpose.SATURATION, lowest)

        def is_stored(spec: RunSpec) -> bool:
            return any(name in store for name in identities(self.config, spec))

        return [cell for cell in todo if not all(map(is_stored, first_runs(cell)))]

    def _store(self, writable: bool = False) -> RunStore:
        return RunStore(self.folder / RUNS_FOLDER, writable)

    def _write_config(self, store: RunStore) -> None:
        """Write config.yaml with the versions in use; warn if stored runs come from other ones."""
        path = self.folder / CONFIG_FILE
        try:
            before = load_config(path).environment or {}
        except ConfigError:
            before = {}
        now = {name: _version(name) for name in _PACKAGES}
        changed = [f"{name} {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
        if changed and len(store):
            logger.warning(
                "Stored runs were computed with other versions: %s. --fresh runs them anew.",
                ", ".join(changed),
            )
        if self._not_begun(cells(self.config), store):
            import_tensorflow()
            from sharpness_phases.training.device import describe_device

            now["device"] = describe_device(self.config.device.xla)
            logger.info("Computing on %s", now["device"])
        elif "device" in before:
            now["device"] = before["device"]
        write_text(path, dump_config(self.config.changed(environment=now)))

    def _set_runs_aside(self, claims: Claims) -> None:
        if not claims.is_alone():
            raise UserError(f"{self.folder}: another process is running this experiment; --fresh has to wait for it")
        if (old := set_aside(self.folder / RUNS_FOLDER)) is not None:
            logger.info("Old runs are kept in %s", old)


def compare(folders: Sequence[str | Path], path: str | Path, over: str = "ratio") -> Path:
    """Draw the phase diagrams of several experiments on one sheet.

    Args:
        folders: Folders that `phases run` has written.
        path: Where the sheet goes; the ending chooses the format.
        over: Vertical axis of the panels: "width", "depth" or "ratio".

    Returns:
        The path.

    Raises:
        UserError: If a folder holds no experiment, or one whose constants are not known.
    """
    summaries, edges = [], []
    for folder in folders:
        analyzer = PhaseAnalyzer.load(folder)
        if not analyzer.constants_are_known:
            raise UserError(f"{folder}: no initialisation's critical constants are known; go on with `phases run`")
        summaries.append((f"{analyzer.config.name}\n{analyzer.title}", analyzer.summary))
        edges.append(analyzer.edge_constant)
    return ComparisonSheet(summaries, Over(over), edges).save(path)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "not installed"


def _require_solvable(config: ExperimentConfig) -> None:
    """Refuse what the exact solution of the uv model does not describe."""
    model = config.model
    needed = {
        "model.family": (model.family, "uv"),
        "model.output_scale": (model.output_scale, 1.0),
        "model.output_power": (model.output_power, 0.0),
        "model.subtract_initial": (model.subtract_initial, False),
        "loss": (config.loss, "mse"),
        "training.momentum": (config.training.momentum, 0.0),
    }
    faults = [f"{key} must be {value}; got {given}" for key, (given, value) in needed.items() if given != value]
    if faults:
        raise UserError(f"phases uv: {'; '.join(faults)}")

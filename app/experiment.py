"""An experiment from its config to its pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd

from sharpness_phases.analysis.audit import Verdict, verdict
from sharpness_phases.analysis.uv import compare_with_exact
from sharpness_phases.analysis.uv_orbits import Onset, onsets, orbit_table, points_table
from sharpness_phases.analyzer import OverAnalyzer, PhaseAnalyzer
from sharpness_phases.config.loading import load_config
from sharpness_phases.config.over import Number, folder_of, require_one_value
from sharpness_phases.config.schema import ExperimentConfig, variants
from sharpness_phases.errors import UserError
from sharpness_phases.runs.axis import optimizer_in_words
from sharpness_phases.runs.spec import Cell, cells, criteria
from sharpness_phases.store.claims import Claims
from sharpness_phases.store.config_file import require_same_experiment, write_config
from sharpness_phases.store.files import atomic_file, remove_unfinished, write_text
from sharpness_phases.store.folder import (
    CONFIG_FILE,
    RUNS_FOLDER,
    errors_with_advice,
    holds_runs,
    set_aside,
    stored_config,
    work_folder,
)
from sharpness_phases.store.runs import RunStore
from sharpness_phases.store.times import TIMES_FILE, Stopwatch
from sharpness_phases.sweep.executors import build_executor
from sharpness_phases.sweep.missing import MissingWork, missing_work
from sharpness_phases.training.environment import environment
from sharpness_phases.training.startup import import_tensorflow
from sharpness_phases.views.results import write_results, write_results_over

if TYPE_CHECKING:
    from sharpness_phases.sweep.audit import Audited
    from sharpness_phases.sweep.cost import Estimate
    from sharpness_phases.training.beginning import InitialState

logger = logging.getLogger(__name__)

Foretell: TypeAlias = Callable[[float], None]
"""Told before it begins that the work will take so many seconds, if they are more than an hour."""

ShownOneByOne: TypeAlias = "Callable[[Iterable[Audited], int], Iterable[Audited]]"
"""Hands on results one by one, of so many, such as behind a bar of progress."""


def _as_they_are(results: Iterable[Audited], count: int) -> Iterable[Audited]:
    return results


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

    def run(
        self, progress: Progress | None = None, fresh: bool = False, foretell: Foretell | None = None
    ) -> PhaseAnalyzer:
        """Run what the search asks for and the folder does not hold; then analyse and draw.

        Several processes may do so in one folder: they share the cells, and each draws when all are complete.

        A folder that cannot be written and data that cannot be loaded are a `UserError`, and leave nothing behind; so
        are a folder with runs of another config, and `fresh` while another process works in the folder. A full disk and
        lack of memory are a `MachineError`, and finished runs are kept.

        Args:
            progress: Told of every finished cell.
            fresh: Set old runs and their config aside (`runs.old-1`, `config.yaml.old-1`, ...) and run everything.
            foretell: Told of long work before it begins.

        Returns:
            The analyzer of the runs; with `sweep.over` an `OverAnalyzer`, of experiments in a folder for each value.

        """
        if self.config.sweep.over:
            return self._over(lambda each: each.run(progress, fresh, foretell))
        with self._at_work() as claims:
            store = self._compute(cells(self.config), progress, claims, fresh, foretell)
            with claims.holding("analysis"):
                return self._analyze(PhaseAnalyzer.from_store(store, self.config), anew=False)

    def run_shard(
        self, shard: tuple[int, int], progress: Progress | None = None, foretell: Foretell | None = None
    ) -> int:
        """Run the shard's share of the cells, for arrays of jobs: all shards together run all; nothing is drawn.

        Errors are those of `run`.

        Args:
            shard: (i, n): every n-th cell, from the i-th on, 1 <= i <= n.
            progress: Told of every finished cell.
            foretell: Told of long work before it begins.

        Returns:
            Number of the shard's cells.

        """
        if self.config.sweep.over:
            with self._folder_of_all():
                return sum(each.run_shard(shard, progress, foretell) for each in self._variants().values())
        todo = self._cells_of(shard)
        with self._at_work() as claims:
            self._compute(todo, progress, claims, foretell=foretell)
        return len(todo)

    def analyze(self) -> PhaseAnalyzer:
        """Redo the analysis and all pictures from stored runs only; no runs at all are a `UserError`.

        Returns:
            The analyzer.

        """
        if self.config.sweep.over:
            return self._over(lambda each: each.analyze())
        with errors_with_advice(self.folder):
            return self._analyze(PhaseAnalyzer.from_store(self._store(), self.config))

    def run_uv(self, progress: Progress | None = None) -> pd.DataFrame:
        """Run an experiment of the uv model, hold it against the exact solution, draw the exact c_loss on top.

        A config of anything but the uv model with plain gradient descent is a `UserError`.

        Args:
            progress: Told of every finished cell.

        Returns:
            A row per width n, as `analysis.uv.compare_with_exact` describes it: how many initialisations were compared
            or censored, c_loss measured and exact, their largest distance in grid steps, and the largest relative
            errors of f and lambda over all stored steps.

        """
        require_one_value(self.config.sweep.over, "phases uv")
        _require_solvable(self.config)
        analyzer = self.run(progress)
        exponents = self.config.sweep.lr_exponents.exponents()
        table = compare_with_exact(analyzer.critical_constants(), analyzer.runs, exponents, criteria(self.config))
        known = table[(table["c_loss_exact"] > 0) & np.isfinite(table["c_loss_exact"])]
        exact = known[["width", "c_loss_exact"]].rename(columns={"c_loss_exact": "c_loss"}).assign(depth=2)
        with errors_with_advice(self.folder):
            from sharpness_phases.views.diagram import PhaseDiagram

            for ending in ("png", "svg"):
                PhaseDiagram(analyzer.summary, analyzer.title, exact).save(self.folder / f"phase_diagram.{ending}")
        return table

    def plan(self, rate: float | None = None) -> list[Estimate]:
        """Estimate what all runs cost; nothing is run.

        Args:
            rate: Floating-point operations per second of a device. None: that of this machine, on which some passes
                through each network are timed, and whose stored runs, in the experiment's folder and in those beside
                it, tell what they took.

        Returns:
            An entry for every (depth, width); with `sweep.over` for each of its values in turn.
        """
        import_tensorflow()
        from sharpness_phases.sweep.cost import estimate
        from sharpness_phases.sweep.learned import learned
        from sharpness_phases.training.device import describe_device, share_memory

        share_memory()
        device = describe_device(self.config.device.xla)
        each = list(self._variants().values()) or [self]
        return [found for one in each for found in estimate(one.config, rate, learned(one.config, one.folder, device))]

    def long_work(self, shard: tuple[int, int] | None = None, fresh: bool = False) -> float | None:
        """Tell before `run` or `run_shard` whether what is missing will take long; nothing is imported if nothing is.

        Args:
            shard: As for `run_shard`.
            fresh: As for `run`.

        Returns:
            Seconds on this machine, if they are more than an hour; else None, as for tasks of a cluster and for code of
            the user's, which may do what cannot be counted.
        """
        if self.config.sweep.over:
            times = [each.long_work(shard, fresh) for each in self._variants().values()]
            return sum(filter(None, times)) or None
        try:
            store = None if fresh else self._store()
        except OSError:  # which `run` explains
            return None
        return missing_work(self.config, self._cells_of(shard or (1, 1)), store).seconds_if_long()

    def initial_sharpness(self) -> list[tuple[Cell, InitialState]]:
        """Measure lambda_0 of every network of the experiment; nothing is stored. With `sweep.over`, a `UserError`.

        Returns:
            Cells and their states before training; a state's `error` estimates that of its sharpness.
        """
        require_one_value(self.config.sweep.over, "phases sharpness")
        import_tensorflow()
        from sharpness_phases.sweep.simulator import CellRunner, Simulator

        simulator = Simulator(self.config)
        return [(cell, CellRunner(simulator, self.config, cell).initial) for cell in cells(self.config)]

    def audit(self, share: float = 0.1, seed: int = 0, shown: ShownOneByOne = _as_they_are) -> tuple[Verdict, Path]:
        """Measure a share of the stored sharpnesses anew, cold, in float64, by another solver; no run is changed.

        A folder without runs of this config is a `UserError`, and so is a config with `sweep.over`.

        Args:
            share: Of the stored sharpnesses, in (0, 1].
            seed: Fixes which of them are chosen.
            shown: Hands on the results one by one, such as behind a bar of progress; told their number.

        Returns:
            What was found, and the table of it (`audit.csv` in the folder), a row per sharpness.
        """
        require_one_value(self.config.sweep.over, "phases audit")
        with errors_with_advice(self.folder):
            runs = PhaseAnalyzer.from_store(self._store(), self.config).runs
            import_tensorflow()
            from sharpness_phases.sweep.audit import Audited, audit, chosen_rows

            rows = chosen_rows(runs, share, seed)
            found = pd.DataFrame(list(shown(audit(self.config, runs, rows), len(rows))), columns=list(Audited._fields))
            path = self.folder / "audit.csv"
            write_text(path, found.to_csv(index=False))
        return verdict(found, self.config.sharpness.tolerance), path

    def _variants(self) -> dict[Number, Experiment]:
        """The experiments along `sweep.over`, each in a folder of its own within that of the whole."""
        return {
            each.value: Experiment(each.config, self.folder / folder_of(key, each.value))
            for key in self.config.sweep.over
            for each in variants(self.config)
        }

    def _over(self, carry_out: Callable[[Experiment], PhaseAnalyzer]) -> OverAnalyzer:
        """Carry out the experiments along `sweep.over`, and show what they say together."""
        with self._folder_of_all():
            each = self._variants()
            found = OverAnalyzer({value: carry_out(experiment) for value, experiment in each.items()}, self.config)
            write_results_over(found, self.folder)
        return found

    @contextmanager
    def _folder_of_all(self) -> Iterator[None]:
        """The folder of an experiment along `sweep.over`, with its config; errors as of `run`."""
        experiments = list(self._variants().values())
        with work_folder(self.folder, keep=lambda: any(holds_runs(each.folder) for each in experiments)):
            if holds_runs(self.folder):
                raise UserError(
                    f"{self.folder} holds runs of an experiment without `sweep.over`. Choose --output DIR for another "
                    "folder"
                )
            write_config(self.config, self.folder, {})
            yield
            written = stored_config(experiments[0].folder).environment
            write_config(self.config, self.folder, written or {})

    def _cells_of(self, shard: tuple[int, int]) -> list[Cell]:
        index, of = shard
        return cells(self.config)[index - 1 :: of]

    @contextmanager
    def _at_work(self) -> Iterator[Claims]:
        """The folder, made if need be, cleared of what a killed process left, with the claims of this process on it."""
        with work_folder(self.folder, keep=lambda: holds_runs(self.folder)), Claims(self.folder) as claims:
            with claims.alone() as alone:
                if alone:
                    remove_unfinished(self.folder, self.folder / RUNS_FOLDER)
            yield claims

    def _compute(
        self,
        todo: Sequence[Cell],
        progress: Progress | None,
        claims: Claims,
        fresh: bool = False,
        foretell: Foretell | None = None,
    ) -> RunStore:
        """Carry out what is missing of the cells."""
        with claims.holding("config"):
            store, missing = self._begin(todo, claims, fresh, foretell)
        if progress is not None:
            progress.started(missing.cells)
        watch = Stopwatch(self.folder)
        for cell, computed in build_executor(self.config).run(self.config, missing.cells, store, claims):
            if self.config.executor.kind == "serial":
                watch.stop(cell, computed)
            if computed and claims.claim("packing"):
                store.pack()
                claims.release("packing")
            if progress is not None:
                progress.finished(cell, computed)
            watch.start()
        return store

    def _begin(
        self, todo: Sequence[Cell], claims: Claims, fresh: bool, foretell: Foretell | None
    ) -> tuple[RunStore, MissingWork]:
        """Make the folder that of this config, and find out what is missing of the cells."""
        if fresh:
            self._set_runs_aside(claims)
        before = {} if fresh else require_same_experiment(self.config, self.folder, claims)
        store = self._store(writable=True)
        missing = missing_work(self.config, todo, store)
        if foretell is not None and (seconds := missing.seconds_if_long()) is not None:
            foretell(seconds)
        now = environment(before, len(store) > 0, bool(missing.not_begun), self.config.device.xla)
        write_config(self.config, self.folder, now)
        return store, missing

    def _analyze(self, analyzer: PhaseAnalyzer, anew: bool = True) -> PhaseAnalyzer:
        write_results(analyzer, self.folder, anew)
        return analyzer

    def _store(self, writable: bool = False) -> RunStore:
        return RunStore(self.folder / RUNS_FOLDER, writable)

    def _set_runs_aside(self, claims: Claims) -> None:
        with claims.alone() as alone:
            if not alone and claims.are_certain:
                raise UserError(
                    f"{self.folder}: another process is running this experiment; --fresh has to wait for it"
                )
            old = set_aside(self.folder / RUNS_FOLDER, self.folder / CONFIG_FILE, self.folder / TIMES_FILE)
        if old is not None:
            logger.info("Old runs are kept in %s", old)


class TargetFindings(NamedTuple):
    """What `run_uv_target` found.

    Attributes:
        table: A row per learning rate, as `analysis.uv_orbits.orbit_table` describes it.
        onsets: The exact thresholds, and where training was first seen beyond them.
        pictures: Files of the bifurcation diagram.
        tables: Files of the numbers: a row per learning rate, and a row per visited point.
    """

    table: pd.DataFrame
    onsets: list[Onset]
    pictures: list[Path]
    tables: list[Path]


def run_uv_target(
    target: float = 1.0,
    folder: str | Path = "outputs/uv_target",
    shown: Callable[[Sequence[float]], Iterable[float]] = iter,
) -> TargetFindings:
    """Train the uv model on (x, y) = (1, target) below the edge of stability and beyond; draw the bifurcation diagram.

    A folder that cannot be written is a `UserError` or a `MachineError`.

    Args:
        target: y, of a size between 1e-3 and 400.
        folder: Where the files go.
        shown: Hands on the values of g one by one, such as behind a bar of progress.

    Returns:
        What was found, and where it is.
    """
    folder = Path(folder)
    pictures = [folder / "bifurcation.png", folder / "bifurcation.svg"]
    tables = [folder / "bifurcation.csv", folder / "orbits.parquet"]
    with work_folder(folder, keep=lambda: False):
        import_tensorflow()
        from sharpness_phases.sweep.uv_target import VALUES_OF_G, TargetRuns
        from sharpness_phases.views.bifurcation import BifurcationFigure

        runs = TargetRuns(target)
        orbits = [runs.orbit(g) for g in shown(VALUES_OF_G)]
        table, points = orbit_table(orbits, runs.start), points_table(orbits)
        found = TargetFindings(table, onsets(table), pictures, tables)
        title = f"uv model: n = {runs.start.width}, one example (1, {target:g})"
        for path in pictures:
            BifurcationFigure(points, table, found.onsets, title).save(path)
        write_text(tables[0], table.to_csv(index=False))
        with atomic_file(tables[1]) as unfinished:
            points.to_parquet(unfinished, index=False)
    return found


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
        "training.warmup_steps": (config.training.warmup_steps, 0),
        "optimizer": (optimizer_in_words(config.optimizer), "SGD"),
    }
    faults = [f"{key} must be {value}; got {given}" for key, (given, value) in needed.items() if given != value]
    if faults:
        raise UserError(f"phases uv: {'; '.join(faults)}")

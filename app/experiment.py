"""An experiment from its config to its pictures."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from app.analysis.tables import summary_json
from app.analysis.uv import compare_with_exact
from app.analyzer import CONFIG_FILE, RUNS_FOLDER, PhaseAnalyzer, stored_config
from app.config.loading import ConfigError, dump_config, load_config
from app.config.schema import ExperimentConfig
from app.errors import MachineError, UserError
from app.own import is_own
from app.store.claims import Claims
from app.store.files import remove_unfinished, whole_file
from app.store.runs import RunStore
from app.sweep.executors import build_executor
from app.sweep.plan import Cell, cells, identity
from app.training.quiet import import_tensorflow
from app.views.diagram import ComparisonSheet, Over, PhaseDiagram
from app.views.report import Findings, write_report
from app.views.tensorboard import write_tensorboard

if TYPE_CHECKING:
    from app.sweep.cost import Estimate
    from app.training.runner import InitialState

logger = logging.getLogger(__name__)

_GIVES_OUT = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # not a mistake in the path
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
        >>> experiment = Experiment.from_config("quickstart", overrides=["sweep.widths=[64]"])
        >>> experiment.run().critical_constants()
    """

    def __init__(self, config: ExperimentConfig, folder: str | Path | None = None) -> None:
        self.config = config
        self.folder = Path("outputs") / config.name if folder is None else Path(folder)

    @classmethod
    def from_config(
        cls, source: str | Path, overrides: Sequence[str] = (), folder: str | Path | None = None
    ) -> Experiment:
        """Read an experiment from a config.

        Args:
            source: Path of a YAML file, or the name of a shipped config.
            overrides: Texts `key.path=value`.
            folder: Where results go; outputs/<name> by default.

        Returns:
            The experiment.

        Raises:
            UserError: If the config is wrong.
        """
        return cls(load_config(source, overrides), folder)

    @classmethod
    def open(cls, folder: str | Path) -> Experiment:
        """An experiment that has been run.

        Args:
            folder: Folder that `phases run` has written.

        Returns:
            The experiment, with the config that was run.

        Raises:
            UserError: If the folder holds no experiment.
        """
        return cls(stored_config(folder), folder)

    def run(self, progress: Progress | None = None, fresh: bool = False) -> PhaseAnalyzer:
        """Run what the search asks for and the folder does not hold; then analyse and draw.

        Several processes may do so in one folder: they share the cells, and each draws when all are complete.

        Args:
            progress: Told of every finished cell.
            fresh: Set old runs aside (in `runs.old-1`, ...) and run everything.

        Returns:
            The analyzer of the runs.

        Raises:
            UserError: If the folder cannot be written, or the data cannot be loaded; nothing is left behind then. With
                `fresh`, also if another process works in the folder.
            MachineError: If the disk is full, or memory does not suffice; finished runs are kept.
        """
        with self._at_work() as claims:
            if fresh:
                self._set_runs_aside(claims)
            store = self._compute(cells(self.config), progress, claims)
            claims.wait("analysis")
            return self._analyze(PhaseAnalyzer.from_store(store, self.config))

    def run_shard(self, shard: tuple[int, int], progress: Progress | None = None) -> int:
        """Run the shard's share of the cells, for arrays of jobs: all shards together run all; nothing is drawn.

        Args:
            shard: (i, n): every n-th cell, from the i-th on, 1 <= i <= n.
            progress: Told of every finished cell.

        Returns:
            Number of the shard's cells.

        Raises:
            UserError: As for `run`.
            MachineError: As for `run`.
        """
        todo = self._cells_of(shard)
        with self._at_work() as claims:
            self._compute(todo, progress, claims)
        return len(todo)

    def analyze(self) -> PhaseAnalyzer:
        """Redo the analysis and the pictures from stored runs only.

        Returns:
            The analyzer.

        Raises:
            UserError: If none of the experiment's runs is stored.
        """
        with _telling(self.folder):
            return self._analyze(PhaseAnalyzer.from_store(self._store(), self.config))

    def run_uv(self, progress: Progress | None = None) -> pd.DataFrame:
        """Run an experiment of the uv model, hold it against the exact solution, draw the exact c_loss on top.

        Args:
            progress: Told of every finished cell.

        Returns:
            A row per width n: mean c_loss and its exact value over the initialisations where both are known, the
            largest distance in grid steps of the first from the grid point above the second, and the largest relative
            errors of f and lambda over all stored steps.

        Raises:
            UserError: If the config is not of the uv model with plain gradient descent.
        """
        if self.config.model.family != "uv" or self.config.training.momentum or self.config.loss != "mse":
            raise UserError("phases uv: the config must have model.family uv, loss mse and no momentum")
        analyzer = self.run(progress)
        table = compare_with_exact(analyzer.critical_constants(), analyzer.runs, self.config.sweep.lr_exponents.step)
        exact = table[["width", "c_loss_exact"]].rename(columns={"c_loss_exact": "c_loss"}).assign(depth=2)
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
        from app.sweep.cost import estimate
        from app.training.device import matrix_product_rate

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
            store = self._store()
            todo = [cell for cell in todo if identity(self.config, cell, None, None) not in store]
        own = self.config.model.is_own or is_own(self.config.loss)
        if not todo or own or self.config.executor.kind != "serial":
            return None
        import_tensorflow()
        from app.sweep.forecast import long_work

        return long_work(self.config, todo)

    def initial_sharpness(self) -> list[tuple[Cell, InitialState]]:
        """Measure lambda_0 of every network of the experiment; nothing is stored.

        Returns:
            Cells and their states before training; a state's `error` estimates that of its sharpness.

        Raises:
            UserError: If the data cannot be loaded.
        """
        import_tensorflow()
        from app.sweep.cell import CellRuns, Simulator

        simulator = Simulator(self.config)
        return [(cell, CellRuns(simulator, self.config, cell).initial) for cell in cells(self.config)]

    def _cells_of(self, shard: tuple[int, int]) -> list[Cell]:
        index, of = shard
        return cells(self.config)[index - 1 :: of]

    @contextmanager
    def _at_work(self) -> Iterator[Claims]:
        """The folder, made if need be, cleared of what a killed process left, with the claims of this process on it."""
        with _new_folder(self.folder, keep=lambda: len(self._store()) > 0), Claims(self.folder) as claims:
            if claims.is_alone():
                remove_unfinished(self.folder, self.folder / RUNS_FOLDER)
            yield claims

    def _compute(self, todo: Sequence[Cell], progress: Progress | None, claims: Claims) -> RunStore:
        """Carry out what is missing of the cells."""
        store = self._store()
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
        constants = analyzer.critical_constants()
        self._write("critical_constants.csv", constants.to_csv(index=False))
        self._write("summary.json", json.dumps(summary_json(analyzer.summary), indent=1, allow_nan=False) + "\n")
        out_of_order = len(analyzer.violations())
        if out_of_order:
            logger.warning(
                "%d of %d initialisations: the usual order c_loss <= c_sharp <= c_barrier <= c_max does not hold",
                out_of_order,
                len(constants),
            )
        pictures = {}
        if analyzer.constants_are_known:
            diagram = analyzer.phase_diagram()
            diagram.save(self.folder / "phase_diagram.svg")
            pictures["phase_diagram"] = diagram.save(self.folder / "phase_diagram.png")
            if len(self.config.sweep.depths) > 1:
                for over in ("depth", "ratio"):
                    name = f"phase_diagram_over_{over}"
                    pictures[name] = analyzer.phase_diagram(over).save(self.folder / f"{name}.png")
        if analyzer.saturation_is_known:
            pictures["saturation"] = analyzer.saturation_figure().save(self.folder / "saturation.png")
            pictures["saturation_diagram"] = analyzer.saturation_diagram().save(self.folder / "saturation_diagram.png")
        labels = analyzer.regime_table()
        if not labels.empty:
            self._write("regimes.csv", labels.to_csv(index=False))
            pictures["regimes"] = analyzer.regime_figure().save(self.folder / "regimes.png")
        trajectories = analyzer.trajectories()
        if not trajectories.empty:
            pictures["trajectories"] = analyzer.trajectory_figure().save(self.folder / "trajectories.png")
        if self.config.tensorboard:
            write_tensorboard(self.folder / "tensorboard", trajectories, constants, pictures)
        self._report(analyzer, pictures)
        return analyzer

    def _report(self, analyzer: PhaseAnalyzer, pictures: Mapping[str, Path]) -> None:
        write_report(
            self.folder / "report.html",
            Findings(
                title=analyzer.title,
                config=self.config,
                runs=analyzer.runs,
                trajectories=analyzer.trajectories(),
                constants=analyzer.critical_constants(),
                summary=analyzer.summary,
                regimes=analyzer.regime_table(),
                out_of_order=len(analyzer.violations()),
                pictures=pictures,
                environment=stored_config(self.folder).environment or {},
            ),
        )

    def _store(self) -> RunStore:
        return RunStore(self.folder / RUNS_FOLDER)

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
        pending = any(identity(self.config, cell, None, None) not in store for cell in cells(self.config))
        if pending:
            import_tensorflow()
            from app.training.device import describe_device

            now["device"] = describe_device(self.config.device.xla)
            logger.info("Computing on %s", now["device"])
        elif "device" in before:
            now["device"] = before["device"]
        self._write(CONFIG_FILE, dump_config(self.config.model_copy(update={"environment": now})))

    def _write(self, name: str, text: str) -> None:
        with whole_file(self.folder / name) as path:
            path.write_text(text)

    def _set_runs_aside(self, claims: Claims) -> None:
        if not claims.is_alone():
            raise UserError(f"{self.folder}: another process is running this experiment; --fresh has to wait for it")
        runs = self.folder / RUNS_FOLDER
        if runs.exists():
            number = 1
            while (old := self.folder / f"{RUNS_FOLDER}.old-{number}").exists():
                number += 1
            runs.rename(old)
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
    summaries = []
    for folder in folders:
        analyzer = PhaseAnalyzer.load(folder)
        if not analyzer.constants_are_known:
            raise UserError(f"{folder}: no initialisation's critical constants are known; go on with `phases run`")
        summaries.append((f"{analyzer.config.name}\n{analyzer.title}", analyzer.summary))
    return ComparisonSheet(summaries, Over(over)).save(path)


@contextmanager
def _new_folder(folder: Path, keep: Callable[[], bool]) -> Iterator[None]:
    """Make a folder; after a user's error, remove again what was made, unless it holds something to keep."""
    made = next((path for path in [*reversed(folder.parents), folder] if not path.exists()), None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if made is not None and made.exists():
            shutil.rmtree(made)
        kind = MachineError if error.errno in _GIVES_OUT else UserError
        raise kind(f"{folder}: results cannot be written there: {error.strerror}. Choose another --output") from None
    try:
        with _telling(folder):
            yield
    except UserError:
        if made is not None and not keep():
            shutil.rmtree(made)
        raise


@contextmanager
def _telling(folder: Path) -> Iterator[None]:
    """Say what to do where space, permission or memory is lacking."""
    try:
        yield
    except OSError as error:
        place, reason = error.filename or folder, error.strerror or error
        raise MachineError(
            f"{place}: {reason}. Finished runs are kept; once this is mended, `phases run` goes on where it stopped."
        ) from None
    except MemoryError:
        raise MachineError("Out of memory. Finished runs are kept; take a machine with more, then run again.") from None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "not installed"

"""Cells on a Ray cluster: each is a task, retried elsewhere when its worker or node dies."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.config.sections import ExecutorConfig
from sharpness_phases.errors import UserError
from sharpness_phases.runs.identity import own_code
from sharpness_phases.runs.spec import Cell
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.store.claims import Claims
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.cell_sweep import CellSweep, Incomplete

if TYPE_CHECKING:
    from sharpness_phases.sweep.simulator import Simulator

logger = logging.getLogger(__name__)

_RETRIES = 10
"""How often a cell whose worker or node died is begun anew.

Chosen so: fewer end an experiment on nodes that come and go; more go on for long where a cell kills every worker, as
one does that needs more memory than there is.
"""

_AHEAD = 1000
"""Cells handed to Ray at a time.

Chosen so: more than the workers of a large cluster, so that none waits, and few enough that what Ray holds for the
others of a large experiment does not fill the memory.
"""

RayModule: TypeAlias = Any  # the module `ray`, imported only where the config asks for it
ObjectRef: TypeAlias = Any  # what stands for a task's result until it is there: ray.ObjectRef
Label: TypeAlias = Any  # a cell of a run's table: str, int, float, bool or None

Written = tuple[str, Mapping[str, Label], Trajectory]
"""A run's id, its labels and the run itself, as `RunKeeper.write` takes them."""


@dataclass
class Memory:
    """Runs of one cell without a folder: those known already, and those written since."""

    known: dict[str, Trajectory] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)

    def find(self, run_id: str) -> Trajectory | None:
        """See `sharpness_phases.sweep.cell_sweep.RunKeeper`."""
        return self.known.get(run_id)

    def write(self, run_id: str, labels: Mapping[str, Label], trajectory: Trajectory) -> None:
        """See `sharpness_phases.sweep.cell_sweep.RunKeeper`."""
        self.known[run_id] = trajectory
        self.written.append((run_id, labels, trajectory))


@dataclass(frozen=True)
class Report:
    """What a worker sends back.

    Attributes:
        computed: Number of runs it computed.
        written: The runs, where the driver is to store them.
        messages: What it logged.
    """

    computed: int
    written: list[Written]
    messages: list[str]


class RayExecutor:
    """Carries out every cell as a Ray task; see `Executor`.

    Args:
        settings: The `executor` section.
    """

    def __init__(self, settings: ExecutorConfig) -> None:
        self._settings = settings

    def run(
        self, config: ExperimentConfig, cells: Sequence[Cell], store: RunStore, claims: Claims | None = None
    ) -> Iterator[tuple[Cell, int]]:
        """See `Executor.run`.

        Without Ray installed, such a cluster, or a node that has what a run asks for, it ends with `UserError`.

        Yields:
            Each finished cell and the number of runs that were computed for it; those that are complete come first.
        """
        todo = []
        for cell in cells:
            known = _Seen(store)
            try:
                CellSweep(config, cell, known, compute=False).complete()
                yield cell, 0
            except Incomplete:
                todo.append((cell, known.seen))
        if todo:
            ray = _import_ray()
            with _connected(ray, self._settings):
                yield from self._carry_out(ray, config, todo, store)

    def _carry_out(
        self, ray: RayModule, config: ExperimentConfig, todo: list[tuple[Cell, dict[str, Trajectory]]], store: RunStore
    ) -> Iterator[tuple[Cell, int]]:
        """Hand out cells and take in what comes back, in whatever order."""
        settings = self._settings
        _require(ray, settings)
        task = ray.remote(num_cpus=settings.cpus_per_run, num_gpus=settings.gpus_per_run, max_retries=_RETRIES)(
            carry_out
        )
        shared = store.folder.resolve() if settings.store == "shared" else None
        handed = ray.put(with_absolute_paths(config))
        waiting = list(reversed(todo))
        running: dict[ObjectRef, Cell] = {}
        while waiting or running:
            while waiting and len(running) < _AHEAD:
                cell, known = waiting.pop()
                running[task.remote(handed, cell, shared, known if shared is None else {}, settings.cpus_per_run)] = (
                    cell
                )
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            cell = running.pop(done)
            report = _result(ray, done, cell)
            for message in report.messages:
                logger.info("%s", message)
            for written in report.written:
                store.write(*written)
            if shared is not None:
                store.refresh()
                _must_be_here(config, cell, store)
            yield cell, report.computed


def carry_out(
    config: ExperimentConfig, cell: Cell, folder: Path | None, known: dict[str, Trajectory], cpus: float
) -> Report:
    """Complete a cell; what a worker does.

    Args:
        config: The experiment.
        cell: Which cell.
        folder: Where runs are stored; None to send them back.
        known: Runs that are stored already, where they are sent back.
        cpus: Cores that this task may use.

    Returns:
        What was done.
    """
    messages: list[str] = []
    heard = _Heard(messages)
    logging.getLogger("sharpness_phases").addHandler(heard)
    logging.getLogger("sharpness_phases").setLevel(logging.INFO)
    try:
        simulator = _simulator(config, max(1, round(cpus)))
        if folder is None:
            memory = Memory(dict(known))
            sweep = CellSweep(config, cell, memory, simulator)
            sweep.complete()
            return Report(sweep.computed, memory.written, messages)
        folder.mkdir(parents=True, exist_ok=True)
        with Claims(folder.parent) as claims:
            claims.wait(cell.name)
            sweep = CellSweep(config, cell, RunStore(folder, writable=True), simulator)
            sweep.complete()
            return Report(sweep.computed, [], messages)
    finally:
        logging.getLogger("sharpness_phases").removeHandler(heard)


_simulators: dict[str, Simulator] = {}  # the one of the experiment that this worker is at


def _simulator(config: ExperimentConfig, threads: int) -> Simulator:
    """The worker's simulator, which keeps data and traced functions from one cell to the next."""
    from sharpness_phases.training.startup import import_tensorflow

    import_tensorflow()
    from sharpness_phases.sweep.simulator import Simulator
    from sharpness_phases.training.device import limit_threads

    key = f"{config.model_dump_json()} {own_code(config)}"
    if key not in _simulators:
        limit_threads(threads)
        _simulators.clear()
        _simulators[key] = Simulator(config)
    return _simulators[key]


class _Heard(logging.Handler):
    """Keeps messages."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.INFO)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


class _Seen:
    """A store that remembers what was found in it."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.seen: dict[str, Trajectory] = {}

    def find(self, run_id: str) -> Trajectory | None:
        """See `sharpness_phases.sweep.cell_sweep.RunKeeper`."""
        found = self._store.find(run_id)
        if found is not None:
            self.seen[run_id] = found
        return found

    def write(self, run_id: str, labels: Mapping[str, Label], trajectory: Trajectory) -> None:
        """See `sharpness_phases.sweep.cell_sweep.RunKeeper`."""
        self._store.write(run_id, labels, trajectory)


def _result(ray: RayModule, done: ObjectRef, cell: Cell) -> Report:
    """A task's report, or its error as ours."""
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{cell.name}: its worker died {_RETRIES + 1} times; finished cells are kept. {reason}"
        ) from None


def _must_be_here(config: ExperimentConfig, cell: Cell, store: RunStore) -> None:
    try:
        CellSweep(config, cell, store, compute=False).complete()
    except Incomplete:
        raise UserError(
            f"executor.store: shared needs a folder that every node sees under the same path; the runs of {cell.name} "
            f"did not arrive in {store.folder}. Use `executor.store: driver`, or --output with a shared folder"
        ) from None


def _import_ray() -> RayModule:
    try:
        import ray
    except ImportError:
        raise UserError(
            "executor.kind: ray needs the extra `ray`: pip install 'sharpness-phases[ray]', on every node"
        ) from None
    return ray


@contextmanager
def _connected(ray: RayModule, settings: ExecutorConfig) -> Iterator[None]:
    """A connection to the cluster of the config, or the one there is in this process."""
    if ray.is_initialized():
        yield
        return
    paths = os.pathsep.join(path for path in (str(Path.cwd()), os.environ.get("PYTHONPATH", "")) if path)
    options: dict[str, Any] = {"runtime_env": {"env_vars": {"PYTHONPATH": paths}}, "log_to_driver": False}
    if settings.address == "local":
        options["include_dashboard"] = False
    try:
        ray.init(address=settings.address, logging_level=logging.WARNING, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"executor.address: no Ray cluster at {settings.address!r} ({reason}); start one with `ray start --head`, "
            "or say local for one on this machine"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _require(ray: RayModule, settings: ExecutorConfig) -> None:
    """Refuse what would wait for ever."""
    most = {
        name: max((node["Resources"].get(name, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        for name in ("CPU", "GPU")
    }
    for key, name, asked in (
        ("cpus_per_run", "CPU", settings.cpus_per_run),
        ("gpus_per_run", "GPU", settings.gpus_per_run),
    ):
        if asked > most[name]:
            raise UserError(f"executor.{key}: must be at most {most[name]:g}, what the largest node has; got {asked:g}")


def with_absolute_paths(config: ExperimentConfig) -> ExperimentConfig:
    """The same config for another working directory, as a worker's: `data.data_dir` and `data.path` are absolute."""
    given = {"data_dir": config.data.data_dir, "path": config.data.path}
    absolute = {key: str(Path(path).expanduser().resolve()) for key, path in given.items() if path is not None}
    return config.changed(data=absolute) if absolute else config

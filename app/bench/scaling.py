"""How the cost of an initialisation grows with width, depth and measurement examples, and where memory ends."""

from __future__ import annotations

import math
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sharpness_phases.config.loading import checked
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import UserError

if TYPE_CHECKING:
    from sharpness_phases.runs.spec import Cell
    from sharpness_phases.sweep.simulator import Simulator

AXES: dict[str, tuple[int, ...]] = {
    "width": (64, 128, 256, 512, 1024, 2048),
    "depth": (2, 4, 8, 16),
    "examples": (512, 1024, 2048, 4096),
    "initialisations": (1, 2, 4, 8),
}
"""What can be varied, and over which values by default."""


@dataclass(frozen=True)
class Point:
    """Cost of the critical constants of one network.

    Attributes:
        axis: What was varied.
        value: Its value.
        parameters: Number of trainable parameters of a network.
        setup_seconds: Time to load, build and compile.
        seconds: Time of all initialisations after that.
        products: Hessian-vector products.
        memory: Largest resident memory of the process, TensorFlow and the data included, in bytes.
    """

    axis: str
    value: int
    parameters: int
    setup_seconds: float
    seconds: float
    products: int
    memory: int

    def to_json(self) -> dict[str, float | int | str]:
        """Plain JSON values."""
        return asdict(self)


def scale(config: ExperimentConfig, values: Mapping[str, Sequence[int]]) -> Iterator[Point]:
    """Vary one thing at a time, each point in a process of its own, so that its memory is its own.

    Args:
        config: The experiment; its first depth and width, and one initialisation, where they are not varied.
        values: Values to take of each of `AXES`.

    Yields:
        The points, axis by axis. If a config with one of the values would be wrong, nothing is measured: a `UserError`
        says so first.
    """
    sweep = config.sweep
    base = config.changed(sweep={"depths": sweep.depths[:1], "widths": sweep.widths[:1], "seeds": 1})
    points = [(_varied(base, axis, value), axis, value) for axis, chosen in values.items() for value in chosen]
    for point in points:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            yield process.submit(_measure, *point).result()


def growth(points: Sequence[Point], quantity: str) -> float:
    """Exponent a of quantity ~ value^a between the two largest values; NaN of fewer than two points.

    Args:
        points: Points of one axis.
        quantity: Name of a field of `Point`.

    Returns:
        The exponent.
    """
    if len(points) < 2:
        return math.nan
    below, above = sorted(points, key=lambda point: point.value)[-2:]
    return math.log(getattr(above, quantity) / getattr(below, quantity)) / math.log(above.value / below.value)


def parse_axes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read what is to be varied.

    Args:
        texts: Each as "width=64,128".

    Returns:
        Values by axis; the defaults of all axes if there are no texts.

    Raises:
        UserError: If a text names no axis of `AXES` or no positive integers.
    """
    axes = {}
    for text in texts:
        name, _, values = text.partition("=")
        try:
            numbers = tuple(int(value) for value in values.split(","))
        except ValueError:
            numbers = ()
        if name not in AXES or not numbers or min(numbers) < 1:
            raise UserError(f"--over {text}: must look like width=64,128, with one of {', '.join(AXES)}")
        axes[name] = tuple(dict.fromkeys(numbers))
    return axes or dict(AXES)


def _varied(config: ExperimentConfig, axis: str, value: int) -> ExperimentConfig:
    changes: dict[str, dict[str, dict[str, int | list[int]]]] = {
        "width": {"sweep": {"widths": [value]}},
        "depth": {"sweep": {"depths": [value]}},
        "examples": {"sharpness": {"examples": value}},
        "initialisations": {"sweep": {"seeds": value}},
    }
    return checked(config.changed(**changes[axis]), f"--over {axis}={value}")


def _measure(config: ExperimentConfig, axis: str, value: int) -> Point:
    """The cost of one network, in this process."""
    begin = time.perf_counter()
    from sharpness_phases.training.startup import import_tensorflow

    import_tensorflow()
    from sharpness_phases.runs.spec import cells
    from sharpness_phases.store.runs import RunStore
    from sharpness_phases.sweep.cell_sweep import CellSweep
    from sharpness_phases.sweep.simulator import Simulator

    simulator, todo, products = Simulator(config), cells(config), 0
    parameters = int(sum(weight.size for weight in simulator.network(todo[0]).get_weights()))
    _compile(simulator, todo[0], config.training.batch_size)
    middle = time.perf_counter()
    for cell in todo:
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder), writable=True)
            CellSweep(config, cell, store, simulator).complete()
            products += int(store.table()["hvps"].sum())
    seconds = time.perf_counter() - middle
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Point(axis, value, parameters, middle - begin, seconds, products, memory)


def _compile(simulator: Simulator, cell: Cell, batch_size: int) -> None:
    """Trace what every run needs, by a run of one step."""
    import numpy as np

    runner = simulator.runner(cell)
    state = runner.initial_state(simulator.network(cell).get_weights())
    runner.run(state, 0.0, np.zeros((1, batch_size), np.int64))

"""How the program behaves when very many runs are stored: time and memory of resuming and of the analysis.

`python -m sharpness_phases.bench.many_runs 100000` makes up an experiment of so many runs, as an adaptive search would
leave them, and then calls `phases run`, which finds everything complete, and `phases analyze` on it, each in its own
process.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sharpness_phases.config.loading import dump_config, load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.spec import Cell, RunSpec, cells
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.store.runs import PACK_SIZE, RunStore
from sharpness_phases.sweep.cell_sweep import CellSweep

_NETWORKS = {"depths": [2, 4, 8], "widths": [16, 32, 64, 128, 256, 512, 1024, 2048]}
_RUNS_OF_A_CELL = 20
"""About as many as the search asks for of made-up runs; only the number of seeds depends on it, and the exact number of
runs is told."""


class MadeUpRuns:
    """Runs of a cell that cost nothing, with edges that depend on width, depth and seed; see `CellRunner`.

    Args:
        cell: The initialisation.
        steps: Steps of a run.
    """

    def __init__(self, cell: Cell, steps: int) -> None:
        self._steps = steps
        chosen = np.random.default_rng([cell.depth, cell.width, cell.seed])
        c_loss = 1.0 + 40.0 * cell.depth / cell.width
        self._edges = np.array([1.0, 1.3, 2.0]) * (c_loss + chosen.uniform(0.0, 0.2 * c_loss))
        self._noise = chosen.uniform(0.0, 0.01, steps + 1)

    def before_training(self) -> Trajectory:
        """The state at step 0."""
        return self._run(np.ones(1), np.ones(1), diverged=False)

    def trajectory(self, spec: RunSpec) -> Trajectory:
        """A run that rises, or diverges, at its third step."""
        loss, sharpness = 1.0 - self._noise - 0.4, 1.0 - self._noise - 0.4
        loss[0] = sharpness[0] = 1.0
        rises, sharpens, diverges = spec.c >= self._edges
        loss[3], sharpness[3] = (2.0 if rises else loss[3]), (2.0 if sharpens else sharpness[3])
        if diverges:
            loss, sharpness = loss[:4], sharpness[:4]
            loss[3], sharpness[3] = 1e9, np.nan
        return self._run(loss, sharpness, bool(diverges))

    def _run(self, loss: np.ndarray, sharpness: np.ndarray, diverged: bool) -> Trajectory:
        count = len(loss)
        accuracy, residual, hvps = np.full(count, 0.5), np.full(count, 1e-4), np.full(count, 3, np.int64)
        return Trajectory(loss, accuracy, sharpness, residual, np.isfinite(sharpness), hvps, diverged)


def make_up(folder: Path, runs: int) -> tuple[ExperimentConfig, int]:
    """Fill an experiment's folder with runs.

    Args:
        folder: Where.
        runs: About how many.

    Returns:
        The config, and their exact number.
    """
    networks = len(_NETWORKS["depths"]) * len(_NETWORKS["widths"])
    seeds = max(1, round(runs / networks / _RUNS_OF_A_CELL))
    config = load_config("quickstart", [f"sweep.{name}={values}" for name, values in _NETWORKS.items()])
    config = config.changed(sweep={"seeds": seeds})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    store = RunStore(folder / "runs", writable=True)
    for number, cell in enumerate(cells(config)):
        made_up: Any = MadeUpRuns(cell, config.training.steps)
        CellSweep(config, cell, store, runs=made_up).complete()
        if number % 50 == 49:
            store.pack()
    return config, len(store)


def _measure(title: str, *command: str) -> None:
    """Run a command and print its time and memory."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sharpness_phases", *command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{title}: {seconds:.0f} s, {memory / 1e9:.2f} GB at most so far")


def main() -> None:
    """Make up runs, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=int, nargs="?", default=100_000)
    wanted = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "many"
        begin = time.perf_counter()
        config, count = make_up(folder, wanted)
        files = list((folder / "runs").iterdir())
        print(f"{count} runs of {len(cells(config))} initialisations made up in {time.perf_counter() - begin:.0f} s")
        size = sum(path.stat().st_size for path in files)
        print(f"{len(files)} files (packs of {PACK_SIZE} runs), {size / 1e6:.0f} MB")
        _measure("phases run, everything complete", "run", str(folder / "config.yaml"), "--output", str(folder))
        _measure("phases analyze", "analyze", str(folder))


if __name__ == "__main__":
    main()

"""How long initialisations took to carry out, beside their runs: what `phases plan` learns from."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from sharpness_phases.runs.spec import Cell
from sharpness_phases.store.files import make_folder

TIMES_FILE = "times.csv"
"""In the folder of an experiment."""


class Taken(NamedTuple):
    """What it took to carry an initialisation out, at one time.

    Attributes:
        depth: Depth of its network.
        width: The width.
        seed: The initialisation.
        runs: Number of runs that were computed.
        begins: 1 where building and compiling the network are in it, 0 where an initialisation before had done that.
        seconds: Time.
    """

    depth: int
    width: int
    seed: int
    runs: int
    begins: int
    seconds: float


class Stopwatch:
    """Notes how long the initialisations take that a process carries out one after the other.

    Args:
        folder: The experiment's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TIMES_FILE
        self._architecture: tuple[int, int] | None = None
        self._begin = time.perf_counter()

    def start(self) -> None:
        """The next initialisation begins now."""
        self._begin = time.perf_counter()

    def stop(self, cell: Cell, computed: int) -> None:
        """An initialisation is complete; an `OSError` if that cannot be written.

        Args:
            cell: Which.
            computed: Number of its runs that were computed; of none, nothing is noted.
        """
        if not computed:
            return
        seconds, architecture = time.perf_counter() - self._begin, (cell.depth, cell.width)
        begins, self._architecture = architecture != self._architecture, architecture
        _append(self._path, Taken(*architecture, cell.seed, computed, int(begins), round(seconds, 4)))


def read_times(folder: Path) -> list[Taken]:
    """What is noted in the folder of an experiment.

    Args:
        folder: The experiment's.

    Returns:
        In the order in which it was noted; lines that are none, such as half a line of a killed process, are left out.
    """
    try:
        lines = (folder / TIMES_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [taken for line in lines if (taken := _parsed(line)) is not None]


def _append(path: Path, taken: Taken) -> None:
    """Add a line, in one write: several processes may do so at once."""
    make_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        heading = "" if os.fstat(descriptor).st_size else ",".join(Taken._fields) + "\n"
        os.write(descriptor, (heading + ",".join(map(str, taken)) + "\n").encode())
    finally:
        os.close(descriptor)


def _parsed(line: str) -> Taken | None:
    parts = line.split(",")
    try:
        *whole, seconds = parts
        depth, width, seed, runs, begins = map(int, whole)
        return Taken(depth, width, seed, runs, begins, float(seconds))
    except ValueError:
        return None

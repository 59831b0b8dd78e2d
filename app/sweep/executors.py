"""Carrying out an experiment's cells."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.spec import Cell
from sharpness_phases.store.claims import Claims
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.cell_sweep import CellSweep

logger = logging.getLogger(__name__)


class Executor(Protocol):
    """Carries out cells, in any order and place."""

    def run(
        self, config: ExperimentConfig, cells: Sequence[Cell], store: RunStore, claims: Claims | None = None
    ) -> Iterator[tuple[Cell, int]]:
        """Carry out what is missing of the cells.

        Args:
            config: The experiment.
            cells: Which cells.
            store: Where runs are read from and written to.
            claims: Shares the work with other processes; None where there are none.

        Yields:
            Each finished cell and the number of runs that were computed for it.
        """
        ...


class SerialExecutor:
    """Carries out one cell after the other, in this process."""

    def run(
        self, config: ExperimentConfig, cells: Sequence[Cell], store: RunStore, claims: Claims | None = None
    ) -> Iterator[tuple[Cell, int]]:
        """See `Executor.run`."""
        simulator = None
        for cell in cells if claims is None else in_turn(cells, claims, store):
            sweep = CellSweep(config, cell, store, simulator)
            sweep.complete()
            simulator = sweep.simulator
            yield cell, sweep.computed


def in_turn(cells: Sequence[Cell], claims: Claims, store: RunStore) -> Iterator[Cell]:
    """Claim one cell after the other; those that another process has at first, at the end.

    Args:
        cells: Which cells.
        claims: Where.
        store: Is told to see what others have written.

    Yields:
        Cells, each claimed until the next is asked for.
    """
    busy = []
    for cell in cells:
        if not claims.claim(cell.name):
            busy.append(cell)
            continue
        store.refresh()
        yield cell
        claims.release(cell.name)
    for cell in busy:
        logger.info("%s is being computed by another process; waiting for it.", cell.name)
        claims.wait(cell.name)
        store.refresh()
        yield cell
        claims.release(cell.name)


def build_executor(config: ExperimentConfig) -> Executor:
    """The executor that the config asks for."""
    if config.executor.kind == "ray":
        from sharpness_phases.sweep.ray_executor import RayExecutor

        return RayExecutor(config.executor)
    return SerialExecutor()

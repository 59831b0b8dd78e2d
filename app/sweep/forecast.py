"""Whether an experiment will take long, found out in less time than a short one takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.spec import Cell
from sharpness_phases.sweep.cost import Estimate, estimate
from sharpness_phases.training.device import share_memory

LONG = 3600.0
"""Seconds from which on the work is long."""

_SLOW = 3e10
"""Floating-point operations per second that any machine is taken to do.

Chosen so: the EPYC of docs/performance.md does 15 times as many. A smaller number has the machine measured more often;
a larger one could take long work on a slower machine for short.
"""


def long_work(config: ExperimentConfig, todo: Sequence[Cell]) -> float | None:
    """How long cells take, if that is long.

    Two upper bounds come first, as they cost less than an estimate of every network: every cell is taken for one of the
    largest network, first on a machine of `_SLOW` operations per second, so that nothing has to be timed, then on
    this one. If either bound is below `LONG`, the work is not long, and no other network is built.

    Args:
        config: The experiment.
        todo: Cells of it.

    Returns:
        Seconds on this machine; None if they are fewer than `LONG`.
    """
    share_memory()  # before anything computes: the experiment itself would come too late
    network = {"depths": [max(c.depth for c in todo)], "widths": [max(c.width for c in todo)]}
    largest = config.changed(sweep=network)
    for rate in (_SLOW, None):
        if _seconds_each(estimate(largest, rate)[0]) * len(todo) < LONG:
            return None
    count = Counter((cell.depth, cell.width) for cell in todo)
    seconds = sum(_seconds_each(e) * count[e.depth, e.width] for e in estimate(config))
    return seconds if seconds >= LONG else None


def _seconds_each(cost: Estimate) -> float:
    """Of one initialisation."""
    return cost.seconds / cost.initialisations

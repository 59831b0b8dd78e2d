"""What stored runs of this machine tell of the cost of others: counts of the same search, times of the same network."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import UserError
from sharpness_phases.runs.axis import preconditions
from sharpness_phases.store.folder import RUNS_FOLDER, stored_config
from sharpness_phases.store.runs import RunStore
from sharpness_phases.store.times import TIMES_FILE, Taken, read_times
from sharpness_phases.sweep.expected_work import Work
from sharpness_phases.training.line import LINE_POINTS

logger = logging.getLogger(__name__)

_MOST_FOLDERS = 20
"""Experiments that are looked at, the latest; chosen so: the runs of one are read in a fraction of a second."""


_FARTHEST = 2.0
"""Octaves of width and depth together up to which a network tells of another; chosen so: constants, and with them the
runs of a search, move with both."""


class Stored(NamedTuple):
    """What the stored initialisations of one network took.

    Attributes:
        folder: Where they are.
        depth: Depth of the network.
        width: Its width.
        work: Mean work of an initialisation.
        first: Seconds of an initialisation with building and compiling in it; NaN where none is known.
        later: Of one without.
        same_runs: Whether they are runs as the config asks for, on the same device: then their times count, too.
    """

    folder: Path
    depth: int
    width: int
    work: Work
    first: float
    later: float
    same_runs: bool


def learned(config: ExperimentConfig, folder: Path, device: str) -> list[Stored]:
    """What is known from an experiment's own folder, and from those beside it.

    Args:
        config: The experiment that is to be estimated.
        folder: Its folder, which need not be there.
        device: What would compute it, as `describe_device` says it.

    Returns:
        An entry for every network that was searched as the config asks for; the experiment's own come first.
    """
    found: list[Stored] = []
    for place in _folders(folder):
        try:
            theirs = stored_config(place)
        except UserError:
            continue
        if not theirs.sweep.over and _search(theirs) == _search(config):
            same = _runs(theirs) == _runs(config) and (theirs.environment or {}).get("device") == device
            found += _networks(place, same)
    return sorted(found, key=lambda each: not each.same_runs)


def nearest(stored: Sequence[Stored], depth: int, width: int) -> Stored | None:
    """The network most like one of this shape, among those whose runs are most like those asked for.

    Args:
        stored: What is known.
        depth: Depth of the network that is to be estimated.
        width: Its width.

    Returns:
        The entry; None if none is within `_FARTHEST`.
    """

    def octaves(each: Stored) -> float:
        return abs(math.log2(each.width / width)) + abs(math.log2(each.depth / depth))

    near = [each for each in stored if octaves(each) <= _FARTHEST]
    return min(near, key=lambda each: (not each.same_runs, octaves(each)), default=None)


def _folders(folder: Path) -> list[Path]:
    """The experiment's folder and those beside it, in which times are noted; the latest come first."""
    beside = [path for pattern in ("*", "*/*") for path in folder.parent.glob(f"{pattern}/{TIMES_FILE}")]
    latest = sorted(beside, key=lambda path: path.stat().st_mtime, reverse=True)[:_MOST_FOLDERS]
    own = folder / TIMES_FILE
    return [path.parent for path in ([own] if own.exists() else []) + [path for path in latest if path != own]]


def _search(config: ExperimentConfig) -> tuple[object, ...]:
    """What decides how many runs, steps and products an initialisation takes, as far as networks are alike."""
    model, analysis = config.model, config.analysis
    return (
        (model.family, model.output_layer, model.normalization, model.subtract_initial),
        (config.loss, config.training.steps, config.transient_steps, preconditions(config.trained_by)),
        (config.sharpness.solver, config.sharpness.every, config.sweep.search, config.sweep.lr_exponents.step),
        (analysis.barrier, config.saturation_time if analysis.saturation else None),
    )


def _runs(config: ExperimentConfig) -> tuple[object, ...]:
    """What decides the time of an initialisation of a network, on one device."""
    data = config.data.model_copy(update={"data_dir": None})
    return config.model, data, config.loss, config.training, config.trained_by, config.sharpness, config.device.xla


def _networks(folder: Path, same_runs: bool) -> Iterator[Stored]:
    """The networks of an experiment, of the initialisations that were carried out in one go."""
    runs = RunStore(folder / RUNS_FOLDER).table()
    cells = dict(list(runs.groupby(["depth", "width", "seed"])))
    whole: dict[tuple[int, int], list[Taken]] = {}
    for each in read_times(folder):
        of_cell = cells.get((each.depth, each.width, each.seed))
        if of_cell is not None and of_cell["run_id"].nunique() == each.runs:
            whole.setdefault((each.depth, each.width), []).append(each)
    for (depth, width), taken in whole.items():
        works = [_work(cells[depth, width, seed]) for seed in {each.seed for each in taken}]
        mean = Work(*(statistics.fmean(values) for values in zip(*works, strict=True)))
        first, later = (_median([each.seconds for each in taken if each.begins == begins]) for begins in (1, 0))
        yield Stored(folder, depth, width, mean, first, later, same_runs)


def _work(runs: pd.DataFrame) -> Work:
    """What the runs of an initialisation took."""
    trained = runs[runs["step"] > 0]
    return Work(
        runs=trained["run_id"].nunique(),
        steps=len(trained),
        measurements=1 + int(trained["residual"].notna().sum()),  # lambda_0, and what stands in all runs but once
        estimates=int(trained["question"].isin(["sharpness", "onset"])[trained["sharpness"].notna()].sum()),
        products=int(runs["hvps"].sum()),
        line_points=LINE_POINTS * runs.loc[runs["barrier"].notna(), "run_id"].nunique(),
    )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan

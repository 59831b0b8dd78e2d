"""What an experiment will cost, before it is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.sweep.expected_work import expected_work
from sharpness_phases.sweep.learned import Stored, nearest
from sharpness_phases.sweep.pace import Pace, pace_of

_START_AND_DRAW_SECONDS = 7.0
"""Seconds of an experiment beside its runs: 5 to import TensorFlow and what draws, 2 to draw. In processor time of
configs/quickstart.yaml (docs/performance.md, "What is not arithmetic")."""

_LOADING_SECONDS = 7e-8
"""Seconds to load and standardise a number of a data set of TensorFlow Datasets: 11 for the 154 million of CIFAR-10, in
processor time."""


class Basis(NamedTuple):
    """What an estimate rests on.

    Attributes:
        words: For people.
        factor: By how much the time may be wrong, either way.
    """

    words: str
    factor: float


STORED_TIMES = Basis("times of stored runs", 1.25)
"""The same runs of the same network on the same machine. The factor is for how busy the machine is; chosen so."""

STORED_COUNTS = Basis("counts of stored runs", 1.5)
"""The same search on a network like it; the factor is chosen within what docs/performance.md has."""

USUAL_COUNTS = Basis("usual counts", 2.0)
"""What such searches take elsewhere (`sharpness_phases.sweep.expected_work`); likewise."""


class Estimate(NamedTuple):
    """Cost of all runs of one architecture.

    Attributes:
        depth: Depth of the network.
        width: Its width.
        parameters: Number of trainable parameters.
        initialisations: Number of initialisations.
        runs: Number of training runs.
        hvps: Number of Hessian-vector products.
        flops: Floating-point operations.
        seconds: Time, building and compiling included.
        low: The least that it is expected to be.
        high: The most.
        basis: What that rests on, in words.
    """

    depth: int
    width: int
    parameters: int
    initialisations: int
    runs: int
    hvps: int
    flops: float
    seconds: float
    low: float
    high: float
    basis: str


def estimate(config: ExperimentConfig, rate: float | None = None, stored: Sequence[Stored] = ()) -> list[Estimate]:
    """Estimate the cost of an experiment; data are not loaded, and nothing is trained.

    Args:
        config: The experiment.
        rate: Floating-point operations per second of a device. None: that of this machine, on which some passes through
            each network are timed.
        stored: What stored runs tell (`sharpness_phases.sweep.learned.learned`).

    Returns:
        An entry for every (depth, width), as if nothing had been run yet.
    """
    return [
        _estimate(config, depth, width, rate, stored) for depth in config.sweep.depths for width in config.sweep.widths
    ]


def _estimate(
    config: ExperimentConfig, depth: int, width: int, rate: float | None, stored: Sequence[Stored]
) -> Estimate:
    n, pace, like = config.sweep.seeds, pace_of(config, depth, width, rate), nearest(stored, depth, width)
    work, basis = (expected_work(config), USUAL_COUNTS) if like is None else (like.work, STORED_COUNTS)
    seconds = pace.setup + n * pace.seconds(work, config)
    if like is not None and rate is None and like.same_runs and (like.depth, like.width) == (depth, width):
        seconds, basis = _as_stored(like, n, pace, pace.seconds(work, config)), STORED_TIMES
    return Estimate(
        depth,
        width,
        pace.parameters,
        n,
        round(n * work.runs),
        round(n * work.products),
        n * pace.flops(work, config),
        seconds,
        seconds / basis.factor,
        seconds * basis.factor,
        basis.words,
    )


def _as_stored(like: Stored, n: int, pace: Pace, each: float) -> float:
    """Seconds of n initialisations where some took what is stored; what that does not tell is estimated."""
    later = like.later
    if math.isnan(later):
        later = like.first * each / (pace.setup + each)
    first = pace.setup + later if math.isnan(like.first) else like.first
    return first + (n - 1) * later


def around_the_runs(config: ExperimentConfig, estimates: Sequence[Estimate]) -> float:
    """Time that an experiment takes beside its runs.

    Args:
        config: The experiment.
        estimates: Those of its networks; stored times have the loading of the data in them already.

    Returns:
        Seconds to start, to load the data, to tabulate and to draw.
    """
    data, stored = config.data.info, any(each.basis == STORED_TIMES.words for each in estimates)
    loaded = 0 if stored or not data.host else math.prod(data.shape) * data.train
    return _START_AND_DRAW_SECONDS + loaded * _LOADING_SECONDS

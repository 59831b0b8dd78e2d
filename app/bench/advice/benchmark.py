"""Advice and finders on one task: the rate that each gives, what it cost, and what training at it came to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import keras
import numpy as np

from sharpness_phases.bench.advice.finders import FINDERS
from sharpness_phases.bench.advice.tasks import Arrays, Task
from sharpness_phases.store.files import write_text
from sharpness_phases.training.short_runs import ShortRuns, short_runs
from sharpness_phases.training.training_batches import TrainingBatches

RATES = {"sgd": (-7, 1), "momentum": (-9, -1), "adam": (-12, -4), "adamw": (-12, -4)}
"""Exponents of two of the lowest and the highest rate of the full grid, by optimizer; it is extended while its best
rate is at an end."""

MOST_RATES = 30
"""Rates after which the grid is not extended any more."""

ADVICE, DEFAULT = "advice", "Keras' default"
"""Methods beside the finders."""

LAST = 10
"""The loss of a training is the mean over the last tenth of its steps."""


class Outcome(NamedTuple):
    """What one method gave on one task from one initialisation.

    Attributes:
        task: Name of the task.
        part: Which half of the benchmark it belongs to.
        seed: Of the initialisation and of the batches.
        method: "advice", "Keras' default", or a finder's name.
        learning_rate: What it says; NaN for nothing.
        cost: What it takes to say so, in optimizer steps.
        initial: The first loss of the training.
        final: The loss of training at it; infinite where it diverged, NaN without a rate.
        best: The lowest final loss of the full grid.
    """

    task: str
    part: str
    seed: int
    method: str
    learning_rate: float
    cost: float
    initial: float
    final: float
    best: float

    @property
    def regret(self) -> float:
        """(final - best) / (initial - best): 0 for the best of the grid, 1 for no training; 1 also without a rate."""
        if math.isnan(self.final):
            return 1.0
        return (self.final - self.best) / (self.initial - self.best)

    @property
    def diverged(self) -> bool:
        """Whether training at the rate ended with no finite loss."""
        return math.isinf(self.final)


Advise: TypeAlias = Callable[[keras.Model, Arrays, Task, int], tuple[float, float]]
"""Function (model, data, task, seed) -> a learning rate, and what it cost in optimizer steps."""


def benchmark(
    tasks: Sequence[Task], seeds: Sequence[int], folder: Path, data_dir: str | None, advise: Advise
) -> Iterator[Outcome]:
    """Carry out what a folder does not hold yet, and tell everything.

    Args:
        tasks: Which tasks.
        seeds: Initialisations of each.
        folder: Where outcomes are kept, a file for each task and seed.
        data_dir: Folder of TensorFlow Datasets.
        advise: The advice that is held against the finders.

    Yields:
        An outcome for each task, seed and method.
    """
    for seed in seeds:
        for task in tasks:
            path = folder / f"{task.name.replace(' ', '_')}_{seed}.json"
            if not path.exists():
                found = [outcome._asdict() for outcome in run_task(task, seed, data_dir, advise)]
                write_text(path, json.dumps(found, indent=1))
            yield from (Outcome(**row) for row in json.loads(path.read_text()))


def run_task(task: Task, seed: int, data_dir: str | None, advise: Advise) -> list[Outcome]:
    """All methods on one task, and the full grid.

    Args:
        task: The task.
        seed: Of the initial weights and of the order of batches, which all methods share.
        data_dir: Folder of TensorFlow Datasets.
        advise: The advice that is held against the finders.

    Returns:
        An outcome for each method.
    """
    x, y = task.arrays(data_dir)
    model = task.compiled(seed)
    default = float(model.optimizer.learning_rate)
    batches = TrainingBatches((x, y), task.steps, task.batch_size, seed)
    answers: dict[str, tuple[float, float]] = {DEFAULT: (default, 0.0)}
    with short_runs(model, batches) as runs:
        finals = _full_grid(runs, task)
        initial = float(runs.along([default])[0])
        for name, finder in FINDERS.items():
            answers[name] = finder.suggestion(runs.along(finder.rates))
    answers[ADVICE] = advise(model, (x, y), task, seed)
    with short_runs(model, batches) as runs:
        finals |= {rate: _final(runs, rate, task.steps) for rate, _ in answers.values() if rate > 0}
    best = min(finals.values())
    return [
        Outcome(task.name, task.part, seed, name, rate, cost, initial, finals.get(rate, math.nan), best)
        for name, (rate, cost) in answers.items()
    ]


def _full_grid(runs: ShortRuns, task: Task) -> dict[float, float]:
    """The final loss at every rate of the grid."""
    low, high = RATES[task.optimizer]
    finals = {exponent: _final(runs, 2.0**exponent, task.steps) for exponent in range(low, high + 1)}
    while (best := min(finals, key=finals.__getitem__)) in (min(finals), max(finals)) and len(finals) < MOST_RATES:
        further = best - 1 if best == min(finals) else best + 1
        finals[further] = _final(runs, 2.0**further, task.steps)
    return {2.0**exponent: loss for exponent, loss in finals.items()}


def _final(runs: ShortRuns, rate: float, steps: int) -> float:
    """The loss at the end of a training."""
    losses = runs.losses(rate, steps)
    runs.forget(rate)
    return float(np.mean(losses[-max(steps // LAST, 1) :]))


Summary: TypeAlias = dict[str, dict[str, float]]
"""Figures by name, for each method."""


def summary(outcomes: Sequence[Outcome]) -> Summary:
    """Figures of every method over tasks and seeds.

    Args:
        outcomes: Of all methods on the same tasks and seeds.

    Returns:
        For each method: median and 90th percentile of the regret, share that diverged, the ratio of two seeds' rates
        (its median over pairs, and then over tasks), median cost in steps.
    """
    found = {}
    for method in dict.fromkeys(outcome.method for outcome in outcomes):
        of_method = [outcome for outcome in outcomes if outcome.method == method]
        regrets = [min(outcome.regret, 1e9) for outcome in of_method]
        found[method] = {
            "median regret": float(np.median(regrets)),
            "regret of 90%": float(np.quantile(regrets, 0.9, method="higher")),
            "diverged": float(np.mean([outcome.diverged for outcome in of_method])),
            "spread": _spread(of_method),
            "steps": float(np.median([outcome.cost for outcome in of_method])),
        }
    return found


def _spread(outcomes: Sequence[Outcome]) -> float:
    """How far two seeds' rates are apart: the median over tasks; NaN of one seed."""
    by_task: dict[str, list[float]] = {}
    for outcome in outcomes:
        by_task.setdefault(outcome.task, []).append(outcome.learning_rate)
    return float(np.nanmedian([_ratio_of_two(rates) for rates in by_task.values()]))


def _ratio_of_two(rates: list[float]) -> float:
    """The median, over pairs of seeds, of the larger rate over the smaller; NaN of one seed."""
    pairs = [max(a, b) / min(a, b) for i, a in enumerate(rates) for b in rates[:i] if a > 0 and b > 0]
    return float(np.median(pairs)) if pairs else math.nan

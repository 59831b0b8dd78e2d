"""The learning rate to train with, from short runs at several rates, all from the same start and on the same batches.

A learning-rate finder lets the rate grow in one run, so that its answer depends on how fast, and on what the weights
have become by then (Smith 2017, Sec. 3.3). Here every rate has its own run; what a rate is worth is what the loss is
after it. Nothing here knows networks: the losses of a run are a function of its rate and its number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Losses: TypeAlias = Callable[[float, int], np.ndarray]
"""Function (learning rate, steps) -> the loss of every batch before its step, infinite from where the run is gone."""

FIRST_STEPS, COARSE = 8, 4.0
"""Steps of the first runs, and the factor between their rates."""

FINE = 2.0
"""The factor between the rates of later, longer runs: from the best rate on, half and twice as much cost up to 6% of
what training gains (the grids of `phases bench advice`)."""

MOST_COARSE = 12
"""Rates that the first runs go through at most, 24 octaves: beyond, the start was no guess."""

TEMPERATURE = 0.05
"""Rates count by exp(-(m - min m) / (`TEMPERATURE` (first loss - min m))), with m the mean loss at the end of a run.
What is 5% worse counts 1/e: so the answer lies in the middle of the rates that are equally good, and moves little from
seed to seed. (docs/advice.md has the regret for other values.)"""

DRIFT = 0.2
"""log2 of the factor by which the best rate falls when a training has twice the steps. Noise and instability add up
over the steps, so that short runs prefer rates that are too large. (docs/advice.md: fitted on half of the tasks.)"""

KEPT = 3
"""Rates that longer runs are made at: the preferred one's neighbours. A fourth changed the median regret of eleven
tasks by less than 0.4%, at 16 steps more."""

TOWARDS_THE_CEILING = 2
"""Runs of `FIRST_STEPS` steps that are kept for rates above the others, if none of these failed: the ceiling is told to
the factor `COARSE`."""

STABLE = 1.5
"""Two answers, the second from runs of twice the steps, that differ by less than this factor are one: the search
ends."""


@dataclass(frozen=True)
class RateFinding:
    """What the runs say.

    Attributes:
        learning_rate: The rate to train with.
        preferred: The rate that the longest runs prefer.
        ceiling: The largest rate whose run ended below where it began, with a larger one that did not; infinite where
            none failed.
        steps: Steps of the longest runs.
        stable: Whether runs of half as many steps say the same, but for the factor `STABLE`.
        ends: For each rate tried, the steps of its run and the mean loss over their last quarter.
        first: The loss before the first step.
    """

    learning_rate: float
    preferred: float
    ceiling: float
    steps: int
    stable: bool
    ends: Mapping[float, tuple[int, float]]
    first: float


def search_rate(losses: Losses, start: float, horizon: int, budget: int = 160) -> RateFinding:
    """Find the rate with the lowest loss, by runs that become longer and rates that come closer.

    The first runs take `FIRST_STEPS` steps, at rates a factor of `COARSE` apart: from `start` on, upwards or downwards,
    until the best one has a worse one on both sides. Then the rates around it, a factor of `FINE` apart, are run for
    twice, four times, eight times as many steps, until two answers in a row agree or the budget is spent. The best rate
    of n steps is lowered to the horizon N by the factor (n / N)^`DRIFT`.

    Args:
        losses: Carries out a run; one that is asked for more steps is continued.
        start: Where to begin, above 0; the stability edge is a good guess.
        horizon: N, the number of steps that the training will take.
        budget: Most steps of all runs together; the first runs are made in any case. What is left is spent on larger
            rates, until one fails.

    Returns:
        The rate, and what it rests on. The rate is NaN where no run lowered the loss.

    Example:
        Gradient descent on a parabola of curvature 1, where w falls by the factor 1 - eta in every step:

        >>> found = search_rate(lambda eta, steps: (1 - eta) ** (2.0 * np.arange(steps)), start=0.1, horizon=32)
        >>> 0.3 < found.learning_rate < 1.7, found.ceiling <= 2
        (True, True)
    """
    runs = _Runs(losses)
    best = _coarse(runs, start)
    answers = []
    steps = 2 * FIRST_STEPS
    rates = [best * FINE**k for k in (-2, -1, 0, 1, 2)]
    most = budget - TOWARDS_THE_CEILING * FIRST_STEPS
    while 0 < runs.cost_of(rates, steps) <= most - runs.spent:
        answers.append((steps, runs.preferred(rates, steps)))
        if len(answers) > 1 and _agree(answers[-1][1], answers[-2][1]):
            break
        rates, steps = runs.nearest(rates, steps, answers[-1][1]), 2 * steps
    if not answers:
        answers = [(FIRST_STEPS, best if runs.lowers(best) else math.nan)]
    runs.look_for_the_ceiling(budget)
    last, rate = answers[-1]
    stable = len(answers) > 1 and _agree(rate, answers[-2][1])
    lowered = rate * min(1.0, last / horizon) ** DRIFT
    return RateFinding(lowered, rate, runs.ceiling(), last, stable, runs.ends(), runs.first)


def end_of_run(losses: np.ndarray) -> float:
    """m, the mean loss over the last quarter of a run's steps; infinite where it is gone.

    Args:
        losses: The loss of every batch before its step, shape (steps,).

    Returns:
        m.
    """
    return float(np.mean(losses[len(losses) - max(len(losses) // 4, 1) :]))


def _agree(a: float, b: float) -> bool:
    return max(a, b) <= STABLE * min(a, b)


def _coarse(runs: _Runs, start: float) -> float:
    """The best rate of the first runs, with a worse one on both sides as far as `MOST_COARSE` goes."""
    rates = [start / COARSE, start, start * COARSE]
    while len(rates) < MOST_COARSE:
        best = min(rates, key=lambda rate: runs.end(rate, FIRST_STEPS))
        if best == rates[0] or not runs.lowers(best):
            rates.insert(0, rates[0] / COARSE)
        elif best == rates[-1]:
            rates.append(rates[-1] * COARSE)
        else:
            break
    return min(rates, key=lambda rate: runs.end(rate, FIRST_STEPS))


class _Runs:
    """The runs so far.

    Args:
        losses: Carries out a run.
    """

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._known: dict[float, np.ndarray] = {}

    @property
    def spent(self) -> int:
        """Steps so far."""
        return sum(int(np.isfinite(run).sum()) for run in self._known.values())

    @property
    def first(self) -> float:
        """The loss before the first step."""
        return float(next(iter(self._known.values()))[0])

    def cost_of(self, rates: list[float], steps: int) -> int:
        """Steps that runs of this length would take, beyond those they have."""
        return sum(
            steps - len(self._known.get(rate, ())) for rate in rates if np.isfinite(self._known.get(rate, [0.0])[-1])
        )

    def end(self, rate: float, steps: int) -> float:
        """m, the mean loss over the last quarter of a run's steps; infinite where it is gone."""
        if len(self._known.get(rate, ())) < steps:
            self._known[rate] = self._losses(rate, steps)
        return end_of_run(self._known[rate][:steps])

    def lowers(self, rate: float) -> bool:
        """Whether a run ended below where it began."""
        run = self._known[rate]
        return self.end(rate, len(run)) < self.first

    def preferred(self, rates: list[float], steps: int) -> float:
        """The middle of the best rates: the mean of their logarithms, each counted by its loss (`TEMPERATURE`)."""
        ends = np.array([self.end(rate, steps) for rate in rates])
        gain = self.first - ends.min()
        if not gain > 0:
            return math.nan
        weights = np.exp(-(ends - ends.min()) / (TEMPERATURE * gain))
        return float(np.exp(np.average(np.log(rates), weights=weights)))

    def nearest(self, rates: list[float], steps: int, middle: float) -> list[float]:
        """The `KEPT` rates around the preferred one, of those that are not gone."""
        left = [rate for rate in rates if math.isfinite(self.end(rate, steps))] or rates[:1]
        middle = middle if math.isfinite(middle) else left[0]
        return sorted(sorted(left, key=lambda rate: abs(math.log(rate / middle)))[:KEPT])

    def look_for_the_ceiling(self, budget: int) -> None:
        """Go on to larger rates until one fails, within the budget."""
        while math.isinf(self.ceiling()) and self.spent + FIRST_STEPS <= budget:
            self.end(COARSE * max(self._known), FIRST_STEPS)

    def ceiling(self) -> float:
        """The largest rate that lowered the loss, below one that did not."""
        rates = sorted(self._known)
        good = [rate for rate in rates if self.lowers(rate)]
        if not good:
            return 0.0
        return good[-1] if good[-1] < rates[-1] else math.inf

    def ends(self) -> dict[float, tuple[int, float]]:
        """For each rate, the steps of its run and its m."""
        return {rate: (len(run), self.end(rate, len(run))) for rate, run in sorted(self._known.items())}

"""Learning-rate finders as their libraries document them: one run with a growing rate, and rules that read its losses.

All go back to the range test of Smith 2017 (arXiv 1506.01186, Sec. 3.3). What is here follows the documented
defaults of fastai 2 (`Learner.lr_find`), Lightning 2 (`Tuner.lr_find`) and the finder for Keras of P. Surmenok
(keras_lr_finder).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

Curve: TypeAlias = np.ndarray
"""Losses or rates of the steps of a range test, float64, shape (steps,)."""

Rule: TypeAlias = Callable[[Curve, Curve], float]
"""Function (rates, losses) -> suggested rate; NaN where a finder gives none."""


class Finder(NamedTuple):
    """A range test and how its losses are read.

    Attributes:
        first: Its first rate.
        last: Its last one; they grow by the same factor in every step.
        steps: Optimizer steps.
        memory: Share beta of the last smoothed loss; 0 for no smoothing.
        rule: From rates and smoothed losses to a suggestion.
    """

    first: float
    last: float
    steps: int
    memory: float
    rule: Rule

    @property
    def rates(self) -> Curve:
        """The rate of every step."""
        return np.geomspace(self.first, self.last, self.steps)

    def suggestion(self, losses: Curve) -> tuple[float, int]:
        """What the finder says, and what it cost.

        Args:
            losses: The loss of every step at `rates`; those beyond the end of the test are not looked at.

        Returns:
            The suggested rate, NaN if there is none, and the steps until the test ended: where the smoothed loss is
            more than 4 times its lowest value, or not finite.
        """
        smoothed = smooth(losses, self.memory)
        end = _end(smoothed)
        return self.rule(self.rates[:end], smoothed[:end]), end


def smooth(losses: Curve, memory: float) -> Curve:
    """Exponential average without the bias towards zero, of everything until a step.

    Args:
        losses: Shape (steps,).
        memory: beta.

    Returns:
        Shape (steps,); infinite from the first loss on that is not finite.
    """
    average, found = 0.0, np.full(len(losses), np.inf)
    for step, loss in enumerate(losses):
        if not math.isfinite(loss):
            break
        average = memory * average + (1 - memory) * loss
        found[step] = average / (1 - memory ** (step + 1))
    return found


def _end(smoothed: Curve) -> int:
    """The first step after which a range test stops."""
    best = math.inf
    for step, loss in enumerate(smoothed):
        if not math.isfinite(loss) or loss > 4 * best:
            return step + 1
        best = min(best, loss)
    return len(smoothed)


def _trimmed(rates: Curve, losses: Curve, begin: int, end: int) -> tuple[Curve, Curve]:
    """Without the first and the last steps, and those that are not finite."""
    rates, losses = rates[begin : len(rates) - end], losses[begin : len(losses) - end]
    return rates[np.isfinite(losses)], losses[np.isfinite(losses)]


def valley(rates: Curve, losses: Curve) -> float:
    """In the middle of the second third of the longest falling subsequence (fastai's default).

    Args:
        rates: Shape (steps,).
        losses: Smoothed, shape (steps,).

    Returns:
        The rate; NaN of fewer than two steps.
    """
    rates, losses = _trimmed(rates, losses, 10, 5)
    if len(losses) < 2:
        return math.nan
    lengths = np.ones(len(losses), int)
    for step in range(1, len(losses)):
        above = lengths[:step][losses[:step] > losses[step]]
        lengths[step] = 1 + (above.max() if len(above) else 0)
    last = int(np.argmax(lengths))
    first = max(last - int(lengths[last]), 0)
    third = (last - first) / 3
    return float(rates[first + int(third) + int(third / 2)])


def steep(rates: Curve, losses: Curve) -> float:
    """Where the loss falls fastest per factor of the rate (fastai)."""
    rates, losses = _trimmed(rates, losses, 10, 5)
    return math.nan if len(losses) < 2 else float(rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))])


def tenth_of_minimum(rates: Curve, losses: Curve) -> float:
    """A tenth of the rate of the lowest loss (fastai)."""
    rates, losses = _trimmed(rates, losses, 10, 5)
    return math.nan if len(losses) == 0 else float(rates[np.argmin(losses)]) / 10


def steepest_step(rates: Curve, losses: Curve) -> float:
    """Where the loss falls fastest from step to step (Lightning)."""
    rates, losses = _trimmed(rates, losses, 10, 1)
    return math.nan if len(losses) < 2 else float(rates[np.argmin(np.gradient(losses))])


def steepest_average(rates: Curve, losses: Curve, window: int = 20) -> float:
    """Where the loss fell most over the last `window` steps (keras_lr_finder)."""
    if len(losses) <= window + 15:
        return math.nan
    change = np.zeros(len(losses))
    change[window:] = (losses[window:] - losses[:-window]) / window
    return float(rates[10:-5][np.argmin(change[10:-5])])


FINDERS = {
    "fastai, valley": Finder(1e-7, 10, 100, 0.98, valley),
    "fastai, steep": Finder(1e-7, 10, 100, 0.98, steep),
    "fastai, minimum / 10": Finder(1e-7, 10, 100, 0.98, tenth_of_minimum),
    "Lightning": Finder(1e-8, 1, 100, 0.98, steepest_step),
    "keras_lr_finder": Finder(1e-4, 1, 100, 0.0, steepest_average),
}
"""The finders by name; the one for Keras smooths differences instead of losses."""

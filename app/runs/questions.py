"""What a run is asked, and what counts as an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sharpness_phases.runs.trajectory import DIVERGENCE_LOSS, Trajectory, has_diverged

RISE = 0.03
"""Relative rise of a value v_t above the lowest value before it from which on v_t counts as rising again.

A sharpness below its threshold is measured loosely, and wobbles on its way down by about a quarter of its residual; the
larger of that quarter and `RISE` counts. 0.03 is well above the 3e-5 that measurements to the full tolerance wobble by.
Chosen with `sweep.edge_search.RISE_DOUBTS`, with which 118 of 120 constants are those of the whole grid
(`docs/performance.md`); a smaller one asks more runs, a larger one misses islands."""

GROWTH = 0.25
"""Relative rise of the loss from which on it is a sign of divergence. Chosen as the height above L_0 from which on
`sweep.edge_search.DIVERGENCE_DOUBTS` looks at it at all; in a catapult the second step often adds a few percent."""

LOOSE_SHARE = 0.25
"""Share of a sharpness' residual that its rise has to exceed to count; see `RISE`."""

ESTIMATE_WOBBLE = 0.15
"""Relative rise from which on an estimate from a sample, which has no residual, counts as rising, and by which it may
be below the truth where nothing else is known. Chosen so: a sample's sharpness moves by that beside the whole set's."""


class Question(StrEnum):
    """What is asked of the run at one c; a run may stop once its question is answered."""

    LOSS = "loss"
    """Does the loss exceed its initial value?"""
    SHARPNESS = "sharpness"
    """Does the sharpness exceed its initial value?"""
    ONSET = "onset"
    """Does it after the first or the last step? A yes answers `SHARPNESS`, too."""
    DIVERGENCE = "divergence"
    """Does training diverge?"""
    BARRIER = "barrier"
    """Does the line from the initial to the final weights pass a loss above the initial one?"""
    SATURATION = "saturation"
    """How large is the sharpness at the step tau with c tau = 200? See `sharpness_phases.analysis.saturation`."""


_OF_SHARPNESS = (Question.SHARPNESS, Question.ONSET)


@dataclass(frozen=True)
class Criteria:
    """What counts as rising.

    Attributes:
        steps: Length T of the early transient, in optimizer steps.
        loss_tolerance: The loss rises if L_t > (1 + loss_tolerance) L_0.
        sharpness_tolerance: The sharpness rises if lambda_t > (1 + sharpness_tolerance) lambda_0.
        barrier: Whether c_barrier is asked for.
        preconditioned: Whether the sharpness is that of P^-1/2 H P^-1/2.
    """

    steps: int
    loss_tolerance: float = 0.0
    sharpness_tolerance: float = 0.0
    barrier: bool = False
    preconditioned: bool = False

    @property
    def questions(self) -> tuple[Question, ...]:
        """The questions whose answers, yes or no along the grid, give the constants."""
        questions = (Question.LOSS, Question.SHARPNESS, Question.DIVERGENCE)
        return (*questions, Question.BARRIER) if self.barrier else questions

    def loss_threshold(self, loss_0: float) -> float:
        """The loss above which there is a loss catapult."""
        return (1 + self.loss_tolerance) * loss_0

    def sharpness_threshold(self, lambda_0: float) -> float:
        """The sharpness above which there is a sharpness catapult."""
        return lambda_0 + self.sharpness_tolerance * abs(lambda_0)

    def answer(self, question: Question, run: Trajectory) -> bool | None:
        """Answer a question from one run.

        Args:
            question: What is asked.
            run: A trajectory, possibly ended early; only its first T steps count.

        Returns:
            True or False, or None if the run ended before the answer was known.
        """
        if question is Question.DIVERGENCE:
            return self._has_diverged(run) if self._has_ended(run) else None
        if question is Question.LOSS:
            return self._loss_rises(run)
        if question is Question.BARRIER:
            return self._meets_a_barrier(run)
        return self._sharpness_rises(run, only_ends=question is Question.ONSET)

    def closeness(self, question: Question, run: Trajectory) -> float:
        """How near the run came to its threshold while it was rising.

        Only values clearly above the lowest one before count: at small c a quantity has barely moved, which is close
        to the initial value without meaning anything, and a value measured loosely wobbles on its way down.

        Args:
            question: What is asked.
            run: A trajectory.

        Returns:
            The largest share of the threshold at a step t with v_t > (1 + `RISE`) min_{s<t} v_s, or 0; for divergence
            as a share of the way from L_0 to `DIVERGENCE_LOSS` on a logarithmic scale, with `GROWTH` instead of `RISE`
            and s >= 1: a rise in the first step is no sign of it; for the sharpness with a preconditioner, any v_1: as
            P takes in the second batch then, v_1 is another than v_0 however small c is. For a barrier L_T, if the line
            rises by more than `RISE` of its lowest point: its end is then its highest point but the first, as where the
            loss is convex along it.
        """
        loss_0 = float(run.loss[0])
        if not loss_0 > 0:
            return 0.0
        if question is Question.BARRIER:
            return self._height_of_line(run) / loss_0
        highest = self._highest_rise(question, run)
        if question is Question.DIVERGENCE:
            return _share_of_the_way(highest / loss_0, DIVERGENCE_LOSS / loss_0)
        return highest / self._rising(question, run)[1]

    def excess(self, question: Question, run: Trajectory) -> float:
        """How high the run rose when it first rose above its threshold.

        Args:
            question: What is asked.
            run: A trajectory.

        Returns:
            The first loss or sharpness above the threshold, as a share of it; NaN where there is none, or the question
            is about neither.
        """
        if question is not Question.LOSS and question not in _OF_SHARPNESS:
            return float("nan")
        values, threshold = self._rising(question, run)
        above = values[1:][values[1:] > threshold]
        return float(above[0] / threshold) if len(above) else float("nan")

    def _height_of_line(self, run: Trajectory) -> float:
        """L_T at the end of the line, if it is clearly above the line's lowest point; else 0."""
        if run.steps < self.steps or not np.isfinite(run.line_rise):
            return 0.0
        end = float(run.loss[self.steps])
        return end if run.line_rise > RISE * (end - run.line_rise) else 0.0

    def _rising(self, question: Question, run: Trajectory) -> tuple[np.ndarray, float]:
        """The values from step 0 to T that may rise, and the threshold above which they count."""
        if question in _OF_SHARPNESS:
            return run.sharpness[: self.steps + 1], self.sharpness_threshold(run.sharpness[0])
        return run.loss[: self.steps + 1], self.loss_threshold(run.loss[0])

    def _highest_rise(self, question: Question, run: Trajectory) -> float:
        """The largest value that is clearly above the lowest one before it; 0 if none is."""
        values = self._rising(question, run)[0][question is Question.DIVERGENCE :]
        rises = risen_again(values, self._clearly_above(question, run, values[1:]))
        if self.preconditioned and question in _OF_SHARPNESS:
            rises[:1] = True
        return float(np.nanmax(values[1:][rises], initial=0.0))

    def _clearly_above(self, question: Question, run: Trajectory, values: np.ndarray) -> np.ndarray:
        """The relative rise that is more than how loosely each value is known."""
        clearly = np.full(len(values), GROWTH if question is Question.DIVERGENCE else RISE)
        if question not in _OF_SHARPNESS:
            return clearly
        wobble = run.residual[1 : self.steps + 1] * LOOSE_SHARE
        relative = np.full(len(values), RISE)
        np.divide(wobble, np.abs(values), out=relative, where=values != 0)
        return np.where(np.isnan(wobble), ESTIMATE_WOBBLE, np.fmax(clearly, relative))

    def _has_diverged(self, run: Trajectory) -> bool:
        """Whether the run diverges within the first T steps."""
        return run.diverged and run.steps <= self.steps

    def _has_ended(self, run: Trajectory) -> bool:
        """Whether the run went on to step T, or to its divergence before."""
        return self._has_diverged(run) or run.steps >= self.steps

    def _loss_rises(self, run: Trajectory) -> bool | None:
        rises = np.any(run.loss[1 : self.steps + 1] > self.loss_threshold(run.loss[0]))
        if rises or self._has_diverged(run):
            return True
        return False if self._has_ended(run) else None

    def _meets_a_barrier(self, run: Trajectory) -> bool | None:
        """A run that diverged, or has risen at its end, ends beyond a barrier; of another, the line must be known."""
        if self._has_diverged(run) or (run.steps >= self.steps and run.loss[self.steps] > run.loss[0]):
            return True
        return None if np.isnan(run.barrier) else bool(run.barrier > run.loss[0])

    def _sharpness_rises(self, run: Trajectory, only_ends: bool) -> bool | None:
        """Whether the sharpness exceeds its threshold; with `only_ends`, after the first or the last step."""
        sharpness, loss = run.sharpness[1 : self.steps + 1], run.loss[1 : self.steps + 1]
        if only_ends and len(sharpness):
            sharpness = sharpness[[0, -1]]
        if np.any(sharpness > self.sharpness_threshold(run.sharpness[0])):
            return True
        if only_ends:
            if self._has_diverged(run):
                return False
            return False if self._has_ended(run) and np.all(np.isfinite(sharpness)) else None
        alive = [not has_diverged(value) for value in loss]
        return False if self._has_ended(run) and np.all(np.isfinite(sharpness[alive])) else None


def risen_again(values: np.ndarray, by: np.ndarray | float) -> np.ndarray:
    """Whether values but the first are above the lowest one before them by more than a relative rise.

    Args:
        values: Shape (n + 1,); NaN counts as not there.
        by: The relative rise, shape (n,) or a number.

    Returns:
        An array of bool, shape (n,).
    """
    return values[1:] > (1 + by) * np.fmin.accumulate(values)[:-1]


def _share_of_the_way(rise: float, way: float) -> float:
    """log(rise) / log(way): how far from 1 to `way` something rose; 1 where there is no way left."""
    return float(np.log(rise) / np.log(way)) if rise > 1 and way > 1 else float(way <= 1)

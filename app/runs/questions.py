"""What a run is asked, and what counts as an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sharpness_phases.runs.trajectory import DIVERGENCE_LOSS, Trajectory, has_diverged

RISE = 0.03
"""Relative rise above the lowest value so far that is more than the error of a loosely measured sharpness; where a
quarter of its residual is more, that counts."""


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
    """

    steps: int
    loss_tolerance: float = 0.0
    sharpness_tolerance: float = 0.0
    barrier: bool = False

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
        last = min(run.steps, self.steps)
        diverged = run.diverged and run.steps <= self.steps
        ended = diverged or last == self.steps
        if question is Question.DIVERGENCE:
            return diverged if ended else None
        if question is Question.LOSS:
            rises = diverged or bool(np.any(run.loss[1 : last + 1] > self.loss_threshold(run.loss[0])))
            return True if rises else (False if ended else None)
        if question is Question.BARRIER:
            # A diverged run ends beyond a barrier; else its line must have been measured.
            return True if diverged else bool(run.barrier > run.loss[0]) if not np.isnan(run.barrier) else None
        sharpness = run.sharpness[1 : last + 1]
        if question is Question.ONSET:
            sharpness = sharpness[[0, -1]] if last else sharpness
        if np.any(sharpness > self.sharpness_threshold(run.sharpness[0])):
            return True
        if question is Question.ONSET:
            return False if diverged or (ended and np.all(np.isfinite(sharpness))) else None
        alive = [not has_diverged(loss) for loss in run.loss[1 : last + 1]]
        measured = bool(np.all(np.isfinite(sharpness[alive])))
        return False if ended and measured else None

    def closeness(self, question: Question, run: Trajectory) -> float:
        """How near the run came to its threshold while it was rising.

        Only values clearly above the lowest one so far count: at small c a quantity has barely moved, which is close
        to the initial value without meaning anything, and a value measured loosely wobbles on its way down.

        Args:
            question: What is asked.
            run: A trajectory.

        Returns:
            The largest share of the threshold at a step t >= 2 with v_t > (1 + `RISE`) min_{1<=s<t} v_s, or 0; for
            divergence as a share of the way from L_0 to `DIVERGENCE_LOSS` on a logarithmic scale.
        """
        if not run.loss[0] > 0:
            return 0.0
        if question is Question.BARRIER:
            return run.barrier / float(run.loss[0]) if np.isfinite(run.barrier) else 0.0
        values, threshold = self._rising(question, run)
        values = values[1:]
        clearly = np.full(len(values), RISE)
        if question in _OF_SHARPNESS:
            quarter = run.residual[1 : self.steps + 1] / 4
            clearly = np.fmax(clearly, np.divide(quarter, np.abs(values), out=clearly.copy(), where=values != 0))
        lowest = np.fmin.accumulate(values)
        rising = values[1:][values[1:] > (1 + clearly[1:]) * lowest[:-1]]
        highest = float(np.max(rising, initial=0.0))
        if question is Question.DIVERGENCE:
            rise, way = highest / float(run.loss[0]), DIVERGENCE_LOSS / float(run.loss[0])
            return float(np.log(rise) / np.log(way)) if rise > 1 and way > 1 else float(way <= 1)
        return highest / threshold

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

    def _rising(self, question: Question, run: Trajectory) -> tuple[np.ndarray, float]:
        """The values from step 0 to T that may rise, and the threshold above which they count."""
        if question in _OF_SHARPNESS:
            return run.sharpness[: self.steps + 1], self.sharpness_threshold(run.sharpness[0])
        return run.loss[: self.steps + 1], self.loss_threshold(run.loss[0])

"""The critical constants c_loss, c_sharp, c_barrier and c_max, from trajectories on a grid of c.

Definitions (Kalra & Barkeshli 2023, Sec. 2.1; T steps, loss L_t and sharpness lambda_t on the measurement set):

- c_loss: smallest c with max_{1<=t<=T} L_t > L_0;
- c_sharp: smallest c with max_{1<=t<=T} lambda_t > (1 + epsilon) lambda_0;
- c_barrier: smallest c with a loss above L_0 on the straight line from theta_0 to theta_T; c_max where there is none;
- c_max: largest c below the first one whose loss is not finite or exceeds 1e5.

A constant is censored `low` if its condition holds at the grid's first c already, `high` if it holds nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.runs.trajectory import Trajectory


@dataclass(frozen=True)
class Constant:
    """A critical constant of one initialisation.

    Attributes:
        value: The constant; NaN where it is censored or not known.
        censored: "" if not; "low" or "high".
        known: Whether the runs decide it.
    """

    value: float
    censored: str = ""
    known: bool = True


_UNKNOWN = Constant(float("nan"), known=False)
_LOW = Constant(float("nan"), "low")
_HIGH = Constant(float("nan"), "high")


def critical_constants(
    grid: Sequence[float], runs: Mapping[int, Sequence[Trajectory]], criteria: Criteria
) -> dict[str, Constant]:
    """c_loss, c_sharp, c_max and, if asked for, c_barrier of one initialisation.

    Args:
        grid: The c of the grid, increasing.
        runs: Grid index to the trajectories at the c of that index; a search leaves most indices out.
        criteria: What counts as rising.

    Returns:
        The constants by name. One that the runs do not decide, because the search was interrupted, is not `known`.
    """
    answers = _answers(len(grid), runs, criteria)
    first = {question: _first(grid, answers[question]) for question in criteria.questions}
    c_max = first[Question.DIVERGENCE]
    if c_max.known and not c_max.censored:
        c_max = Constant(grid[len(answers[Question.LOSS]) - 2])
    constants = {"c_loss": first[Question.LOSS], "c_sharp": first[Question.SHARPNESS], "c_max": c_max}
    if criteria.barrier:
        barrier, divergence = first[Question.BARRIER], first[Question.DIVERGENCE]
        constants["c_barrier"] = c_max if barrier.known and barrier.value == divergence.value else barrier
    return constants


def undecided(count: int, runs: Mapping[int, Sequence[Trajectory]], criteria: Criteria) -> tuple[int, Question] | None:
    """What has to be asked next for all constants to be known: below the first yes, there must be a no.

    Args:
        count: Number of grid points.
        runs: Grid index to the trajectories at the c of that index.
        criteria: What counts as rising.

    Returns:
        A grid index and a question; None if the runs decide every constant.
    """
    for question, answers in _answers(count, runs, criteria).items():
        index = answers.index(True) - 1 if True in answers else len(answers) - 1
        if index >= 0 and answers[index] is None:
            return index, question
    return None


def _answers(
    count: int, runs: Mapping[int, Sequence[Trajectory]], criteria: Criteria
) -> dict[Question, list[bool | None]]:
    """The answers along the grid, of divergence first; those to other questions end with the first diverging c."""
    answers = {
        question: [_combined(criteria.answer(question, run) for run in runs.get(i, ())) for i in range(count)]
        for question in sorted(criteria.questions, key=lambda question: question is not Question.DIVERGENCE)
    }
    diverges = answers[Question.DIVERGENCE]
    # The first diverging c still counts: a diverging loss exceeds L_0.
    end = diverges.index(True) + 1 if True in diverges else count
    return {q: values if q is Question.DIVERGENCE else values[:end] for q, values in answers.items()}


def _combined(answers: Iterable[bool | None]) -> bool | None:
    """What several runs at one c say together: yes if any says so, no if one does; None if none knows."""
    known = {answer for answer in answers if answer is not None}
    return None if not known else True in known


def _first(grid: Sequence[float], answers: Sequence[bool | None]) -> Constant:
    """The smallest c whose answer is True: decided by a False just below it, or by the end of the grid."""
    if True not in answers:
        return _HIGH if answers[-1] is False else _UNKNOWN
    index = answers.index(True)
    if index == 0:
        return _LOW
    return Constant(grid[index]) if answers[index - 1] is False else _UNKNOWN

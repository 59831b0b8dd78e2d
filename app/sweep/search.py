"""Which c to try: the whole grid, or the few points that decide the same constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.runs.trajectory import Trajectory

Doubts = tuple[tuple[float, int], ...]

DIVERGENCE_DOUBTS: Doubts = ((0.05, 1),)
"""As `RISE_DOUBTS`, for divergence: losses that rose again above L_0 have neighbours that may diverge."""

RISE_DOUBTS: Doubts = ((0.7, 1), (0.5, 3), (0.3, 8))
"""Pairs (share, gap): a "no" whose run rose again to this share of the threshold, or above, casts doubt on
neighbouring gaps of more than so many grid steps."""


class Answer(NamedTuple):
    """What a run says.

    Attributes:
        holds: Whether the condition holds at this c.
        closeness: How near a run that says no came to yes, as a share of the threshold; see `Criteria.closeness`.
        excess: How high a run that says yes first rose, as a share of the threshold; NaN where that is not known.
    """

    holds: bool
    closeness: float
    excess: float = math.nan


def answered(question: Question, runs: Iterable[Trajectory], criteria: Criteria) -> Answer | None:
    """The answer to a question from runs at one c.

    Args:
        question: What is asked.
        runs: Those runs.
        criteria: What counts as rising.

    Returns:
        The answer; None if none of the runs has it.
    """
    for run in runs:
        if (holds := criteria.answer(question, run)) is not None:
            return Answer(holds, criteria.closeness(question, run), criteria.excess(question, run))
    return None


def exhaustive(count: int, diverges: Callable[[int], bool]) -> None:
    """Run every c of the grid from the lowest, up to the first that diverges.

    Args:
        count: Number of grid points.
        diverges: Runs one grid index and tells whether it diverged.
    """
    for index in range(count):
        if diverges(index):
            return


def adaptive(
    grid: Sequence[float],
    ask: Callable[[int, Question], Answer],
    known: Callable[[int, Question], Answer | None] = lambda index, question: None,
    barrier: bool = False,
) -> dict[Question, int | None]:
    """Ask what decides c_max, c_loss, c_sharp and c_barrier, and little more.

    The low end comes first: a sharpness that grows there grows from the first step to the last, so that two
    measurements tell. Then divergence, whose runs often tell where the loss rises. The sharpness, whose measurement
    costs most, is asked last: two fifths of the way from c_loss to the first diverging c, where
    c_sharp lies in many networks.

    Args:
        grid: The c of the grid, increasing.
        ask: Answers a question at a grid index, by a training run if need be.
        known: Answers a question if the runs so far can.
        barrier: Whether c_barrier is asked for.

    Returns:
        The first index at which each condition holds, None where it holds at none that was asked.
    """
    last = len(grid) - 1

    low = ask(0, Question.ONSET)
    edges = {Question.DIVERGENCE: edge_of(Question.DIVERGENCE, grid, last, ask, known)}
    end = _or(edges[Question.DIVERGENCE], last)
    edges[Question.LOSS] = edge_of(Question.LOSS, grid, end, ask, known)
    rising = _or(edges[Question.LOSS], end)
    start = rising + round(0.4 * (end - rising))

    def edge(question: Question, doubts: Doubts, split: float) -> int | None:
        return find_first(
            lambda i: ask(i, question),
            0,
            end,
            start,
            doubts,
            lambda i: known(i, question) or (low if i == 0 and question is Question.SHARPNESS else None),
            split,
        )

    edges[Question.SHARPNESS] = edge(Question.SHARPNESS, RISE_DOUBTS, 0.75)
    if barrier:
        edges[Question.BARRIER] = edge(Question.BARRIER, (), 0.5)
    return edges


def edge_of(
    question: Question,
    grid: Sequence[float],
    high: int,
    ask: Callable[[int, Question], Answer],
    known: Callable[[int, Question], Answer | None],
) -> int | None:
    """Smallest index up to `high` at which training diverges or the loss rises; looked for from where that usually is.

    Args:
        question: `DIVERGENCE` or `LOSS`.
        grid: The c of the grid, increasing.
        high: Last index, whose answer is known or taken for yes.
        ask: As for `adaptive`.
        known: As for `adaptive`.

    Returns:
        The index; None if the condition holds nowhere.
    """
    usual, doubts, split = _USUAL[question]
    return find_first(
        lambda i: ask(i, question), 0, high, _index_of(grid, usual), doubts, lambda i: known(i, question), split
    )


_USUAL = {Question.DIVERGENCE: (10.0, DIVERGENCE_DOUBTS, 0.6), Question.LOSS: (3.0, RISE_DOUBTS, 0.75)}


def _or(index: int | None, otherwise: int) -> int:
    return otherwise if index is None else index


def find_first(
    ask: Callable[[int], Answer],
    low: int,
    high: int,
    guess: int,
    doubts: Doubts = RISE_DOUBTS,
    known: Callable[[int], Answer | None] = lambda index: None,
    split: float = 0.5,
) -> int | None:
    """Smallest index in [low, high] at which a nearly monotone condition holds.

    An edge is enclosed and narrowed down as if the condition were monotone. Where runs that say yes tell how high they
    rose, the straight line through the lowest two of them says where to look next: what rises is convex in the index,
    so that the line meets the threshold at a yes, which is cheap, until the edge is reached. The low end is always
    looked at: a condition that holds there already would mislead the search. Then the gaps below the edge are halved
    wherever a run came close to the threshold (see `RISE_DOUBTS`): with cross-entropy the sharpness rises again late in
    the run, and the condition holds on islands of c.

    Args:
        ask: Answers at an index; each index is asked once.
        low: First index.
        high: Last index.
        guess: Where the edge is expected.
        doubts: Which answers cast doubt on which gaps.
        known: What is known beforehand, at no cost.
        split: Where an enclosing gap is divided, as a share of it. A run that says yes ends early; the dearer a no, the
            more it pays to ask near the upper end.

    Returns:
        The index, or None if the condition holds at no index asked.
    """
    answers = {index: answer for index in range(low, high + 1) if (answer := known(index)) is not None}

    def holds(index: int) -> bool:
        if index not in answers:
            answers[index] = ask(index)
        return answers[index].holds

    edge = _monotone_edge(holds, answers, (low, high), guess, split)
    while (doubtful := _doubtful_gap(answers, high if edge is None else edge, doubts)) is not None:
        if holds(doubtful):
            edge = doubtful
    return edge


def _monotone_edge(
    holds: Callable[[int], bool], answers: Mapping[int, Answer], ends: tuple[int, int], guess: int, split: float
) -> int | None:
    """The edge if the condition is monotone: enclosed from the guess, then narrowed down."""
    low, high = ends
    if holds(low):
        return low
    above = min((index for index, answer in answers.items() if answer.holds), default=high + 1)
    below = max(index for index in answers if not answers[index].holds and index < above)
    if above - below > 1 and _expected(answers, above) is None:
        below, above = _gallop(holds, answers, below, above, min(max(guess, below + 1), above - 1))
    while above - below > 1:
        expected = _expected(answers, above)
        at = below + math.ceil(split * (above - below)) if expected is None else expected
        at = min(max(at, below + 1), above - 1)
        below, above = (below, at) if holds(at) else (at, above)
    return above if above <= high else None


def _gallop(
    holds: Callable[[int], bool], answers: Mapping[int, Answer], below: int, above: int, at: int
) -> tuple[int, int]:
    """Enclose the edge between a no and a yes, near `at`: downwards from a yes there, upwards from a no."""
    if holds(at):
        above, stride = at, 2
        while above - below > 1:
            expected = _expected(answers, above)
            at = max(above - stride // 2 if expected is None else expected, below + 1)  # 1, 1, 2, 2, ...
            if not holds(at):
                return at, above
            above, stride = at, stride + 1
        return below, above
    below, stride = at, 2
    while above - below > 1:
        at = min(below + stride, above - 1)
        if holds(at):
            return below, at
        below, stride = at, stride + (stride + 1) // 2
    return below, above


def _expected(answers: Mapping[int, Answer], above: int) -> int | None:
    """Where below a yes the line through it and the next one meets the threshold; None if they do not tell."""
    following = min((i for i, answer in answers.items() if i > above and answer.holds), default=None)
    if following is None:
        return None
    excess, slope = answers[above].excess, answers[following].excess - answers[above].excess
    if not (excess > 1 and slope > 0):
        return None
    return min(above - 1, math.ceil(above - (excess - 1) * (following - above) / slope))


def _doubtful_gap(answers: dict[int, Answer], edge: int, doubts: Doubts) -> int | None:
    """Where to look for a true edge below the one found; None if nothing casts doubt on it.

    That is in the gap just below an edge found on an island, or next to a run that said no but came close.
    """
    asked = sorted(index for index in answers if index <= edge)
    for left, right in zip(asked, asked[1:], strict=False):
        for share, gap in doubts:
            middle = (left + right) // 2
            if right - left > gap and not answers[left].holds and answers[left].closeness > share:
                return min(left + gap, middle)
            if right - left > gap and not answers[right].holds and answers[right].closeness > share:
                return max(right - gap, middle)
        if answers[right].holds and right - left > 1:
            return (left + right) // 2
    return None


def _index_of(grid: Sequence[float], c: float) -> int:
    """Index of the first grid point at or above c, or the last one."""
    return next((i for i, value in enumerate(grid) if value >= c), len(grid) - 1)

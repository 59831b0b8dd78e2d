"""Which c to try: the whole grid, or the few points that decide the same constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.analysis.critical import Question

Doubts = tuple[tuple[float, int], ...]

DIVERGENCE_DOUBTS: Doubts = ((0.2, 1),)
"""As `RISE_DOUBTS`, for divergence: losses that rose about tenfold have neighbours that may diverge."""

RISE_DOUBTS: Doubts = ((0.85, 1), (0.6, 3), (0.45, 8))
"""Pairs (share, gap): a "no" whose run rose again to this share of the threshold, or above, casts doubt on
neighbouring gaps of more than so many grid steps."""


class Answer(NamedTuple):
    """What a run says.

    Attributes:
        holds: Whether the condition holds at this c.
        closeness: How near a run that says no came to yes, as a share of the threshold; see `Criteria.closeness`.
    """

    holds: bool
    closeness: float


def exhaustive(count: int, diverges: Callable[[int], bool]) -> None:
    """Run every c of the grid from the lowest, up to the first that diverges.

    Args:
        count: Number of grid points.
        diverges: Runs one grid index and tells whether it diverged.
    """
    for index in range(count):
        if diverges(index):
            return


def adaptive(grid: Sequence[float], ask: Callable[[int, Question], Answer], barrier: bool = False) -> None:
    """Ask what decides c_max, c_loss, c_sharp and c_barrier, and little more.

    Divergence and the loss catapult are decided by the loss alone. The sharpness, whose measurement costs most, is
    asked last, starting a third of the way from c_loss to the first diverging c, where c_sharp lies in many networks.

    Args:
        grid: The c of the grid, increasing.
        ask: Answers a question at a grid index, by a training run if need be.
        barrier: Whether c_barrier is asked for.
    """
    last = len(grid) - 1
    diverging = find_first(lambda i: ask(i, Question.DIVERGENCE), 0, last, _index_of(grid, 12.0), DIVERGENCE_DOUBTS)
    end = last if diverging is None else diverging
    rising = find_first(lambda i: ask(i, Question.LOSS), 0, end, _index_of(grid, 3.0))
    start = end if rising is None else rising + round((end - rising) / 3)
    find_first(lambda i: ask(i, Question.SHARPNESS), 0, end, start)
    if barrier:
        find_first(lambda i: ask(i, Question.BARRIER), 0, end, start, doubts=())


def find_first(
    ask: Callable[[int], Answer], low: int, high: int, guess: int, doubts: Doubts = RISE_DOUBTS
) -> int | None:
    """Smallest index in [low, high] at which a nearly monotone condition holds.

    An edge is enclosed and bisected as if the condition were monotone. The low end is always looked at: a condition
    that holds there already would mislead the bisection. Then the gaps below the edge are halved wherever a run came
    close to the threshold (see `RISE_DOUBTS`): with cross-entropy the sharpness rises again late in the run, and the
    condition holds on islands of c.

    Args:
        ask: Answers at an index; each index is asked once.
        low: First index.
        high: Last index.
        guess: Where the edge is expected.
        doubts: Which answers cast doubt on which gaps.

    Returns:
        The index, or None if the condition holds at no index asked.
    """
    answers: dict[int, Answer] = {}

    def holds(index: int) -> bool:
        if index not in answers:
            answers[index] = ask(index)
        return answers[index].holds

    edge = _monotone_edge(holds, low, high, guess)
    while (doubtful := _doubtful_gap(answers, high if edge is None else edge, doubts)) is not None:
        if holds(doubtful):
            edge = doubtful
    return edge


def _monotone_edge(holds: Callable[[int], bool], low: int, high: int, guess: int) -> int | None:
    """The edge if the condition is monotone: growing strides from the guess until it is enclosed, then bisection."""
    if holds(low):
        return low
    if low == high:
        return None
    below, above = low, None
    at, stride = min(max(guess, low + 1), high), 2
    while above is None:
        if holds(at):
            above = at
        elif at == high:
            return None
        else:
            below, at, stride = at, min(at + stride, high), stride + (stride + 1) // 2
    stride = 2
    while above - below > 1:
        # Downwards, too, the edge is expected near the guess, as long as only the low end is known to fail.
        at = max(above - stride, below + 1) if below == low else (above + below) // 2
        stride += (stride + 1) // 2
        if holds(at):
            above = at
        else:
            below = at
    return above


def _doubtful_gap(answers: dict[int, Answer], edge: int, doubts: Doubts) -> int | None:
    """Middle of a gap at or below the edge that may hide the true edge; None if there is none.

    That is the gap just below an edge found on an island, or one of whose ends said no but came close.
    """
    asked = sorted(index for index in answers if index <= edge)
    for left, right in zip(asked, asked[1:], strict=False):
        closeness = max((answers[end].closeness for end in (left, right) if not answers[end].holds), default=0.0)
        doubtful = any(closeness > share and right - left > gap for share, gap in doubts)
        if doubtful or (answers[right].holds and right - left > 1):
            return (left + right) // 2
    return None


def _index_of(grid: Sequence[float], c: float) -> int:
    """Index of the first grid point at or above c, or the last one."""
    return next((i for i, value in enumerate(grid) if value >= c), len(grid) - 1)

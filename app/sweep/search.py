"""Which c to try: the whole grid, or the few points that decide the same constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.runs.trajectory import Trajectory


class Doubt(NamedTuple):
    """How a run that says no, but rose again towards its threshold, casts doubt on the gaps on both sides of it.

    Attributes:
        closeness: The run casts doubt if it came closer to yes than this; see `Criteria.closeness`.
        gap: If more grid steps than this lie between the run and its neighbour among the c asked, the search asks
            between the two, at most `gap` steps away from the run.
    """

    closeness: float
    gap: int


RISE_DOUBTS = (Doubt(0.7, 1), Doubt(0.5, 3), Doubt(0.3, 8))
"""For the loss and the sharpness: the higher a run rose again, the closer to it islands of c are looked for.

A run that rose again to over 0.7 of its threshold has both its neighbours on the grid asked; beside one of over 0.5 no
gap is left wider than 3 grid steps, beside one of over 0.3 none wider than 8. Compared to 0.85, 0.6 and 0.35 this costs
a quarter more with cross-entropy, nothing with MSE, and finds islands of one grid step that were missed. Of 120
constants 118 equal those of the whole grid (docs/performance.md, "What each change moved" and "Agreement").
"""

DIVERGENCE_DOUBTS = (Doubt(0.05, 1),)
"""For divergence, where closeness is the share of the way from L_0 to 1e5 on a logarithmic scale.

From L_0 = 1 on, 0.05 is a loss of 1.8: any loss that clearly rose again above L_0 has its neighbours asked, as a run
that just survives may lie between two that diverge. To ask less, by counting only losses that had fallen before, saved
15 of 36 runs at w = 1024, but gave 116 instead of 119 of 120 constants (docs/performance.md, "Tried and given up").
"""

USUAL_DIVERGING_C = 10.0
"""Where the search for divergence begins.

The median c_max of configs/quickstart.yaml is 10.6. The farther from it the edge lies, on either side, the more runs
the strides take to enclose it. The medians of other initialisations as the guess saved little (in the quickstart 211
runs instead of 223, but 723 products instead of 672; docs/performance.md).
"""

USUAL_C_LOSS = 3.0
"""Where the search for c_loss begins.

Between the c = 2 of a quadratic loss, which wide networks have, and the median of 4.6 in configs/quickstart.yaml;
chosen so. Where it is off, the strides take some runs more, as with `USUAL_DIVERGING_C`.
"""

USUAL_SHARE_OF_C_SHARP = 0.4
"""Where the search for c_sharp and c_barrier begins: this share of the grid steps from c_loss to the first diverging c.

Where c_sharp lies in many networks; chosen so after a third. A wrong guess costs measurements, not the edge.
"""


class _Manner(NamedTuple):
    """How the edge of one question is looked for: `EdgeSearch` with these doubts and this split."""

    doubts: tuple[Doubt, ...]
    split: float


_MANNERS = {
    Question.DIVERGENCE: _Manner(DIVERGENCE_DOUBTS, 0.6),
    Question.LOSS: _Manner(RISE_DOUBTS, 0.75),
    Question.SHARPNESS: _Manner(RISE_DOUBTS, 0.75),
    Question.BARRIER: _Manner((), 0.5),
}
"""For each question the doubts, and where an enclosing gap is divided.

The splits follow the costs of the answers. A run that says yes to loss or sharpness often ends after one step, and
costs a tenth of one that says no (docs/performance.md, "Yeses lead to the edge"): 0.75. A run that diverges ends early
too, but later: 0.6. A line to theta_T is measured at the end of a whole run, whatever it says: 0.5; and a line without
a barrier does not tell how near it came to one, so that it casts no doubt. The two splits above 0.5 were chosen so:
towards 1/2 there are more runs that say no, towards 1 more that say yes.
"""


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


class Oracle(Protocol):
    """Answers questions about the runs along a grid, as `Dialogue` does."""

    def known(self, index: int, question: Question) -> Answer | None:
        """The answer at a grid index, if it costs nothing; else None."""
        ...

    def ask(self, index: int, question: Question) -> Answer:
        """The answer at a grid index, by a training run if need be."""
        ...


class Unanswered(Exception):
    """The run for a question ended without an answer to it.

    Attributes:
        index: Its grid index.
        question: What was asked.
    """

    def __init__(self, index: int, question: Question) -> None:
        super().__init__(f"{question} at index {index}")
        self.index, self.question = index, question


class Dialogue:
    """Asks runs along a grid, and remembers them: one run may answer several questions.

    Args:
        run_at: Carries out, or finds, the run at a grid index for a question.
        criteria: What counts as rising.

    Attributes:
        runs: Grid index to the runs there so far.
    """

    def __init__(self, run_at: Callable[[int, Question], Trajectory], criteria: Criteria) -> None:
        self._run_at, self._criteria = run_at, criteria
        self.runs: dict[int, list[Trajectory]] = {}

    def known(self, index: int, question: Question) -> Answer | None:
        """The answer at a grid index that the runs so far give.

        Args:
            index: Where.
            question: What is asked.

        Returns:
            The answer of the first run there that has one; None if none has.
        """
        for run in self.runs.get(index, ()):
            if (holds := self._criteria.answer(question, run)) is not None:
                return Answer(holds, self._criteria.closeness(question, run), self._criteria.excess(question, run))
        return None

    def ask(self, index: int, question: Question) -> Answer:
        """The answer at a grid index, from a run so far or from a new one.

        Args:
            index: Where.
            question: What is asked.

        Returns:
            The answer.

        Raises:
            Unanswered: If the new run does not give it, either.
        """
        if (answer := self.known(index, question)) is not None:
            return answer
        self.runs.setdefault(index, []).append(self._run_at(index, question))
        if (answer := self.known(index, question)) is None:
            raise Unanswered(index, question)
        return answer


def exhaustive(count: int, diverges: Callable[[int], bool]) -> None:
    """Run every c of the grid from the lowest, up to the first that diverges.

    Args:
        count: Number of grid points.
        diverges: Runs one grid index and tells whether it diverged.
    """
    for index in range(count):
        if diverges(index):
            return


def adaptive(grid: Sequence[float], oracle: Oracle, barrier: bool = False) -> dict[Question, int | None]:
    """Ask what decides c_max, c_loss, c_sharp and c_barrier, and little more.

    The low end comes first: a sharpness that grows there grows from the first step to the last, so that two
    measurements tell. Then divergence, whose runs often tell where the loss rises. The sharpness, whose measurement
    costs most, is asked last.

    Args:
        grid: The c of the grid, increasing.
        oracle: Answers the questions.
        barrier: Whether c_barrier is asked for.

    Returns:
        The first index at which each condition holds, None where it holds at none that was asked.
    """
    low_end = oracle.ask(0, Question.ONSET)

    def known_of_sharpness(index: int) -> Answer | None:
        return oracle.known(index, Question.SHARPNESS) or (low_end if index == 0 else None)

    diverging = edge_of(Question.DIVERGENCE, grid, len(grid) - 1, oracle)
    end = len(grid) - 1 if diverging is None else diverging
    rising = edge_of(Question.LOSS, grid, end, oracle)
    start = end if rising is None else rising + round(USUAL_SHARE_OF_C_SHARP * (end - rising))
    sharpness = _search(Question.SHARPNESS, end, oracle, known_of_sharpness).first(start)
    edges = {Question.DIVERGENCE: diverging, Question.LOSS: rising, Question.SHARPNESS: sharpness}
    if barrier:
        edges[Question.BARRIER] = _search(Question.BARRIER, end, oracle).first(start)
    return edges


def edge_of(question: Question, grid: Sequence[float], high: int, oracle: Oracle) -> int | None:
    """Smallest index up to `high` at which training diverges or the loss rises; looked for from where that usually is.

    Args:
        question: `DIVERGENCE` or `LOSS`.
        grid: The c of the grid, increasing.
        high: Last index that may be asked.
        oracle: Answers the questions.

    Returns:
        The index; None if the condition holds at no index asked.
    """
    usual = USUAL_DIVERGING_C if question is Question.DIVERGENCE else USUAL_C_LOSS
    return _search(question, high, oracle).first(_index_of(grid, usual))


def _search(
    question: Question, high: int, oracle: Oracle, known: Callable[[int], Answer | None] | None = None
) -> EdgeSearch:
    """The search for the edge of a question; `known` instead of what the oracle knows."""
    doubts, split = _MANNERS[question]
    return EdgeSearch(
        lambda index: oracle.ask(index, question),
        high,
        doubts,
        known or (lambda index: oracle.known(index, question)),
        split,
    )


def _index_of(grid: Sequence[float], c: float) -> int:
    """Index of the first grid point at or above c, or the last one."""
    return next((i for i, value in enumerate(grid) if value >= c), len(grid) - 1)


class EdgeSearch:
    """The answers to one question along the indices 0 to `high`, and where to ask next for the first yes.

    As long as the condition is taken for monotone, its edge is enclosed by `below`, a no, and `above`, a yes.

    Args:
        ask: Answers at an index; each index is asked once.
        high: Last index.
        doubts: Which answers cast doubt on the gaps beside them.
        known: What is known beforehand, at no cost.
        split: Where an enclosing gap is divided, as a share of it. The dearer a no is than a yes, the more it pays to
            ask near the upper end.
    """

    def __init__(
        self,
        ask: Callable[[int], Answer],
        high: int,
        doubts: Sequence[Doubt] = RISE_DOUBTS,
        known: Callable[[int], Answer | None] = lambda index: None,
        split: float = 0.5,
    ) -> None:
        self._ask, self._high, self._doubts, self._split = ask, high, doubts, split
        self._answers = {index: answer for index in range(high + 1) if (answer := known(index)) is not None}

    @property
    def above(self) -> int:
        """The smallest index known to say yes; `high` + 1 if there is none."""
        return min((index for index, answer in self._answers.items() if answer.holds), default=self._high + 1)

    @property
    def below(self) -> int:
        """The largest index below `above` known to say no; -1 if there is none."""
        above = self.above
        return max((index for index, answer in self._answers.items() if index < above and not answer.holds), default=-1)

    def holds(self, index: int) -> bool:
        """Whether the condition holds at an index; asked if it is not known."""
        if index not in self._answers:
            self._answers[index] = self._ask(index)
        return self._answers[index].holds

    def first(self, guess: int) -> int | None:
        """Smallest index at which a nearly monotone condition holds.

        The low end is always looked at: a condition that holds there already would mislead the search. Then the edge is
        enclosed and narrowed down as if the condition were monotone. Last, the gaps below it are looked into wherever a
        run came close to the threshold (see `Doubt`): with cross-entropy the sharpness rises again late in the run,
        and the condition holds on islands of c.

        Args:
            guess: Where the edge is expected.

        Returns:
            The index; None if the condition holds at no index asked.
        """
        if not self.holds(0):
            if self._is_open() and self._foot_of_rise() is None:
                self._enclose_near(guess)
            self._narrow_down()
        while (doubtful := self._doubtful()) is not None:
            self.holds(doubtful)
        return self.above if self.above <= self._high else None

    def _is_open(self) -> bool:
        """Whether indices lie between `below` and `above`."""
        return self.above - self.below > 1

    def _between(self, index: int) -> int:
        """The nearest index between `below` and `above`."""
        return min(max(index, self.below + 1), self.above - 1)

    def _enclose_near(self, guess: int) -> None:
        """Bring `below` and `above` near the guess: downwards from a yes there, upwards from a no."""
        if self.holds(self._between(guess)):
            self._stride_down()
        else:
            self._stride_up()

    def _stride_down(self) -> None:
        """Ask below the lowest yes, by strides of 1, 1, 2, 2, 3, ... or along the rise, until one says no."""
        double = 2
        while self._is_open():
            foot = self._foot_of_rise()
            if not self.holds(self._between(self.above - double // 2 if foot is None else foot)):
                return
            double += 1

    def _stride_up(self) -> None:
        """Ask above the highest no, by strides of 2, 3, 5, 8, 12, 18, ... until one says yes."""
        stride = 2
        while self._is_open():
            if self.holds(self._between(self.below + stride)):
                return
            stride += (stride + 1) // 2

    def _narrow_down(self) -> None:
        """Ask between `below` and `above`, along the rise or where the gap is split, until they are neighbours."""
        while self._is_open():
            foot, split = self._foot_of_rise(), self.below + math.ceil(self._split * (self.above - self.below))
            self.holds(self._between(split if foot is None else foot))

    def _foot_of_rise(self) -> int | None:
        """Where the straight line through the lowest two yeses meets the threshold, at an excess of 1.

        What rises is convex in the index, so that the line meets the threshold at a yes, which is cheap, until the edge
        is reached.

        Returns:
            The index, below `above`; None if the two do not tell.
        """
        above = self.above
        following = min((i for i, answer in self._answers.items() if i > above and answer.holds), default=None)
        if following is None:
            return None
        excess, slope = self._answers[above].excess, self._answers[following].excess - self._answers[above].excess
        if not (excess > 1 and slope > 0):
            return None
        return min(above - 1, math.ceil(above - (excess - 1) * (following - above) / slope))

    def _doubtful(self) -> int | None:
        """Where to look for a yes below `above`.

        Returns:
            An index next to a run that said no but came close, or in the gap just below a yes that was found on an
            island; None if nothing casts doubt on `above`.
        """
        asked = sorted(index for index in self._answers if index <= self.above)
        for left, right in pairwise(asked):
            width, middle = right - left, (left + right) // 2
            for doubt in self._doubts:
                if width > doubt.gap and self._came_close(left, doubt):
                    return min(left + doubt.gap, middle)
                if width > doubt.gap and self._came_close(right, doubt):
                    return max(right - doubt.gap, middle)
            if width > 1 and self._answers[right].holds:
                return middle
        return None

    def _came_close(self, index: int, doubt: Doubt) -> bool:
        answer = self._answers[index]
        return not answer.holds and answer.closeness > doubt.closeness

"""The search for the first yes along a grid, among answers that are nearly monotone."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple


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

DIVERGENCE_DOUBTS = (Doubt(0.02, 1),)
"""For divergence, where closeness is the share of the way from L_0 to 1e5 on a logarithmic scale.

From L_0 = 1 on, 0.02 is a loss of 1.26: any loss that rose again well above L_0 has its neighbours asked, as a run
that survives may lie between two that diverge. With 0.05, a loss of 1.8, one c_max of 40 was nine grid steps too high:
deep narrow networks with cross-entropy diverge on single c, beside runs that rise to 1.4 and 1.7. To ask less, by
counting only losses that had fallen before, saved 15 of 36 runs at w = 1024, but gave 116 instead of 119 of 120
constants (docs/performance.md, "Tried and given up").
"""


MOST_FEET = 3
"""How often the parabola of a rise is followed to its foot, before the edge is looked for by strides and splits.

A rise that is one takes two: to the edge, and to the no beside it; another shape could be followed step by step. The
quickstart takes 204 runs and 663 products; with 2 it takes 208 and 738, with 4 209 and 663, without an end 203 and 663.
"""


class EdgeSearch:
    """The answers to one question along the indices 0 to `high`, and where to ask next for the first yes.

    As long as the condition is taken for monotone, its edge is enclosed by `below`, a no, and `above`, a yes.

    Args:
        ask: Answers at an index; each index is asked once.
        high: Last index.
        doubts: Which answers cast doubt on the gaps beside them, the closest first.
        known: What is known at no cost.
        split: Where an enclosing gap is divided, as a share of it. The dearer a no is than a yes, the more it pays to
            ask near the upper end.
        grid: The c of every index, increasing and positive; 2^(index / 10) by default.

    Attributes:
        high: Last index.
    """

    def __init__(
        self,
        ask: Callable[[int], Answer],
        high: int,
        doubts: Sequence[Doubt] = RISE_DOUBTS,
        known: Callable[[int], Answer | None] = lambda index: None,
        split: float = 0.5,
        grid: Sequence[float] | None = None,
    ) -> None:
        self._ask, self.high, self._doubts, self._split = ask, high, doubts, split
        self._feet = 0
        self._grid = [2 ** (index / 10) for index in range(high + 1)] if grid is None else grid
        self._known = known
        self._answers = dict[int, Answer]()
        self.learn()

    @property
    def above(self) -> int:
        """The smallest index known to say yes; `high` + 1 if there is none."""
        return min((index for index, answer in self._answers.items() if answer.holds), default=self.high + 1)

    @property
    def below(self) -> int:
        """The largest index below `above` known to say no; -1 if there is none."""
        return self._no_below(self.above)

    def learn(self) -> None:
        """Look again at what is known at no cost."""
        known = {index: answer for index in range(self.high + 1) if (answer := self._known(index)) is not None}
        self._answers |= known

    def holds(self, index: int) -> bool:
        """Whether the condition holds at an index; asked if it is not known."""
        if index not in self._answers:
            self._answers[index] = self._ask(index)
        return self._answers[index].holds

    @property
    def has_islands(self) -> bool:
        """Whether a larger index than the smallest yes says no."""
        return any(index > self.above and not answer.holds for index, answer in self._answers.items())

    @property
    def runs_to_enclose(self) -> int:
        """How many more indices it takes to enclose the edge by halves, at most."""
        return _halvings(self.above - self.below)

    @property
    def edge(self) -> int | None:
        """The smallest index known to say yes; None if there is none."""
        return self.above if self.above <= self.high else None

    def first(self, guess: int) -> int | None:
        """Smallest index at which a nearly monotone condition holds: enclosed, and without doubts left.

        Args:
            guess: Where it is expected.

        Returns:
            The index; None if the condition holds at no index asked.
        """
        self.enclose(guess)
        self.settle_doubts()
        return self.edge

    def enclose(self, guess: int) -> None:
        """Narrow the edge down to neighbours as if the condition were monotone.

        The low end is always looked at: a condition that holds there already would mislead the search.

        Args:
            guess: Where the edge is expected.
        """
        if not self.holds(0):
            if self._is_open() and self._foot_of_rise() is None:
                self._enclose_near(guess)
            self.narrow_down()

    def narrow_down(self) -> None:
        """Ask between `below` and `above`, along the rise or where the gap is split, until they are neighbours."""
        while self._is_open():
            foot, split = self._followed_foot(), self.below + math.ceil(self._split * (self.above - self.below))
            self.holds(self._between(split if foot is None or foot < self.below else foot))

    def halve(self) -> None:
        """Ask in the middle between `below` and `above` until they are neighbours: `runs_to_enclose` runs at most."""
        while self._is_open():
            self.holds((self.below + self.above) // 2)

    def climb(self, start: int, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Ask one index after the other, up to the first yes.

        Args:
            start: The first index to be asked.
            goes_on: Whether another run may be asked.
        """
        for index in range(start, self.high + 1):
            if not goes_on() or self.holds(index):
                return

    def settle_doubts(
        self, goes_on: Callable[[int], bool] = lambda runs: True, before: Callable[[int], None] = lambda index: None
    ) -> None:
        """Look into the gaps below the edge wherever a run came close to the threshold (see `Doubt`).

        With cross-entropy the sharpness rises again late in the run, and the condition holds on islands of c.

        Args:
            goes_on: Whether so many runs may be asked: one, and those that it may take to enclose the edge then.
            before: Called with an index before it is asked.
        """
        while True:
            affordable = (index for index in self._doubtful() if goes_on(1 + self._runs_then(index)))
            if (doubtful := next(affordable, None)) is None:
                return
            before(doubtful)
            self.holds(doubtful)

    def _runs_then(self, index: int) -> int:
        """How many more indices it takes at most to enclose the edge, once this one is asked and whatever it says."""
        return max(self.runs_to_enclose, _halvings(index - self._no_below(index)))

    def _no_below(self, index: int) -> int:
        """The largest index below this one known to say no; -1 if there is none."""
        return max((i for i, answer in self._answers.items() if i < index and not answer.holds), default=-1)

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
            foot = self._followed_foot()
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

    def _followed_foot(self) -> int | None:
        """Where the foot of the rise is, to be asked next; None where there is none, or it was followed too often."""
        self._feet += 1
        return self._foot_of_rise() if self._feet <= MOST_FEET else None

    def _foot_of_rise(self) -> int | None:
        """Where the parabola through the lowest two yeses falls to the threshold.

        To second order in the learning rate, loss and sharpness are 1 - a c + b c^2 of their initial value after a step
        (Taylor; c is the rate up to a factor), which is 1 again at c = a / b.

        Returns:
            The index, below `above`; None if the two do not tell.
        """
        above = self.above
        following = min((i for i, answer in self._answers.items() if i > above and answer.holds), default=None)
        if following is None:
            return None
        near, far = self._grid[above], self._grid[following]
        rise = (self._answers[above].excess - 1) / near
        curvature = ((self._answers[following].excess - 1) / far - rise) / (far - near)
        if not (rise > 0 and curvature > 0):
            return None
        return min(above - 1, bisect.bisect_left(self._grid, near - rise / curvature))

    def _doubtful(self) -> Iterator[int]:
        """Where to look for a yes below `above`, what is most in doubt first.

        Yields:
            The middle of a gap just below a yes that was found on an island; then indices next to runs that said no but
            came close, the closest kind of them first.
        """
        asked = sorted(index for index in self._answers if index <= self.above)
        gaps = [(left, right) for left, right in pairwise(asked) if right - left > 1]
        yield from ((left + right) // 2 for left, right in gaps if self._answers[right].holds)
        for doubt in self._doubts:
            for left, right in gaps:
                if right - left > doubt.gap and self._came_close(left, doubt):
                    yield min(left + doubt.gap, (left + right) // 2)
                elif right - left > doubt.gap and self._came_close(right, doubt):
                    yield max(right - doubt.gap, (left + right) // 2)

    def _came_close(self, index: int, doubt: Doubt) -> bool:
        answer = self._answers[index]
        return not answer.holds and answer.closeness > doubt.closeness


def _halvings(gap: int) -> int:
    """How many questions it takes at most to halve a gap until it is closed."""
    return math.ceil(math.log2(max(1, gap)))

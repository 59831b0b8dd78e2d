"""Which c to try: the whole grid, or the few points that decide the same constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sharpness_phases.runs.questions import Question
from sharpness_phases.sweep.dialogue import Oracle
from sharpness_phases.sweep.edge_search import DIVERGENCE_DOUBTS, RISE_DOUBTS, Answer, Doubt, EdgeSearch

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
    Question.BARRIER: _Manner(RISE_DOUBTS, 0.5),
}
"""For each question the doubts, and where an enclosing gap is divided.

The splits follow the costs of the answers. A run that says yes to loss or sharpness often ends after one step, and
costs a tenth of one that says no (docs/performance.md, "Yeses lead to the edge"): 0.75. A run that diverges ends early
too, but later: 0.6. The two were chosen so: towards 1/2 there are more runs that say no, towards 1 more that say yes. A
barrier is looked for one c after the other from c_loss on; the split of 0.5 is for what is left.
"""


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
    costs most, comes late. A line has a barrier, but for rare shapes, only where the loss has risen, and with
    cross-entropy on single c that nothing around tells of: every c from just below c_loss on is asked, up to the first
    with one, as long as enough runs are left to enclose it by halves; it begins when c_loss and c_sharp are beyond
    doubt. Doubts are settled as long as the whole grid would take more runs. Where the loss rises on an island of c,
    the sharpness often does near by, and is asked there.

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

    divergence = _search(Question.DIVERGENCE, grid, len(grid) - 1, oracle)
    divergence.enclose(_usual_index(Question.DIVERGENCE, grid))

    def foot_of_climb() -> int:
        return line.high if loss.edge is None else max(0, loss.edge - 1)

    def whole_grid_takes_more(runs: int = 1) -> bool:
        reserve = line.runs_to_enclose if barrier else 0
        return oracle.count + runs + reserve <= (len(grid) if divergence.edge is None else divergence.edge + 1)

    def ask_the_sharpness_too(index: int) -> None:
        if index < sharpness.above:
            sharpness.holds(index)

    known_runs = -1
    while known_runs != (known_runs := oracle.count):  # what runs told beside their question is known in the next pass
        divergence.learn()
        divergence.narrow_down()
        end = len(grid) - 1 if divergence.edge is None else divergence.edge
        loss, line = (_search(question, grid, end, oracle) for question in (Question.LOSS, Question.BARRIER))
        loss.enclose(_usual_index(Question.LOSS, grid))
        divergence.learn()
        if divergence.above < end:  # nothing beyond it counts
            continue
        sharpness = _search(Question.SHARPNESS, grid, end, oracle, known_of_sharpness)
        above = end if loss.edge is None else loss.edge
        sharpness.enclose(above + round(USUAL_SHARE_OF_C_SHARP * (end - above)))
        divergence.settle_doubts(whole_grid_takes_more)
        if divergence.above < end:
            continue
        loss.settle_doubts(whole_grid_takes_more, ask_the_sharpness_too)
        loss.halve()
        if loss.has_islands and loss.above < sharpness.above and whole_grid_takes_more():
            sharpness.holds(loss.above)
        sharpness.settle_doubts(whole_grid_takes_more)
        sharpness.halve()
    edges = {Question.DIVERGENCE: divergence.edge, Question.LOSS: loss.edge, Question.SHARPNESS: sharpness.edge}
    if barrier:
        line.climb(foot_of_climb(), whole_grid_takes_more)
        line.halve()
        line.settle_doubts(whole_grid_takes_more)
        edges[Question.BARRIER] = line.edge
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
    return _search(question, grid, high, oracle).first(_usual_index(question, grid))


def _search(
    question: Question,
    grid: Sequence[float],
    high: int,
    oracle: Oracle,
    known: Callable[[int], Answer | None] | None = None,
) -> EdgeSearch:
    """The search for the edge of a question; `known` instead of what the oracle knows."""
    doubts, split = _MANNERS[question]
    return EdgeSearch(
        lambda index: oracle.ask(index, question),
        high,
        doubts,
        known or (lambda index: oracle.known(index, question)),
        split,
        grid,
    )


def _usual_index(question: Question, grid: Sequence[float]) -> int:
    """Index at or above which training usually diverges or the loss rises; the last one, if the grid ends before."""
    usual = USUAL_DIVERGING_C if question is Question.DIVERGENCE else USUAL_C_LOSS
    return next((index for index, c in enumerate(grid) if c >= usual), len(grid) - 1)

import math

import pytest

from sharpness_phases.analysis.advice import Facts
from sharpness_phases.analysis.verdict import judge, leaves_at

FACTS = Facts(edge_rate=0.1, sharpness=20.0, edge_words="2/η", eta_c=(0.3,))
SLOW = [1.0, 1.0, 1.0, 1.0]
CURVES = {
    0.001: SLOW,
    0.05: [1.0, 0.8, 0.6, 0.5],
    0.2: [1.0, 1.6, 0.9, 0.4],
    0.4: [1.0, 3.0, 30.0, math.inf],
}


def test_a_run_leaves_where_it_is_a_tenth_above_a_slow_one_or_not_finite():
    assert leaves_at([1.0, 1.05, 1.2], SLOW) == 2
    assert leaves_at([1.0, 0.5, math.nan], SLOW) == 2
    assert leaves_at([1.0, 0.5, 0.4], SLOW) is None
    assert leaves_at([-1.0, -0.95, -0.8], [-1.0, -1.0, -1.0]) == 2


@pytest.mark.parametrize(
    ("rate", "cause", "exceeded", "step"),
    [
        (0.05, "none found", (), None),
        (0.2, "none found", ("stability edge",), 1),  # a catapult that is survived
        (0.4, "the rate", ("stability edge", "one safe step", "ceiling"), 1),
        (0.3, "the rate", ("stability edge", "ceiling"), 1),  # as the next larger one
        (9.0, "the rate", ("stability edge", "one safe step", "ceiling"), 1),  # beyond all that was run
    ],
)
def test_it_is_the_rate_where_a_run_like_it_does_not_come_back(rate, cause, exceeded, step):
    found = judge(rate, CURVES, FACTS, ceiling=0.25)
    assert (found.cause, found.exceeded, found.leaves_at) == (cause, exceeded, step)


def test_every_limit_that_is_exceeded_is_told_with_its_factor():
    said = str(judge(0.4, CURVES, FACTS, ceiling=0.25))
    for words in (
        "It is the learning rate",
        "4 times the stability edge 2/η",
        "1.33 times what one step",
        "1.6 times 0.25",
        "step 1",
    ):
        assert words in said


def test_a_catapult_that_is_survived_asks_for_a_warm_up():
    assert "warm-up" in str(judge(0.2, CURVES, FACTS))


def test_where_it_is_not_the_rate_the_run_is_told():
    said = str(judge(0.05, CURVES, FACTS))
    assert "not the learning rate" in said
    assert "from a loss of 1 to 0.5 in 4 steps" in said


def test_limits_that_are_not_known_are_not_exceeded():
    found = judge(0.05, CURVES, Facts(math.nan, math.nan, "of an own optimizer", ()))
    assert found.exceeded == ()

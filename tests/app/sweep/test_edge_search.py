import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpness_phases.sweep.edge_search import DIVERGENCE_DOUBTS, Answer, EdgeSearch


class Condition:
    """A condition on grid indices that remembers what was asked."""

    def __init__(self, holds, closeness=lambda i: 0.0):
        self.holds, self.closeness, self.asked = holds, closeness, []

    def __call__(self, index):
        self.asked.append(index)
        return Answer(self.holds(index), self.closeness(index))


@given(st.integers(1, 100), st.integers(0, 101), st.integers(-5, 120))
def test_a_monotone_edge_is_found_from_any_guess_with_few_questions(size, edge, guess):
    condition = Condition(lambda i: i >= edge)
    found = EdgeSearch(condition, size - 1).first(guess)
    assert found == (edge if edge < size else None)
    assert len(set(condition.asked)) == len(condition.asked)
    assert len(condition.asked) <= 26


def test_a_good_guess_needs_few_questions():
    condition = Condition(lambda i: i >= 40)
    EdgeSearch(condition, 99).first(40)
    assert len(condition.asked) <= 4


def test_the_low_end_is_always_looked_at():
    condition = Condition(lambda i: i <= 3 or i >= 50)
    assert EdgeSearch(condition, 99).first(50) == 0


@given(st.integers(1, 40), st.integers(1, 8))
def test_an_island_between_close_runs_is_found_to_its_first_point(start, length):
    def holds(i):
        return start <= i < start + length or i >= 60

    def closeness(i):  # falls off slowly on both sides of the island, as late rises of the sharpness do
        distance = max(start - i, i - (start + length) + 1, 0)
        return max(0.0, 1.0 - 0.012 * distance)

    assert EdgeSearch(Condition(holds, closeness), 99).first(58) == start


def test_runs_that_stay_far_from_the_threshold_cause_no_further_questions():
    near = Condition(lambda i: i >= 60, lambda i: 0.9)
    far = Condition(lambda i: i >= 60, lambda i: 0.1)
    for condition in (near, far):
        assert EdgeSearch(condition, 99).first(58) == 60
    assert len(far.asked) < 8 < len(near.asked)


@given(st.floats(0.1, 1.0), st.floats(0.2, 5.5), st.integers(-5, 70))
def test_what_falls_and_rises_with_the_rate_as_a_parabola_leads_to_its_edge_by_one_no(slope, log_edge, guess):
    grid, asked = [2 ** (x / 10) for x in range(61)], []

    def ask(index):
        asked.append(index)
        value = 1 + slope * grid[index] * (grid[index] / 2**log_edge - 1)
        return Answer(value > 1, 0.0, value if value > 1 else float("nan"))

    known = {0: Answer(False, 0.0), 59: ask(59), 60: ask(60)}
    edge = next(index for index, c in enumerate(grid) if c > 2**log_edge)
    assert EdgeSearch(ask, 60, known=known.get, grid=grid).first(guess) == edge
    assert sum(index < edge for index in asked) == 1
    assert len(asked) <= 7


@given(st.integers(2, 90), st.integers(-5, 105), st.floats(0.01, 0.2), st.floats(0.0, 0.02))
def test_any_other_smooth_rise_costs_questions_but_not_the_edge(edge, guess, slope, curvature):
    asked = []

    def ask(index):
        asked.append(index)
        beyond = index - edge + 0.5
        return Answer(beyond > 0, 0.0, 1 + slope * beyond + curvature * beyond**2 if beyond > 0 else float("nan"))

    known = {0: Answer(False, 0.0), 98: ask(98), 99: ask(99)}
    assert EdgeSearch(ask, 99, known=known.get).first(guess) == edge
    assert len(asked) <= 26


def test_a_rise_that_leads_astray_costs_questions_but_not_the_edge():
    rises = {99: 3.0, 98: 2.9, 97: 1.0, 60: 9.0, 59: float("inf"), 58: float("nan")}

    def ask(index):
        return Answer(index >= 40, 0.0, rises.get(index, 1.1))

    known = {0: Answer(False, 0.0), 98: ask(98), 99: ask(99)}
    assert EdgeSearch(ask, 99, known=known.get).first(10) == 40


def test_what_earlier_runs_tell_is_not_asked_again():
    condition = Condition(lambda i: i >= 40)
    known = {0: False, 30: False, 39: False, 44: True}
    search = EdgeSearch(condition, 99, known=lambda i: Answer(known[i], 0.0) if i in known else None)
    assert search.first(10) == 40
    assert set(condition.asked) <= {40, 41, 42, 43}


def test_a_run_that_just_survives_between_diverging_ones_is_not_taken_for_the_edge():
    def diverges(i):
        return i >= 28 and i != 29

    survivor = Condition(diverges, lambda i: 0.1 if i in (26, 27, 29) else 0.0)
    assert EdgeSearch(survivor, 70, DIVERGENCE_DOUBTS, split=0.6).first(36) == 28


@pytest.mark.parametrize(("runs", "first"), [(7, 39), (3, 2)])
def test_the_strongest_doubt_is_looked_into_first_whose_gap_could_still_be_closed_after_a_yes(runs, first):
    asked = []

    def ask(index):
        asked.append(index)
        return Answer(False, 0.0)

    known = {0: Answer(False, 0.0), 5: Answer(False, 0.6), 40: Answer(False, 0.9), 41: Answer(True, 0.0)}
    EdgeSearch(ask, 99, known=known.get).settle_doubts(goes_on=lambda wanted: len(asked) + wanted <= runs)
    assert asked[0] == first


def test_a_gap_is_halved_in_the_runs_that_were_kept_back():
    def ask(index):
        asked.append(index)
        return Answer(index >= 23, 0.0, 1.5)

    asked = []
    search = EdgeSearch(ask, 60, known={0: Answer(False, 0.0), 30: Answer(True, 0.0, 9.0)}.get)
    most = search.runs_to_enclose
    search.halve()
    assert search.edge == 23
    assert len(asked) <= most == 5

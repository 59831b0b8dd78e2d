from hypothesis import given
from hypothesis import strategies as st

from sharpness_phases.runs.questions import Question
from sharpness_phases.sweep.search import DIVERGENCE_DOUBTS, Answer, adaptive, exhaustive, find_first


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
    found = find_first(condition, 0, size - 1, guess)
    assert found == (edge if edge < size else None)
    assert len(set(condition.asked)) == len(condition.asked)
    assert len(condition.asked) <= 26


def test_a_good_guess_needs_few_questions():
    condition = Condition(lambda i: i >= 40)
    find_first(condition, 0, 99, 40)
    assert len(condition.asked) <= 4


def test_the_low_end_is_always_looked_at():
    condition = Condition(lambda i: i <= 3 or i >= 50)
    assert find_first(condition, 0, 99, 50) == 0


@given(st.integers(1, 40), st.integers(1, 8))
def test_an_island_between_close_runs_is_found_to_its_first_point(start, length):
    def holds(i):
        return start <= i < start + length or i >= 60

    def closeness(i):  # falls off slowly on both sides of the island, as late rises of the sharpness do
        distance = max(start - i, i - (start + length) + 1, 0)
        return max(0.0, 1.0 - 0.012 * distance)

    assert find_first(Condition(holds, closeness), 0, 99, 58) == start


def test_runs_that_stay_far_from_the_threshold_cause_no_further_questions():
    near = Condition(lambda i: i >= 60, lambda i: 0.9)
    far = Condition(lambda i: i >= 60, lambda i: 0.1)
    for condition in (near, far):
        assert find_first(condition, 0, 99, 58) == 60
    assert len(far.asked) < 8 < len(near.asked)


def test_exhaustive_runs_the_grid_up_to_the_first_divergence():
    asked = []

    def diverges(index):
        asked.append(index)
        return index == 5

    exhaustive(10, diverges)
    assert asked == list(range(6))


def test_adaptive_measures_the_sharpness_only_below_divergence():
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]
    edges = {Question.DIVERGENCE: 43, Question.LOSS: 24, Question.SHARPNESS: 30, Question.ONSET: 30}
    asked = {question: [] for question in Question}

    def ask(index, question):
        asked[question].append(index)
        return Answer(index >= edges[question], 0.0)

    adaptive(grid, ask)
    assert max(asked[Question.SHARPNESS]) <= 43
    for question in (Question.DIVERGENCE, Question.LOSS, Question.SHARPNESS):
        assert {edges[question] - 1, edges[question]} <= set(asked[question])
    assert asked[Question.ONSET] == [0]
    assert sum(len(indices) for indices in asked.values()) <= 20


@given(st.integers(2, 90), st.integers(-5, 105), st.floats(0.01, 0.2), st.floats(0.0, 0.02))
def test_a_smooth_rise_leads_to_its_edge_by_one_no(edge, guess, slope, curvature):
    asked = []

    def ask(index):
        asked.append(index)
        beyond = index - edge + 0.5
        return Answer(beyond > 0, 0.0, 1 + slope * beyond + curvature * beyond**2 if beyond > 0 else float("nan"))

    known = {0: Answer(False, 0.0), 98: ask(98), 99: ask(99)}
    assert find_first(ask, 0, 99, guess, known=known.get) == edge
    assert sum(index < edge for index in asked) == 1
    assert len(asked) <= 14


def test_a_rise_that_leads_astray_costs_questions_but_not_the_edge():
    rises = {99: 3.0, 98: 2.9, 97: 1.0, 60: 9.0, 59: float("inf"), 58: float("nan")}

    def ask(index):
        return Answer(index >= 40, 0.0, rises.get(index, 1.1))

    known = {0: Answer(False, 0.0), 98: ask(98), 99: ask(99)}
    assert find_first(ask, 0, 99, 10, known=known.get) == 40


def test_what_earlier_runs_tell_is_not_asked_again():
    condition = Condition(lambda i: i >= 40)
    known = {0: False, 30: False, 39: False, 44: True}
    found = find_first(condition, 0, 99, 10, known=lambda i: Answer(known[i], 0.0) if i in known else None)
    assert found == 40
    assert set(condition.asked) <= {40, 41, 42, 43}


def test_the_constants_of_a_plain_network_take_few_questions():
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]
    edges = {Question.DIVERGENCE: 45, Question.LOSS: 27, Question.SHARPNESS: 34, Question.ONSET: 34}
    asked = []

    def ask(index, question):
        asked.append((index, question))
        return Answer(index >= edges[question], 0.0)

    found = adaptive(grid, ask)
    assert [found[q] for q in (Question.DIVERGENCE, Question.LOSS, Question.SHARPNESS)] == [45, 27, 34]
    assert len(asked) <= 16


def test_a_sharpness_that_grows_at_the_low_end_is_found_there_by_two_measurements():
    def ask(index, question):
        return Answer(question is Question.ONSET or index >= 40, 0.0)

    assert adaptive([2 ** (-1 + 0.1 * i) for i in range(71)], ask)[Question.SHARPNESS] == 0


def test_a_run_that_just_survives_between_diverging_ones_is_not_taken_for_the_edge():
    def diverges(i):
        return i >= 28 and i != 29

    survivor = Condition(diverges, lambda i: 0.1 if i in (26, 27, 29) else 0.0)
    assert find_first(survivor, 0, 70, 36, DIVERGENCE_DOUBTS, split=0.6) == 28

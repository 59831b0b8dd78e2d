import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import T, run

from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.sweep.search import (
    DIVERGENCE_DOUBTS,
    Answer,
    Dialogue,
    EdgeSearch,
    Unanswered,
    adaptive,
    exhaustive,
)


class Condition:
    """A condition on grid indices that remembers what was asked."""

    def __init__(self, holds, closeness=lambda i: 0.0):
        self.holds, self.closeness, self.asked = holds, closeness, []

    def __call__(self, index):
        self.asked.append(index)
        return Answer(self.holds(index), self.closeness(index))


class Asked:
    """An oracle that knows nothing beforehand and remembers what was asked."""

    def __init__(self, holds):
        self.holds, self.asked = holds, []

    def known(self, index, question):
        return None

    def ask(self, index, question):
        self.asked.append((index, question))
        return Answer(self.holds(index, question), 0.0)

    def indices(self, question):
        return [index for index, asked in self.asked if asked is question]


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
    oracle = Asked(lambda index, question: index >= edges[question])
    adaptive(grid, oracle)
    assert max(oracle.indices(Question.SHARPNESS)) <= 43
    for question in (Question.DIVERGENCE, Question.LOSS, Question.SHARPNESS):
        assert {edges[question] - 1, edges[question]} <= set(oracle.indices(question))
    assert oracle.indices(Question.ONSET) == [0]
    assert len(oracle.asked) <= 20


@given(st.integers(2, 90), st.integers(-5, 105), st.floats(0.01, 0.2), st.floats(0.0, 0.02))
def test_a_smooth_rise_leads_to_its_edge_by_one_no(edge, guess, slope, curvature):
    asked = []

    def ask(index):
        asked.append(index)
        beyond = index - edge + 0.5
        return Answer(beyond > 0, 0.0, 1 + slope * beyond + curvature * beyond**2 if beyond > 0 else float("nan"))

    known = {0: Answer(False, 0.0), 98: ask(98), 99: ask(99)}
    assert EdgeSearch(ask, 99, known=known.get).first(guess) == edge
    assert sum(index < edge for index in asked) == 1
    assert len(asked) <= 14


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


def test_the_constants_of_a_plain_network_take_few_questions():
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]
    edges = {Question.DIVERGENCE: 45, Question.LOSS: 27, Question.SHARPNESS: 34, Question.ONSET: 34}
    oracle = Asked(lambda index, question: index >= edges[question])
    found = adaptive(grid, oracle)
    assert [found[q] for q in (Question.DIVERGENCE, Question.LOSS, Question.SHARPNESS)] == [45, 27, 34]
    assert len(oracle.asked) <= 16


def test_a_sharpness_that_grows_at_the_low_end_is_found_there_by_two_measurements():
    oracle = Asked(lambda index, question: question is Question.ONSET or index >= 40)
    assert adaptive([2 ** (-1 + 0.1 * i) for i in range(71)], oracle)[Question.SHARPNESS] == 0
    assert 0 not in oracle.indices(Question.SHARPNESS)


def test_a_run_that_just_survives_between_diverging_ones_is_not_taken_for_the_edge():
    def diverges(i):
        return i >= 28 and i != 29

    survivor = Condition(diverges, lambda i: 0.1 if i in (26, 27, 29) else 0.0)
    assert EdgeSearch(survivor, 70, DIVERGENCE_DOUBTS, split=0.6).first(36) == 28


def test_a_dialogue_asks_for_a_run_only_where_no_earlier_one_answers():
    carried_out = []

    def run_at(index, question):
        carried_out.append((index, question))
        return run(loss_rises=True)

    dialogue = Dialogue(run_at, Criteria(T))
    assert dialogue.known(3, Question.LOSS) is None
    first = dialogue.ask(3, Question.LOSS)
    assert first.holds
    assert first.excess == 1.5
    assert dialogue.ask(3, Question.LOSS) == dialogue.known(3, Question.LOSS) == first
    assert not dialogue.ask(3, Question.DIVERGENCE).holds
    assert carried_out == [(3, Question.LOSS)]
    assert [*dialogue.runs] == [3]


def test_a_run_that_does_not_answer_its_own_question_is_told():
    dialogue = Dialogue(lambda index, question: run(), Criteria(T, barrier=True))  # whose line was not measured
    with pytest.raises(Unanswered, match="barrier at index 2") as told:
        dialogue.ask(2, Question.BARRIER)
    assert (told.value.index, told.value.question) == (2, Question.BARRIER)

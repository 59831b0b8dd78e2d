import pytest

from sharpness_phases.runs.questions import Question
from sharpness_phases.sweep.edge_search import Answer
from sharpness_phases.sweep.search import adaptive, exhaustive


class Asked:
    """An oracle that knows nothing beforehand; a run that looked at the line tells of loss and divergence, too."""

    def __init__(self, holds, closeness=0.0):
        self.holds, self.closeness, self.asked = holds, closeness, []

    @property
    def count(self):
        return len(self.asked)

    def known(self, index, question):
        told = question in (Question.DIVERGENCE, Question.LOSS) and (index, Question.BARRIER) in self.asked
        told = told or (index, question) in self.asked
        return self.answer(index, question) if told else None

    def ask(self, index, question):
        if (answer := self.known(index, question)) is not None:
            return answer
        self.asked.append((index, question))
        return self.answer(index, question)

    def answer(self, index, question):
        return Answer(self.holds(index, question), self.closeness)

    def indices(self, question):
        return [index for index, asked in self.asked if asked is question]


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


@pytest.mark.parametrize("end", [43, 70])
def test_runs_that_all_come_close_take_no_more_runs_than_the_whole_grid(end):
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]
    edges = {Question.DIVERGENCE: end, Question.LOSS: 15, Question.SHARPNESS: 18, Question.BARRIER: 19}
    oracle = Asked(lambda index, question: index >= edges.get(question, 18), closeness=0.9)
    found = adaptive(grid, oracle, barrier=True)
    assert found == edges
    assert len(oracle.asked) <= end + 1


@pytest.mark.parametrize("barrier", [20, 31, 42, 43])
@pytest.mark.parametrize("loss", [1, 10, 19])
def test_a_barrier_far_above_c_loss_is_found_with_no_more_runs_than_the_whole_grid_takes(barrier, loss):
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]
    edges = {Question.DIVERGENCE: 43, Question.LOSS: loss, Question.SHARPNESS: 18, Question.BARRIER: barrier}
    oracle = Asked(lambda index, question: index >= edges.get(question, 18))
    assert adaptive(grid, oracle, barrier=True) == edges
    assert len(oracle.asked) <= 44


def test_a_barrier_at_a_single_c_is_found():
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]
    edges = {Question.DIVERGENCE: 43, Question.LOSS: 24, Question.SHARPNESS: 30, Question.ONSET: 30}

    def holds(index, question):
        return index in (29, 43) if question is Question.BARRIER else index >= edges[question]

    assert adaptive(grid, Asked(holds), barrier=True)[Question.BARRIER] == 29


def test_a_barrier_on_the_island_where_the_loss_first_rises_is_found():
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]
    edges = {Question.DIVERGENCE: 55, Question.SHARPNESS: 20, Question.ONSET: 20}

    def holds(index, question):
        if question in (Question.LOSS, Question.BARRIER):
            return index == 38 or index >= 44
        return index >= edges[question]

    class NearTheIsland(Asked):
        def answer(self, index, question):
            return super().answer(index, question)._replace(closeness=0.75 if 37 <= index < 44 else 0.0)

    found = adaptive(grid, NearTheIsland(holds), barrier=True)
    assert (found[Question.LOSS], found[Question.BARRIER]) == (38, 38)


def test_the_sharpness_is_asked_on_the_island_where_the_loss_first_rises():
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]

    def holds(index, question):
        rises = index == 38 or index >= 66
        return {Question.ONSET: False, Question.DIVERGENCE: index >= 68}.get(question, rises)

    class NearTheIsland(Asked):
        def answer(self, index, question):
            near = question is Question.LOSS and 37 <= index < 66
            return super().answer(index, question)._replace(closeness=0.75 if near else 0.0)

    found = adaptive(grid, NearTheIsland(holds))
    assert (found[Question.LOSS], found[Question.SHARPNESS], found[Question.DIVERGENCE]) == (38, 38, 68)


def test_what_runs_for_the_loss_tell_of_divergence_is_heeded_before_the_sharpness_is_asked():
    grid = [2 ** (-1 + 0.1 * i) for i in range(71)]

    def holds(index, question):
        diverges = 31 <= index <= 34 or index >= 46
        rises = diverges if question is Question.LOSS else index >= 12
        return diverges if question is Question.DIVERGENCE else rises

    class TellingOfDivergence(Asked):
        def known(self, index, question):
            if question is Question.DIVERGENCE and (index, Question.LOSS) in self.asked:
                return self.answer(index, question)
            return super().known(index, question)

    oracle = TellingOfDivergence(holds)
    found = adaptive(grid, oracle)
    assert (found[Question.DIVERGENCE], found[Question.LOSS], found[Question.SHARPNESS]) == (31, 31, 12)
    assert max(oracle.indices(Question.SHARPNESS)) <= 31

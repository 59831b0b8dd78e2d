import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import T, run, trajectory

from sharpness_phases.analysis.critical import critical_constants, undecided
from sharpness_phases.runs.questions import Criteria, Question

CRITERIA = Criteria(steps=T)
GRID = [2.0 ** (0.1 * i) for i in range(8)]


def whole_grid(c_loss, c_sharp, first_divergence):
    """Runs up to divergence whose conditions hold from the given grid indices on."""
    last = len(GRID) if first_divergence is None else first_divergence + 1
    return {i: [run(i >= c_loss, i >= c_sharp, i == first_divergence)] for i in range(last)}


def found(runs):
    constants = critical_constants(GRID, runs, CRITERIA)
    return {name: constant.censored or constant.value for name, constant in constants.items()}


def test_the_constants_are_those_of_the_definitions():
    assert found(whole_grid(2, 4, 6)) == {"c_loss": GRID[2], "c_sharp": GRID[4], "c_max": GRID[5]}


def test_c_max_is_the_last_c_that_does_not_diverge():
    assert found(whole_grid(2, 4, 1))["c_max"] == GRID[0]


def test_a_condition_that_holds_at_the_first_c_is_censored_low():
    assert found(whole_grid(0, 0, 6)) == {"c_loss": "low", "c_sharp": "low", "c_max": GRID[5]}
    assert found(whole_grid(0, 0, 0))["c_max"] == "low"


def test_a_condition_that_holds_nowhere_is_censored_high():
    assert found(whole_grid(99, 99, None)) == {"c_loss": "high", "c_sharp": "high", "c_max": "high"}


def test_the_first_diverging_c_counts_as_a_rise_of_the_loss_but_not_of_the_sharpness():
    constants = found(whole_grid(99, 99, 5))
    assert constants == {"c_loss": GRID[5], "c_sharp": "high", "c_max": GRID[4]}


def test_the_smallest_c_counts_where_the_condition_is_not_monotone():
    runs = whole_grid(5, 6, 7)
    runs[2] = [run(loss_rises=True, sharpness_rises=True)]
    assert found(runs) == {"c_loss": GRID[2], "c_sharp": GRID[2], "c_max": GRID[6]}


def test_an_island_of_divergence_ends_the_grid():
    runs = whole_grid(2, 4, None)
    runs[3] = [run(diverged=True)]
    assert found(runs) == {"c_loss": GRID[2], "c_sharp": "high", "c_max": GRID[2]}


def test_equal_to_the_initial_value_is_not_a_rise():
    assert CRITERIA.answer(Question.LOSS, trajectory(1.0)) is False
    assert CRITERIA.answer(Question.SHARPNESS, trajectory(1.0, 1.0)) is False


@pytest.mark.parametrize("question", [Question.LOSS, Question.SHARPNESS])
def test_a_tolerance_asks_for_a_larger_rise(question):
    risen = run(loss_rises=True, sharpness_rises=True)  # to 1.5
    for tolerance, expected in ((0.4, True), (0.6, False)):
        criteria = Criteria(T, loss_tolerance=tolerance, sharpness_tolerance=tolerance)
        assert criteria.answer(question, risen) is expected


def test_only_the_first_steps_of_a_long_run_count():
    late = np.full(30, 0.5)
    late[0], late[T + 1] = 1.0, 9.0
    for question in (Question.LOSS, Question.SHARPNESS):
        assert CRITERIA.answer(question, trajectory(late, late)) is False


def test_a_run_that_diverges_after_the_transient_does_not_diverge_in_it():
    loss = np.append(np.full(T + 3, 0.5), 1e9)
    loss[0] = 1.0
    assert CRITERIA.answer(Question.DIVERGENCE, trajectory(loss, diverged=True)) is False


def test_a_run_that_ended_early_answers_only_what_it_saw():
    early = trajectory([1.0, 2.0], [1.0, np.nan])
    assert CRITERIA.answer(Question.LOSS, early) is True
    assert CRITERIA.answer(Question.SHARPNESS, early) is None
    assert CRITERIA.answer(Question.DIVERGENCE, early) is None
    assert CRITERIA.answer(Question.LOSS, trajectory([1.0, 0.5])) is None


def test_a_sharpness_that_was_not_measured_is_no_answer():
    unmeasured = np.full(T + 1, np.nan)
    unmeasured[0] = 1.0
    assert CRITERIA.answer(Question.SHARPNESS, trajectory(0.5, unmeasured)) is None


def test_an_interrupted_search_leaves_constants_unknown():
    constants = critical_constants(GRID, {0: [run()], 5: [run(loss_rises=True)]}, CRITERIA)
    assert not any(constant.known for constant in constants.values())


def test_a_search_needs_only_the_two_sides_of_an_edge():
    runs = {0: [run()], 3: [run()], 4: [run(True, True)], 6: [run()], 7: [run(diverged=True)]}
    runs = {i: r for i, r in runs.items() if i != 0}
    assert found(runs) == {"c_loss": GRID[4], "c_sharp": GRID[4], "c_max": GRID[6]}


def test_runs_of_different_questions_at_one_c_are_taken_together():
    rising, falling = trajectory([1.0, 2.0], [1.0, np.nan]), run()
    runs = {2: [falling], 3: [rising, run(sharpness_rises=True)], 7: [run(diverged=True)], 6: [run()]}
    assert found(runs) == {"c_loss": GRID[3], "c_sharp": GRID[3], "c_max": GRID[6]}


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 8))
def test_monotone_grids_give_back_their_edges(c_loss, c_sharp, divergence):
    divergence = None if divergence == 8 else divergence
    constants = critical_constants(GRID, whole_grid(c_loss, c_sharp, divergence), CRITERIA)
    seen = len(GRID) if divergence is None else divergence + 1
    edge = min(c_loss, seen if divergence is None else divergence)
    c = constants["c_loss"]
    assert c.known
    assert c.censored == ("low" if edge == 0 else "high" if edge >= seen else "")
    if not c.censored:
        assert c.value == GRID[edge]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0] + [0.5] * 10, 0.0),
        (np.linspace(1.0, 0.5, 11), 0.0),
        ([1.0, 0.4, 0.5, 0.6, 0.9] + [0.3] * 6, 0.9),
        ([1.0, 0.9, 0.905] + [0.4] * 8, 0.0),
    ],
    ids=["constant", "falling", "rising again", "wobbling by less than its error"],
)
def test_closeness_counts_only_values_clearly_above_the_lowest_one_before(values, expected):
    for question in (Question.LOSS, Question.SHARPNESS):
        assert CRITERIA.closeness(question, trajectory(values, values)) == pytest.approx(expected)


def test_with_a_preconditioner_the_sharpness_of_the_first_step_comes_close_without_having_fallen_before():
    run = trajectory([1.0, 0.9] + [0.8] * 9, [1.0, 0.9] + [0.2] * 9)
    assert CRITERIA.closeness(Question.SHARPNESS, run) == 0.0
    adam = Criteria(steps=T, preconditioned=True)
    assert adam.closeness(Question.SHARPNESS, run) == pytest.approx(0.9)
    assert adam.closeness(Question.LOSS, run) == 0.0


def test_a_sharpness_above_the_initial_one_and_below_its_threshold_comes_close_in_the_first_step_too():
    tolerant = Criteria(steps=T, sharpness_tolerance=0.05)
    run = trajectory([1.0, 0.5] + [0.4] * 9, [1.0, 1.04] + [0.2] * 9)
    assert tolerant.closeness(Question.SHARPNESS, run) == pytest.approx(1.04 / 1.05)


@pytest.mark.parametrize(("residual", "expected"), [(0.01, 0.45), (0.23, 0.0)], ids=["well known", "estimated"])
def test_a_sharpness_rises_again_only_by_more_than_a_quarter_of_its_residual(residual, expected):
    estimated = trajectory(0.5, [1.0, 0.4, 0.45] + [0.3] * 8)
    estimated = dataclasses.replace(estimated, residual=np.full(11, residual))
    assert CRITERIA.closeness(Question.SHARPNESS, estimated) == pytest.approx(expected)


def test_the_excess_is_the_first_value_above_the_threshold():
    run = trajectory([1.0, 0.9, 2.0, 5.0], [4.0, 3.0, 6.0, 8.0])
    tolerant = Criteria(steps=T, loss_tolerance=1.0)
    assert [c.excess(Question.LOSS, run) for c in (CRITERIA, tolerant)] == [2.0, 2.5]
    assert CRITERIA.excess(Question.SHARPNESS, run) == 1.5
    assert np.isnan(CRITERIA.excess(Question.DIVERGENCE, run))
    assert np.isnan(CRITERIA.excess(Question.LOSS, trajectory([1.0, 0.9], 1.0)))


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        pytest.param([1.0, 10.0, 0.5], 0.0, id="rising at once, then falling"),
        pytest.param([1.0, 10.0, 12.0, 0.5], 0.0, id="a little more in the second step"),
        pytest.param([1.0, 10.0, 100.0], 0.4, id="growing on"),
        pytest.param([1.0, 0.1, 0.5], 0.0, id="rising again below L_0"),
        pytest.param([1.0, 3.0, 0.5, 10.0], 0.2, id="rising again tenfold"),
        pytest.param([1.0, 0.5, 1e5], 1.0, id="up to divergence"),
    ],
)
def test_closeness_to_divergence_is_how_far_the_loss_rose_again_on_a_logarithmic_scale(losses, share):
    run = trajectory(losses, 1.0)
    assert CRITERIA.closeness(Question.DIVERGENCE, run) == pytest.approx(share)


def test_what_is_undecided_leads_to_known_constants_one_question_at_a_time():
    exact = whole_grid(2, 4, 6)
    runs = {5: [trajectory([1.0, 2.0], [1.0, np.nan])]}  # a run that ended with its answer: the loss rises
    asked = []
    while (missing := undecided(len(GRID), runs, CRITERIA)) is not None:
        index, question = missing
        asked.append(missing)
        runs.setdefault(index, []).extend(exact.get(index, [run(diverged=True)]))
    assert len(set(asked)) == len(asked)
    assert found(runs) == found(exact)


def with_barrier(barrier, **risen):
    return dataclasses.replace(run(**risen), barrier=barrier)


BARRIER = Criteria(steps=T, barrier=True)


def test_c_barrier_is_the_smallest_c_whose_line_passes_a_loss_above_the_initial_one():
    runs = {i: [with_barrier(1.2 if i >= 4 else 1.0, loss_rises=i >= 2)] for i in range(6)} | {6: [run(diverged=True)]}
    constants = critical_constants(GRID, runs, BARRIER)
    assert constants["c_barrier"].value == GRID[4]
    assert "c_barrier" not in critical_constants(GRID, runs, CRITERIA)


def test_a_line_on_which_the_loss_is_not_finite_passes_a_barrier():
    assert BARRIER.answer(Question.BARRIER, with_barrier(np.inf)) is True
    assert BARRIER.answer(Question.BARRIER, with_barrier(np.nan)) is None


def test_without_a_barrier_c_barrier_is_c_max():
    runs = {i: [with_barrier(1.0)] for i in range(6)} | {6: [run(diverged=True)]}
    constants = critical_constants(GRID, runs, BARRIER)
    assert constants["c_barrier"] == constants["c_max"]
    assert constants["c_barrier"].value == GRID[5]


def test_a_run_that_has_risen_at_its_end_has_a_barrier_whether_or_not_the_line_was_looked_at():
    assert BARRIER.answer(Question.BARRIER, trajectory([1.0] + [0.5] * (T - 1) + [1.01], 1.0)) is True
    assert BARRIER.answer(Question.BARRIER, trajectory([1.0] + [2.0] * (T - 1) + [0.99], 1.0)) is None
    assert BARRIER.answer(Question.BARRIER, trajectory([1.0, 0.5, 1.01], 1.0)) is None


def test_a_line_that_was_not_measured_is_no_answer():
    assert BARRIER.answer(Question.BARRIER, run()) is None
    assert undecided(len(GRID), {i: [run()] for i in range(8)}, BARRIER) == (7, Question.BARRIER)


def test_the_onset_is_answered_by_the_first_and_the_last_step():
    ends = np.full(T + 1, np.nan)
    ends[[0, 1, T]] = 1.0, 0.9, 0.8
    assert CRITERIA.answer(Question.ONSET, trajectory(0.5, ends)) is False
    assert CRITERIA.answer(Question.SHARPNESS, trajectory(0.5, ends)) is None  # a no needs every step
    assert CRITERIA.closeness(Question.ONSET, trajectory(0.5, ends)) == 0.0
    ends[[1, T]] = 0.5, 0.7
    assert CRITERIA.closeness(Question.ONSET, trajectory(0.5, ends)) == pytest.approx(0.7)
    ends[T] = 1.1
    assert CRITERIA.answer(Question.ONSET, trajectory(0.5, ends)) is True
    assert CRITERIA.answer(Question.SHARPNESS, trajectory(0.5, ends)) is True
    assert CRITERIA.answer(Question.ONSET, run(sharpness_rises=True)) is False  # at step 3 only
    assert CRITERIA.answer(Question.ONSET, run(diverged=True)) is False
    assert CRITERIA.answer(Question.ONSET, trajectory(0.5, np.append(1.0, np.full(T, np.nan)))) is None


@pytest.mark.parametrize("question", [Question.DIVERGENCE, Question.LOSS, Question.BARRIER])
def test_from_a_loss_of_zero_nothing_is_close(question):
    assert CRITERIA.closeness(question, trajectory([0.0] * 5, [1.0] * 5)) == 0.0

"""Of many runs those are shown that tell most, and nothing is joined where nothing was measured."""

import numpy as np
import pandas as pd
import tables

from sharpness_phases.views.chosen_runs import joined, one_in_each_phase, with_phases


def shortened(runs, x, last):
    """The same runs, that at one exponent ended after a step."""
    return runs[(runs["lr_exponent"] != x) | (runs["step"] <= last)]


def chosen(runs):
    shown = one_in_each_phase(with_phases(runs, tables.constants(depths=(2,), widths=(8,), seeds=1)))
    return shown.drop_duplicates("c").set_index("phase")["lr_exponent"].to_dict()


RUNS = tables.trajectories(depths=(2,), widths=(8,), seeds=1)


def test_there_is_one_run_in_each_phase_the_middle_one_of_equals():
    phases = ["sharpness reduction", "loss catapult", "loss and sharpness catapult", "divergent"]
    assert sorted(chosen(RUNS)) == sorted(phases)
    assert chosen(RUNS)["sharpness reduction"] in (0.5, 1.0)  # of 0, 0.5, 1 and 1.5
    assert chosen(RUNS)["divergent"] == 3.5


def test_a_whole_run_is_shown_rather_than_a_fragment():
    fragments = shortened(shortened(shortened(RUNS, 0.0, 3), 0.5, 3), 1.0, 3)
    assert chosen(fragments)["sharpness reduction"] == 1.5


def test_of_whole_runs_that_with_the_sharpness_at_most_steps_is_shown():
    unmeasured = (RUNS["lr_exponent"] != 0.0) & (RUNS["step"] > 0)
    runs = RUNS.assign(sharpness=np.where(unmeasured, np.nan, RUNS["sharpness"]))
    assert chosen(runs)["sharpness reduction"] == 0.0


def test_without_constants_all_runs_are_shown():
    shown = one_in_each_phase(with_phases(RUNS, tables.constants().iloc[:0]))
    pd.testing.assert_frame_equal(shown[RUNS.columns].reset_index(drop=True), RUNS, check_dtype=False)


def test_measurements_belong_together_that_are_no_further_apart_than_they_are_made():
    steps = [0, 1, 2, 10, 20, 30]
    assert joined(steps, 1) == [slice(0, 3), slice(3, 4), slice(4, 5), slice(5, 6)]
    assert joined(steps, 10) == [slice(0, 6)]
    assert joined([], 1) == []

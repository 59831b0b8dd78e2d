import numpy as np
import pytest

from sharpness_phases.config.loading import load_config
from sharpness_phases.runs.spec import (
    CONDUCT,
    Cell,
    Purpose,
    RunSpec,
    cells,
    criteria,
    learning_rates,
    limits_of,
    saturation_steps,
)

CELL = Cell(4, 64, 0)


def limits(purpose, *overrides, exponent=1.0):
    config = load_config("quickstart", overrides)
    return limits_of(RunSpec(CELL, purpose, exponent), config, loss_0=2.0, lambda_0=10.0)


def test_every_depth_width_and_seed_is_a_cell():
    found = cells(load_config("quickstart", ["sweep.depths=[2,3]", "sweep.widths=[8,16]", "sweep.seeds=2"]))
    assert len(found) == 8
    assert found[0].name == "d2_w8_s0"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("training.warmup_steps=4", [0.25, 0.5, 0.75, 1, 1, 1]),
        ("optimizer.warmup={steps: 4}", [0.25, 0.5, 0.75, 1, 1, 1]),
        ("optimizer.warmup={steps: 4, start: 0.2}", [0.4, 0.6, 0.8, 1, 1, 1]),
        ("optimizer.warmup={steps: 4, start: 1}", [1] * 6),
        ("optimizer.warmup={steps: 0, start: 0.2}", [1] * 6),
    ],
)
def test_a_warm_up_is_a_straight_line_from_its_start_to_the_rate(settings, expected):
    np.testing.assert_allclose(learning_rates(load_config("quickstart", [settings]), 3.0, 6), 3 * np.array(expected))


def test_every_purpose_says_how_its_runs_are_carried_out():
    assert set(CONDUCT) == set(Purpose)


def test_only_the_state_before_training_has_no_exponent():
    for purpose in Purpose:
        wrong = 1.0 if purpose is Purpose.INITIAL else None
        with pytest.raises(ValueError, match="A run needs an exponent unless it is before training"):
            RunSpec(CELL, purpose, wrong)
    with pytest.raises(ValueError, match="takes no step"):
        limits_of(RunSpec(CELL), load_config("quickstart"), 1.0, 1.0)


def test_a_whole_trajectory_serves_every_yes_or_no_question_and_no_other_purpose():
    whole = RunSpec(CELL, Purpose.WHOLE, 1.0)
    for purpose in set(Purpose) - {Purpose.INITIAL}:
        spec = RunSpec(CELL, purpose, 1.0)
        alone = purpose in (Purpose.WHOLE, Purpose.SATURATION)
        assert list(spec.serving) == ([spec] if alone else [whole, spec])


def test_a_whole_run_is_measured_at_every_step_of_the_transient_and_at_every_kth_later():
    long = ["training.steps=10", "analysis.transient_steps=4", "sweep.search=exhaustive", "sharpness.every=3"]
    found = limits(Purpose.WHOLE, *long, "analysis.barrier=true")
    assert np.flatnonzero(found.measured).tolist() == [0, 1, 2, 3, 5, 8]
    assert found.barrier_after == 4
    assert limits(Purpose.WHOLE, *long).barrier_after is None


def test_a_question_ends_its_run_at_its_threshold_and_measures_no_more_than_it_needs():
    loss = limits(Purpose.LOSS, "analysis.loss_tolerance=0.5")
    assert (loss.first_loss_limit, loss.measured.any()) == (3.0, False)
    sharpness = limits(Purpose.SHARPNESS, "analysis.sharpness_tolerance=0.1")
    assert (sharpness.sharpness_limit, sharpness.measured.all()) == (11.0, True)
    onset = limits(Purpose.ONSET)
    assert (onset.sharpness_limit, np.flatnonzero(onset.measured).tolist()) == (10.0, [0, 9])
    assert limits(Purpose.BARRIER).barrier_after == 10
    for purpose in (Purpose.LOSS, Purpose.DIVERGENCE, Purpose.SHARPNESS):
        assert limits(purpose).barrier_after is None
        assert limits(purpose, "analysis.barrier=true").barrier_after == 10
    assert limits(Purpose.DIVERGENCE).first_loss_limit == float("inf")
    saturation = limits(Purpose.SATURATION, exponent=3.0)
    assert (saturation.steps, np.flatnonzero(saturation.measured).tolist()) == (25, [24])


@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        ([], 0.0),
        (["model.output_layer=zero"], 0.05),
        (["model.subtract_initial=true"], 0.05),
        (["model.output_layer=zero", "analysis.sharpness_tolerance=0.0"], 0.0),
        (["analysis.sharpness_tolerance=0.1"], 0.1),
    ],
)
def test_networks_whose_output_is_zero_at_the_start_need_a_clear_rise_of_the_sharpness(overrides, tolerance):
    assert criteria(load_config("quickstart", overrides)).sharpness_tolerance == tolerance


def test_the_saturated_sharpness_is_measured_where_c_tau_is_200_or_100_with_cross_entropy():
    steps = [saturation_steps(load_config("quickstart"), exponent) for exponent in (-1.0, 0.0, 1.0, 9.0)]
    assert steps == [400, 200, 100, 1]
    assert saturation_steps(load_config("quickstart", ["loss=xent"]), 1.0) == 50
    assert saturation_steps(load_config("quickstart", ["analysis.saturation_time=20.0"]), 1.0) == 10

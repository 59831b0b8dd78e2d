from dataclasses import replace

import numpy as np
import pytest
from drawn_runs import drawn_runs
from expert_runs import expert_runs
from labelled_runs import ALL, agreeing, is_right
from made_up import trajectory
from regimes_right import right_ones
from simulated_runs import simulated_runs

from sharpness_phases.analysis.regimes import Regime, RegimeSettings, Segment, agreement, regimes

EDGE = 20.0
FOUR = list(Regime)[:4]


def long_run(ratio, noise=0.0, loss=None, seed=0):
    """A run with this r_t, times noise, and a loss that falls."""
    ratio = np.asarray(ratio) * (1 + noise * np.random.default_rng(seed).standard_normal(len(ratio)))
    return trajectory(np.linspace(1, 0.1, len(ratio)) if loss is None else loss, EDGE * ratio)


def four_regimes(noise=0.0, transient=40, saturation=200, sharpening=400, edge=400, seed=0):
    """r that falls to 0.4, stays, rises to 1 and hovers there."""
    parts = [np.linspace(1.0, 0.4, transient), np.full(saturation, 0.4), np.linspace(0.4, 1.0, sharpening)]
    return long_run(np.concatenate([*parts, np.ones(edge)]), noise, seed=seed)


def names(run, edge=EDGE):
    return [segment.regime for segment in regimes(run, edge)]


def cut(run, steps):
    """The first steps of a run."""
    return trajectory(run.loss[: steps + 1], run.sharpness[: steps + 1])


def per_step(segments):
    """The label of every step."""
    return [segment.regime for segment in segments for _ in range(segment.start, segment.stop)]


def wrong_ones(runs):
    """Names of the runs that do not come out right."""
    return [each.name for each in runs if not is_right(regimes(each.run, each.edge), each.segments)]


def test_at_least_95_percent_of_the_labelled_runs_come_out_right():
    wrong = wrong_ones(ALL)
    assert len(wrong) <= 0.05 * len(ALL), wrong


@pytest.mark.parametrize("draw", [drawn_runs, expert_runs, simulated_runs])
def test_of_runs_drawn_at_random_nine_of_ten_come_out_right(draw):
    runs = draw(40, seed=700)
    wrong = wrong_ones(runs)
    assert len(wrong) <= 0.1 * len(runs), wrong


@pytest.mark.parametrize("draw", [drawn_runs, expert_runs, simulated_runs])
def test_the_transient_never_comes_again(draw):
    for each in draw(60, seed=7):
        found = [segment.regime for segment in regimes(each.run, each.edge)]
        assert Regime.EARLY_TRANSIENT not in found[1:]


@pytest.mark.long
@pytest.mark.parametrize(("draw", "least"), [(drawn_runs, 0.94), (expert_runs, 0.9), (simulated_runs, 0.92)])
def test_of_many_runs_most_come_out_right(draw, least):
    runs = [each for seed in (701, 702) for each in draw(150, seed)]
    assert right_ones(runs) >= least * len(runs)


def test_segments_cover_all_steps_without_gaps_and_neighbours_differ():
    for each in ALL:
        segments = regimes(each.run, each.edge)
        assert (segments[0].start, segments[-1].stop) == (0, each.run.steps + 1), each.name
        for one, other in zip(segments, segments[1:], strict=False):
            assert one.stop == other.start > one.start, each.name
            assert one.regime is not other.regime, each.name


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_the_four_regimes_are_found_where_they_are(noise, seed):
    segments = regimes(four_regimes(noise, seed=seed), EDGE)
    assert [segment.regime for segment in segments] == FOUR
    assert [segment.start for segment in segments] == pytest.approx([0, 40, 240, 640], abs=30 + 700 * noise)


@pytest.mark.parametrize("steps", [700, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (900, 1000))])
def test_what_happens_later_does_not_change_how_the_beginning_is_called(steps):
    shares = []
    for each in ALL:
        if each.run.steps <= 1.1 * steps or np.ndim(each.edge):
            continue  # too short to be cut, or with an edge that would have to be cut, too
        longer, shorter = (regimes(cut(each.run, k), each.edge) for k in (round(1.1 * steps), steps))
        same = np.array(per_step(longer)[: steps + 1]) == np.array(per_step(shorter))
        shares.append(same.mean())
        assert same[: round(0.4 * steps)].all(), each.name
    assert len(shares) > 30
    assert np.mean(np.array(shares) > 0.9) > 0.95


@pytest.mark.parametrize("steps", [900, 1100])
def test_a_fall_after_step_900_leaves_the_labels_of_the_first_900_steps(steps):
    ratio = np.concatenate([np.linspace(1, 0.4, 20), np.full(180, 0.4), np.linspace(0.4, 1, 300), np.ones(400)])
    run = long_run(np.append(ratio, np.linspace(1, 0.2, 300)), 0.01)
    segments = regimes(cut(run, steps), EDGE)
    assert [segment.regime for segment in segments[:4]] == FOUR
    assert [segment.start for segment in segments[:4]] == pytest.approx([0, 20, 200, 500], abs=30)
    if steps == 1100:
        assert segments[4].regime is Regime.DECLINING
        assert segments[4].start == pytest.approx(900, abs=20)


def test_a_sharpness_that_falls_at_the_end_declines():
    ratio = np.concatenate([np.linspace(4, 1.2, 10), np.full(400, 1.2), np.geomspace(1.2, 0.1, 600)])
    assert names(long_run(ratio)) == [Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY, Regime.DECLINING]


def test_flat_after_a_rise_is_saturation_again():
    ratio = np.concatenate(
        [np.linspace(1, 0.3, 20), np.full(200, 0.3), np.linspace(0.3, 0.55, 300), np.full(500, 0.55)]
    )
    assert names(long_run(ratio, 0.02)) == [*FOUR[:3], Regime.INTERMEDIATE_SATURATION]


def test_a_label_comes_again_where_training_falls_below_the_edge_and_sharpens_anew():
    ratio = np.concatenate([np.linspace(3, 1, 20), np.ones(500), np.linspace(0.45, 1, 500), np.ones(400)])
    expected = [Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY, Regime.PROGRESSIVE_SHARPENING]
    assert names(long_run(ratio, 0.02)) == [*expected, Regime.EDGE_OF_STABILITY]


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_an_alternation_of_period_two_reached_from_above_is_the_edge(noise):
    alternation = 1 + 0.25 * (-1.0) ** np.arange(994)
    ratio = np.concatenate([np.linspace(3, 1.2, 6), alternation])
    segments = regimes(long_run(ratio, noise), EDGE)
    assert [segment.regime for segment in segments] == [Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY]
    assert segments[1].start < 30


def test_minibatches_that_hold_the_sharpness_somewhat_below_the_edge_are_at_it():
    parts = [np.linspace(1, 0.3, 20), np.full(200, 0.3), np.linspace(0.3, 0.82, 500), np.full(900, 0.82)]
    ratio = np.concatenate(parts)
    assert names(long_run(ratio, 0.07)) == FOUR
    quiet = np.concatenate([np.linspace(1, 0.6, 20), np.full(900, 0.6)])
    assert names(long_run(quiet, 0.07)) == FOUR[:2]


def test_a_single_outlier_of_loss_or_sharpness_begins_no_segment():
    run = four_regimes(0.01)
    expected = regimes(run, EDGE)
    run.loss[700] = 2.0
    assert regimes(run, EDGE) == expected
    for step in (150, 500, 800):
        run.sharpness[step] *= 5
    found = regimes(run, EDGE)
    assert [segment.regime for segment in found] == FOUR
    assert agreement([found, expected]) > 0.97


def test_a_loss_catapult_belongs_to_the_transient():
    run = four_regimes()
    run.loss[1:100] = 5.0
    assert regimes(run, EDGE)[0] == (Regime.EARLY_TRANSIENT, 0, pytest.approx(100, abs=3))


def test_a_run_is_divergent_from_where_its_loss_leaves_for_good():
    run = four_regimes(0.01)
    leaving = run.loss[-1] * 10.0 ** np.arange(1, 7)
    late = trajectory(np.append(run.loss, leaving), np.append(run.sharpness, np.full(6, 2 * EDGE)), diverged=True)
    *before, last = regimes(late, EDGE)
    assert before == regimes(run, EDGE)
    assert last == (Regime.DIVERGENT, 1040, 1046)


def test_a_loss_that_rises_and_comes_back_before_it_leaves_is_not_yet_divergent():
    loss = np.concatenate([np.linspace(1, 0.1, 500), [50.0] * 5, np.linspace(0.1, 0.05, 300), [10.0, 1e3, np.inf]])
    run = trajectory(loss, np.full(len(loss), 0.5 * EDGE), diverged=True)
    assert regimes(run, EDGE)[-1] == (Regime.DIVERGENT, 805, 808)


def test_a_run_that_diverges_at_once_is_divergent_from_the_start():
    run = trajectory([1.0, 5.0, 1e9], [1.0, 1.0, np.nan], diverged=True)
    assert regimes(run, EDGE) == [(Regime.DIVERGENT, 0, 3)]


def test_the_edge_may_change_from_step_to_step():
    run = four_regimes(0.01)
    halved = np.where(np.arange(run.steps + 1) < 800, 1.0, 2.0)
    moved = trajectory(run.loss, run.sharpness * halved)
    assert regimes(moved, EDGE * halved) == regimes(run, EDGE)
    warm_up = np.full(run.steps + 1, EDGE)
    warm_up[0] = np.inf  # a learning rate of 0
    assert names(run, warm_up)[-2:] == FOUR[-2:]


def test_the_edge_decides_and_no_learning_rate():
    """With momentum 0.9 a sharpness of 2/eta is about half of the edge."""
    ratio = np.concatenate([np.linspace(1.2, 0.56, 14), np.linspace(0.56, 1.0, 500), np.ones(500)])
    run = long_run(ratio)
    assert names(run) == [Regime.EARLY_TRANSIENT, Regime.PROGRESSIVE_SHARPENING, Regime.EDGE_OF_STABILITY] or (
        regimes(run, EDGE)[-2].start < 120
    )
    assert regimes(run, EDGE)[-1].start == pytest.approx(500, abs=60)
    assert names(run, EDGE / 1.9) == [Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY]


@pytest.mark.parametrize("every", [10, 50])
def test_sharpness_at_every_10th_or_50th_step_is_enough(every):
    run = four_regimes(0.02, 40, 2000, 4000, 4000)
    run.sharpness[np.arange(run.steps + 1) % every != 0] = np.nan
    segments = regimes(run, EDGE)
    assert [segment.regime for segment in segments] == FOUR
    assert [segment.start for segment in segments[2:]] == pytest.approx([2040, 6040], abs=500)


def test_the_labels_do_not_depend_on_the_scale_of_the_loss_or_the_sharpness():
    run = four_regimes(0.01)
    scaled = trajectory(100 * run.loss, 1024 * run.sharpness)
    assert regimes(scaled, 1024 * EDGE) == regimes(run, EDGE)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_a_run_diverges_beside_its_first_loss_and_not_beyond_a_number(factor):
    run = four_regimes(0.01)
    scaled = trajectory(factor * run.loss, run.sharpness)
    assert regimes(scaled, EDGE) == regimes(run, EDGE)
    loss = np.append(run.loss, [1e2, 1e4, 1e6])
    sharpness = np.append(run.sharpness, [EDGE, EDGE, EDGE])
    assert regimes(trajectory(factor * loss, sharpness), EDGE)[-1] == (Regime.DIVERGENT, 1040, 1043)


@pytest.mark.parametrize("noise", [0.03, 0.05])
def test_a_short_plateau_in_noise_between_a_transient_and_a_rise_is_seen(noise):
    parts = [np.geomspace(1.2, 0.4, 5), np.full(20, 0.4), np.linspace(0.4, 0.95, 30), np.full(50, 0.98)]
    found = [names(long_run(np.concatenate(parts), noise, seed=seed)) for seed in range(20)]
    assert found.count(FOUR) >= 17


@pytest.mark.parametrize("seed", range(3))
def test_a_straight_rise_right_after_the_transient_has_no_plateau(seed):
    fall = 0.4 + 0.6 * np.exp(-np.arange(30) / 10)
    found = names(long_run(np.concatenate([fall, np.linspace(0.41, 1, 1000), np.ones(600)]), 0.02, seed=seed))
    assert found == [Regime.EARLY_TRANSIENT, Regime.PROGRESSIVE_SHARPENING, Regime.EDGE_OF_STABILITY]


@pytest.mark.parametrize("seed", range(3))
def test_a_rise_that_pauses_has_a_plateau_within(seed):
    level = [np.geomspace(1, 0.3, 10), np.full(60, 0.3), np.linspace(0.3, 0.55, 50), np.full(40, 0.55)]
    run = long_run(np.concatenate([*level, np.linspace(0.55, 1, 50), np.ones(90)]), 0.02, seed=seed)
    assert names(run) == [*FOUR[:3], *FOUR[1:]]
    assert [segment.start for segment in regimes(run, EDGE)[3:5]] == pytest.approx([120, 160], abs=12)


def test_a_short_stay_at_the_edge_between_a_rise_and_a_decline_is_seen():
    parts = [np.geomspace(1, 0.35, 10), np.full(60, 0.35), np.linspace(0.35, 1, 70), np.ones(35)]
    found = regimes(long_run(np.append(np.concatenate(parts), np.geomspace(1, 0.45, 30)), 0.01), EDGE)
    assert [segment.regime for segment in found] == [*FOUR, Regime.DECLINING]
    assert [segment.start for segment in found[3:]] == pytest.approx([140, 175], abs=8)


def test_a_catapult_of_the_sharpness_belongs_to_the_transient():
    catapult = np.append(np.geomspace(0.5, 1.5, 40), 0.3 + 1.2 * np.exp(-np.arange(200) / 50))
    run = long_run(np.concatenate([catapult, np.full(700, 0.3), np.linspace(0.3, 1, 900), np.ones(800)]))
    found = regimes(run, EDGE)
    assert [segment.regime for segment in found] == FOUR
    assert found[1].start == pytest.approx(230, abs=60)


def test_a_logistic_rise_begins_and_ends_near_a_tenth_of_its_height():
    share = 1 / (1 + np.exp(-2 * np.log(9) * np.linspace(-1.3, 1.7, 1500)))  # a tenth at step 400, nine at 900
    fall = 0.6 * np.exp(-np.arange(1500) / 15)
    found = regimes(long_run(0.3 + 0.7 * share + fall), EDGE)
    assert [segment.regime for segment in found] == FOUR
    assert 250 < found[2].start < 475  # seen from the first doubling of the steps on
    assert found[3].start == pytest.approx(900, abs=75)


def test_a_sharpness_of_zero_has_labels():
    ratio = np.concatenate([np.full(300, 0.5), np.zeros(300)])
    segments = regimes(long_run(ratio), EDGE)
    assert segments[-1].stop == 600
    assert Regime.EDGE_OF_STABILITY not in [segment.regime for segment in segments]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 10])
def test_very_short_runs_have_labels_for_all_steps_and_no_edge(steps):
    for ratio in (np.linspace(2, 0.5, steps + 1), np.full(steps + 1, 0.7)):
        found = regimes(long_run(ratio), EDGE)
        assert (found[0].start, found[-1].stop) == (0, steps + 1)
        assert Regime.EDGE_OF_STABILITY not in [segment.regime for segment in found]


def test_settings_move_the_thresholds():
    ratio = np.concatenate([np.linspace(1.5, 0.75, 20), np.full(600, 0.75)])
    assert names(long_run(ratio)) == FOUR[:2]
    wide = regimes(long_run(ratio), EDGE, RegimeSettings(edge_band=0.3))
    assert [segment.regime for segment in wide] == [Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY]
    assert replace(RegimeSettings(), edge_band=0.3) == RegimeSettings(edge_band=0.3)


def test_a_run_without_any_sharpness_is_refused():
    with pytest.raises(ValueError, match="never measured"):
        regimes(trajectory(1.0, np.nan), EDGE)


@pytest.mark.parametrize("edge", [0.0, -1.0, np.nan, np.zeros(1040)])
def test_the_edge_must_be_above_zero(edge):
    with pytest.raises(ValueError, match="`edge` must be above 0"):
        regimes(four_regimes(), edge)


def test_an_edge_per_step_must_be_as_long_as_the_run():
    with pytest.raises(ValueError, match=r"shape \(1040,\).*\(7,\)"):
        regimes(four_regimes(), np.ones(7))


def test_labels_agree_by_the_share_of_common_steps():
    early, late = Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY
    one = [Segment(early, 0, 10), Segment(late, 10, 100)]
    other = [Segment(early, 0, 30), Segment(late, 30, 100)]
    assert agreement([one, one]) == 1.0
    assert agreement([one, other]) == pytest.approx(0.8)
    assert agreement([one, one, other]) == pytest.approx((1 + 0.8 + 0.8) / 3)
    assert agreement([one, [Segment(early, 0, 10)]]) == pytest.approx(0.1)
    assert agreeing(one, [("early_transient", 0, 30), ("edge_of_stability", 30, 100)]) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="at least two"):
        agreement([one])

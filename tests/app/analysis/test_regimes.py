import numpy as np
import pytest
from made_up import trajectory

from sharpness_phases.analysis.regimes import Regime, Segment, agreement, regimes

ETA = 0.1
EDGE = 2 / ETA


def made_up_run(noise=0.0, transient=20, saturation=80, sharpening=200, edge=200, seed=0):
    """Sharpness that falls to 40% of 2/eta, stays, rises to 2/eta and hovers there."""
    parts = [np.linspace(1.0, 0.4, transient), np.full(saturation, 0.4), np.linspace(0.4, 1.0, sharpening)]
    parts.append(np.ones(edge))
    ratio = np.concatenate(parts)
    rng = np.random.default_rng(seed)
    sharpness = EDGE * ratio * (1 + noise * rng.standard_normal(len(ratio)))
    loss = np.linspace(1.0, 0.1, len(ratio))
    return trajectory(loss, sharpness)


def names(run):
    return [segment.regime for segment in regimes(run, ETA)]


def noisy(ratio, noise=0.0, seed=0):
    """A run with this lambda_t eta / 2, times noise."""
    ratio = np.asarray(ratio) * (1 + noise * np.random.default_rng(seed).standard_normal(len(ratio)))
    return trajectory(np.linspace(1, 0.1, len(ratio)), EDGE * ratio)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_the_four_regimes_are_found_where_they_are(noise, seed):
    segments = regimes(made_up_run(noise, 40, 200, 400, 400, seed), ETA)
    assert [s.regime for s in segments] == list(Regime)[:4]
    starts = [s.start for s in segments]
    # Boundaries lie where the thresholds are crossed: 10% above the plateau, 5% below the edge.
    assert starts == pytest.approx([0, 36, 266, 607], abs=15 + 500 * noise)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_segments_cover_all_steps_without_gaps(noise):
    run = made_up_run(noise)
    segments = regimes(run, ETA)
    assert segments[0].start == 0
    assert segments[-1].stop == run.steps + 1
    assert all(a.stop == b.start for a, b in zip(segments, segments[1:], strict=False))


def test_a_run_that_never_reaches_the_edge_has_no_edge_of_stability():
    segments = regimes(made_up_run(sharpening=100, edge=0), ETA)
    names = [s.regime for s in segments]
    assert names == [Regime.EARLY_TRANSIENT, Regime.INTERMEDIATE_SATURATION, Regime.PROGRESSIVE_SHARPENING] or (
        segments[-1].start > 150
    )
    flat = made_up_run(sharpening=0, edge=0)
    assert [s.regime for s in regimes(flat, ETA)] == [Regime.EARLY_TRANSIENT, Regime.INTERMEDIATE_SATURATION]


def test_a_sharpness_that_falls_again_stays_at_the_edge():
    run = made_up_run()
    run.sharpness[400:] = 0.5 * EDGE
    assert regimes(run, ETA)[-1].regime is Regime.EDGE_OF_STABILITY


def test_a_diverged_run_is_divergent():
    run = trajectory([1.0, 5.0, 1e9], [1.0, 1.0, np.nan], diverged=True)
    assert regimes(run, ETA) == [(Regime.DIVERGENT, 0, 3)]


def test_a_run_of_ten_steps_that_falls_is_all_transient():
    ratio = np.linspace(1.5, 0.5, 11)
    segments = regimes(trajectory(np.linspace(1, 0.5, 11), EDGE * ratio), ETA)
    assert segments[0].regime is Regime.EARLY_TRANSIENT
    assert segments[0].stop >= 9


def test_steps_without_a_measurement_are_interpolated():
    run = made_up_run()
    run.sharpness[np.arange(run.steps + 1) % 10 != 0] = np.nan
    assert [s.regime for s in regimes(run, ETA)] == list(Regime)[:4]


def test_the_labels_do_not_depend_on_the_scale_of_the_loss_or_the_sharpness():
    run = made_up_run(0.01)
    scaled = trajectory(100 * run.loss, 1000 * run.sharpness)
    assert regimes(scaled, ETA / 1000) == regimes(run, ETA)


def test_a_run_without_any_sharpness_is_refused():
    with pytest.raises(ValueError, match="never measured"):
        regimes(trajectory(1.0, np.nan), ETA)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan])
def test_the_learning_rate_must_be_above_zero(rate):
    with pytest.raises(ValueError, match="`learning_rate`"):
        regimes(made_up_run(), rate)


def test_a_sharpness_that_falls_to_the_edge_and_stays_has_only_a_transient_before_it():
    ratio = np.concatenate([np.linspace(4, 1, 20), np.full(300, 0.95)])
    segments = regimes(trajectory(np.linspace(1, 0.1, len(ratio)), EDGE * ratio), ETA)
    assert [s.regime for s in segments] == [Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY]
    assert 10 <= segments[1].start <= 25


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_without_a_plateau_there_is_no_saturation(noise):
    ratio = np.concatenate([np.linspace(1.5, 0.4, 30), np.linspace(0.4, 1, 300), np.ones(400)])
    found = regimes(noisy(ratio, noise), ETA)
    assert [s.regime for s in found if s.stop - s.start > 50] == [
        Regime.PROGRESSIVE_SHARPENING,
        Regime.EDGE_OF_STABILITY,
    ]


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_sharpness_that_grows_from_the_start_has_no_transient_to_speak_of(noise):
    ratio = np.concatenate([np.linspace(0.3, 1, 400), np.ones(300)])
    found = regimes(noisy(ratio, noise), ETA)
    assert found[-1].regime is Regime.EDGE_OF_STABILITY
    assert found[-1].start == pytest.approx(370, abs=25)
    assert found[0] == (Regime.EARLY_TRANSIENT, 0, found[0].stop)
    assert found[0].stop < 20


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_sharpness_that_bounces_at_the_edge_and_falls_again_as_with_cross_entropy_was_at_the_edge(noise):
    t = np.arange(1000)
    ratio = np.where(t < 10, 4 - 0.28 * t, 1.3 + 0.3 * np.sin(t / 40)) * np.where(t > 400, np.exp(-(t - 400) / 200), 1)
    found = regimes(noisy(ratio, noise), ETA)
    assert [s.regime for s in found] == [Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY]
    assert found[1].start < 60


def test_a_sharpness_that_only_passes_by_the_edge_on_its_way_down_was_not_at_it():
    ratio = 0.3 + 1.2 * np.exp(-np.arange(1000) / 80)
    assert names(noisy(ratio)) == [Regime.EARLY_TRANSIENT, Regime.INTERMEDIATE_SATURATION]


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_very_short_runs_have_labels_for_all_steps_and_no_edge(steps):
    for ratio in (np.linspace(2, 0.5, steps + 1), np.linspace(1, 3, steps + 1), np.full(steps + 1, 0.7)):
        found = regimes(noisy(ratio), ETA)
        assert (found[0].start, found[-1].stop) == (0, steps + 1)
        assert Regime.EDGE_OF_STABILITY not in [s.regime for s in found]


def test_a_loss_catapult_belongs_to_the_transient():
    run = made_up_run()
    run.loss[1:60] = 5.0
    assert regimes(run, ETA)[0] == (Regime.EARLY_TRANSIENT, 0, 60)


def test_a_run_that_diverges_late_is_divergent():
    run = made_up_run()
    late = trajectory(np.append(run.loss, np.inf), np.append(run.sharpness, np.nan), diverged=True)
    assert names(late) == [Regime.DIVERGENT]


def test_labels_agree_by_the_share_of_common_steps():
    early, late = Regime.EARLY_TRANSIENT, Regime.EDGE_OF_STABILITY
    one = [Segment(early, 0, 10), Segment(late, 10, 100)]
    other = [Segment(early, 0, 30), Segment(late, 30, 100)]
    assert agreement([one, one]) == 1.0
    assert agreement([one, other]) == pytest.approx(0.8)
    assert agreement([one, one, other]) == pytest.approx((1 + 0.8 + 0.8) / 3)
    assert agreement([one, [Segment(early, 0, 10)]]) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="at least two"):
        agreement([one])

import numpy as np
import pytest
from made_up import trajectory

from app.analysis.regimes import Regime, regimes

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


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_the_four_regimes_are_found_where_they_are(noise):
    segments = regimes(made_up_run(noise), ETA)
    assert [s.regime for s in segments] == list(Regime)[:4]
    starts = [s.start for s in segments]
    # Boundaries lie where the thresholds are crossed: 10% above the plateau, 15% below the edge.
    assert starts == pytest.approx([0, 18, 113, 250], abs=12)


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

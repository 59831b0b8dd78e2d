"""The training code of every network follows the exact map of the uv model with a target."""

import keras
import numpy as np
import pytest

from sharpness_phases.analysis.bifurcation import balanced_orbit
from sharpness_phases.analysis.uv_orbits import orbit_table
from sharpness_phases.sweep.uv_target import START, VALUES_OF_G, TargetRuns


@pytest.fixture(scope="module")
def runs():
    return TargetRuns(1.0)


@pytest.mark.parametrize(("g", "kind"), [(0.9, "stable"), (1.1, "periodic"), (1.26, "periodic"), (1.8, "aperiodic")])
def test_training_follows_the_exact_map_to_rounding(runs, g, kind):
    [row] = orbit_table([runs.orbit(g)], runs.start).to_dict("records")
    assert row["kind"] == kind
    assert row["one_step"] < 1e-14
    assert kind == "aperiodic" or row["whole"] < 1e-12


def test_the_measured_sharpness_is_that_of_the_visited_points(runs):
    orbit = runs.orbit(1.1)
    np.testing.assert_allclose(orbit.sharpness, np.maximum(3 * orbit.r - 1, 1 - orbit.r) / 2, rtol=1e-9)


def test_an_orbit_is_given_the_steps_that_it_needs_to_settle(runs):
    quick, slow = runs.orbit(0.9), runs.orbit(0.9975)
    assert quick.first < slow.first
    np.testing.assert_allclose(slow.r, 1.0, atol=1e-6)


def test_training_diverges_beyond_the_last_threshold(runs):
    assert runs.orbit(2.03).diverged
    assert not runs.orbit(1.99).diverged


@pytest.mark.slow
@pytest.mark.parametrize(("target", "width"), [(-2.0, 4), (0.01, 1), (300.0, 7)])
def test_every_target_and_width_follow_the_same_map(target, width):
    runs = TargetRuns(target, width)
    orbit = runs.orbit(1.26)
    exact = balanced_orbit(START, 1.26, orbit.first + len(orbit.r) - 1)
    np.testing.assert_allclose(orbit.r, exact[orbit.first :], atol=1e-11)


@pytest.mark.parametrize("target", [0.0, float("nan"), float("inf"), 1e6])
def test_a_target_that_cannot_be_simulated_is_refused(target):
    with pytest.raises(ValueError, match="`target` must be between"):
        TargetRuns(target)


def test_keras_own_precision_is_as_before(runs):
    runs.orbit(0.9)
    assert keras.config.floatx() == "float32"


def test_no_value_of_g_lies_on_a_threshold_that_is_known_exactly():
    g = np.array(VALUES_OF_G)
    for threshold in (1.0, np.sqrt(5) - 1, 2.0):
        assert np.min(np.abs(g - threshold)) > 1e-3
        assert g[0] < threshold < g[-1]

import math

import numpy as np
import pytest

from sharpness_phases.analysis.bifurcation import (
    accumulation,
    balanced_map,
    balanced_orbit,
    balanced_slope,
    bisect,
    critical_point,
    cycle,
    divergence_threshold,
    lyapunov_exponent,
    multiplier,
    period_doublings,
    period_of,
    relative_sharpness,
)
from sharpness_phases.analysis.uv import recursion, top_eigenvalue


def two_cycle(g):
    """Exactly: with a = 1 - g (r - 1), a^2 - (1 + g) a + 1 = 0."""
    s = 1 + g
    return np.array([1 + (1 - (s - sign * math.sqrt(s * s - 4)) / 2) / g for sign in (-1, 1)])


@pytest.mark.parametrize(("n", "y"), [(1, 1.0), (4, 2.5), (9, -0.7)])
@pytest.mark.parametrize("g", [0.5, 1.1, 1.28, 1.7])
def test_the_map_is_the_recursion_from_balanced_weights(n, y, g):
    rate, f_0 = g * math.sqrt(n) / abs(y), 0.3 * y
    f, trace = recursion(f_0, 2 * abs(f_0) / math.sqrt(n), n, rate, 12, y)
    r = balanced_orbit(0.3, g, 12)
    np.testing.assert_allclose(f / y, r, rtol=1e-8)
    np.testing.assert_allclose(trace, 2 * np.abs(f) / math.sqrt(n), rtol=1e-8)
    np.testing.assert_allclose(relative_sharpness(r, g), rate / 2 * top_eigenvalue(f, trace, n, y), rtol=1e-6)


def test_the_slope_is_the_derivative_of_the_map():
    r, g, h = np.linspace(0.05, 2, 40), 1.3, 1e-6
    differences = (balanced_map(r + h, g) - balanced_map(r - h, g)) / (2 * h)
    np.testing.assert_allclose(balanced_slope(r, g), differences, atol=1e-8)
    assert balanced_slope(critical_point(g), g) == pytest.approx(0, abs=1e-15)


def test_the_first_thresholds_are_those_that_pencil_and_paper_give():
    first, second = period_doublings(2)
    assert (first.period, second.period) == (2, 4)
    assert first.g == pytest.approx(1.0, abs=1e-14)  # F'(1) = 1 - 2g = -1
    assert second.g == pytest.approx(math.sqrt(5) - 1, abs=1e-13)  # the two slopes of the 2-cycle: 9 - 2 (1 + g)^2 = -1


def test_later_thresholds_draw_near_at_feigenbaums_rate_to_where_orbits_without_period_begin():
    doublings = period_doublings()
    assert [doubling.period for doubling in doublings] == [2, 4, 8, 16, 32, 64]
    g = np.array([doubling.g for doubling in doublings])
    rates = np.diff(g)[:-1] / np.diff(g)[1:]
    assert rates[-1] == pytest.approx(4.669201609, rel=1e-3)  # Feigenbaum 1978
    end = accumulation(doublings)
    assert g[-1] < end < g[-1] + 1e-3
    assert end == pytest.approx(accumulation(period_doublings(5)), abs=1e-6)
    for value, chaotic in ((end - 0.003, False), (end + 0.003, True)):
        orbit = balanced_orbit(critical_point(value), value, 8000)[4000:]
        assert (lyapunov_exponent(orbit, value) > 0) == chaotic


def test_r_stays_bounded_up_to_the_divergence_threshold_and_leaves_beyond():
    end = divergence_threshold()
    assert end == pytest.approx(2.0, abs=1e-12)
    starts = np.linspace(0.1, 1.9, 50)
    assert np.all(balanced_orbit(starts, end - 1e-6, 2000) < 2.001)
    assert not np.any(np.isfinite(balanced_orbit(starts, end + 0.02, 2000)[-1]))


@pytest.mark.parametrize("g", [1.001, 1.01, 1.1, 1.236, 1.25])
def test_the_cycle_of_period_two_is_the_exact_one_stable_or_not(g):
    np.testing.assert_allclose(np.sort(cycle(g, 2)), two_cycle(g), atol=1e-12)
    assert (abs(multiplier(cycle(g, 2), g)) < 1) == (g < math.sqrt(5) - 1)


@pytest.mark.parametrize(("g", "period"), [(0.7, 1), (1.26, 4), (1.295, 8)])
def test_a_cycle_comes_back_after_its_period_and_not_before(g, period):
    orbit = cycle(g, period)
    assert len(orbit) == period
    assert balanced_map(orbit[-1], g) == pytest.approx(orbit[0], abs=1e-13)
    assert len(np.unique(orbit.round(6))) == period


@pytest.mark.parametrize(("g", "period"), [(0.8, 2), (1.1, 4)])
def test_a_cycle_that_is_not_there_is_refused(g, period):
    with pytest.raises(ValueError, match=f"No cycle of period {period}"):
        cycle(g, period)


def test_the_exponent_of_a_cycle_is_the_logarithm_of_its_multiplier_per_step():
    g = np.array([0.8, 1.1])
    orbit = balanced_orbit(critical_point(g), g, 3000)[1000:-1]
    expected = [math.log(abs(1 - 2 * 0.8)), math.log(abs(9 - 2 * 2.1**2)) / 2]
    np.testing.assert_allclose(lyapunov_exponent(orbit, g), expected, rtol=1e-9)


def test_the_exponent_of_an_orbit_that_left_is_not_a_number_and_of_a_superstable_one_finite():
    assert np.isnan(lyapunov_exponent(np.array([1.0, np.inf]), 2.1))
    assert np.isfinite(lyapunov_exponent(np.array([critical_point(1.5)]), 1.5))


@pytest.mark.parametrize(("orbit", "period"), [([1.0] * 8, 1), ([1.0, 2.0] * 4, 2), ([1.0, 2.0, 1.0, 3.0] * 3, 4)])
def test_the_period_is_the_smallest_shift_that_changes_nothing(orbit, period):
    assert period_of(np.array(orbit), 1e-9) == period


def test_an_orbit_without_period_and_one_that_left_have_none():
    assert period_of(np.arange(10.0), 1e-9) is None
    assert period_of(np.full(10, np.nan), 1e-9) is None


def test_an_orbit_on_its_way_to_a_fixed_point_from_side_to_side_has_no_period_yet():
    settling = 1 + 1e-5 * (-0.99) ** np.arange(50)
    assert period_of(settling, 1e-6) == 2
    assert period_of(settling, 1e-6, apart=1e-3) is None


def test_a_root_is_as_exact_as_floats_and_needs_a_change_of_sign():
    assert bisect(lambda x: x**2 - 2, 1, 2) == pytest.approx(math.sqrt(2), rel=1e-15)
    assert bisect(lambda x: x - 1, 1, 2) == 1
    with pytest.raises(ValueError, match="one sign"):
        bisect(lambda x: x**2 + 1, -1, 1)

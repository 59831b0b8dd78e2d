import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpness_phases.training.first_rise import first_rise


def parabola(crossing):
    """A loss that falls from 1 and is 1 again at a crossing."""
    return lambda eta: 1 + eta * (eta - crossing) / crossing**2


@given(crossing=st.floats(1e-6, 1e6), start=st.floats(1e-3, 1e3))
def test_the_crossing_of_a_parabola_is_found_from_anywhere(crossing, start):
    found = first_rise(parabola(crossing), start, dtype="float64")
    assert found.eta == pytest.approx(crossing, rel=2e-3)
    assert not found.island
    assert found.censored == ""


@pytest.mark.parametrize("start", [0.55, 0.8, 1.1, 1.9])
def test_a_warm_search_takes_at_most_seven_evaluations_with_the_one_at_zero(start):
    assert first_rise(parabola(1.0), start, scan=False).forwards <= 7


@pytest.mark.parametrize("tolerance", [0.25, 1 / 16, 1e-3])
def test_a_crossing_that_is_no_parabola_is_as_exact_as_asked_for(tolerance):
    found = first_rise(lambda eta: 0.0 if eta < 0.7 else 5.0, 0.1, tolerance)
    assert abs(found.eta - 0.7) <= tolerance * 0.7 * 1.1


def rising_in(*intervals):
    """A loss that is above its beginning in open intervals, and below elsewhere."""
    return lambda eta: float(any(low < eta < high for low, high in intervals)) - 0.5 if eta else 0.0


@pytest.mark.parametrize("start", [0.9, 2.0, 30.0])
def test_the_first_rise_is_found_from_either_side_of_an_island_and_that_is_said_where_it_was_seen(start):
    found = first_rise(rising_in((1, 2.6), (9, math.inf)), start)
    assert found.island == (start > 9)
    assert found.eta == pytest.approx(1, rel=1 / 16)


def test_without_a_scan_doubling_steps_over_an_island():
    loss = rising_in((4.1, 7), (9, math.inf))
    assert first_rise(loss, 1.0, scan=False).eta == pytest.approx(9, rel=1 / 16)
    assert first_rise(loss, 1.0, scan=True).eta == pytest.approx(4.1, rel=1 / 16)


def test_a_loss_that_never_rises_is_censored_high():
    found = first_rise(lambda eta: math.exp(-eta), 1.0)
    assert (found.eta, found.censored, found.forwards) == (math.inf, "high", 42)


def test_a_loss_that_rises_everywhere_is_censored_low():
    found = first_rise(lambda eta: 1.0 if eta else 0.5, 1.0)
    assert (found.eta, found.censored) == (0.0, "low")


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_counts_as_a_rise(beyond):
    found = first_rise(lambda eta: beyond if eta > 0.3 else 1 - eta, 1.0)
    assert found.eta == pytest.approx(0.3, rel=1 / 16)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_from_a_loss_that_is_not_finite_nothing_is_searched(loss):
    found = first_rise(lambda eta: loss, 1.0)
    assert math.isnan(found.eta)
    assert (found.censored, found.forwards) == ("", 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_last_digits_of_a_float32_loss_are_no_rise(seed):
    """Near convergence the loss falls by less than float32 shows, and its last digits jitter."""
    rng = np.random.default_rng(seed)

    def loss(eta):
        exact = np.float32(1 + 1e-9 * eta * (eta - 1))
        return float(exact + rng.integers(-2, 3) * np.spacing(np.float32(1)))

    assert first_rise(loss, 1e-3).eta > 1

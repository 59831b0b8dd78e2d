import math
from itertools import product

import numpy as np
import pytest

from sharpness_phases.analysis.boundaries import boundary, quantile, side_of

NAN = math.nan


def value(*constants):
    """The boundary of constants, among which "low" and "high" are censored."""
    known = [NAN if isinstance(c, str) else c for c in constants]
    return boundary(known, [c if isinstance(c, str) else "" for c in constants]).value


def test_a_boundary_is_the_median_over_initialisations_of_log2_c():
    assert value(1.0, 2.0, 6.0) == 2.0
    assert value(2.0, 8.0) == 4.0


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("c", [2.0**0.1, 2.0**1.7, 3.3, 1 / 3])
def test_of_equal_constants_it_is_that_constant_to_the_last_bit(n, c):
    assert set(boundary([c] * n, [""] * n)) == {c}


def test_halfway_between_points_of_the_grid_it_is_a_point_of_the_grid_to_the_last_bit():
    for low, gap in product(range(-10, 60), range(1, 8)):
        x = [round(0.1 * low, 10), round(0.1 * (low + 2 * gap), 10)]
        assert value(2.0 ** x[0], 2.0 ** x[1]) == 2.0 ** round(0.1 * (low + gap), 10)


def test_a_censored_initialisation_counts_as_below_or_above_all_that_are_known():
    assert value(1.0, 2.0, "high") == 2.0
    assert value(1.0, 2.0, "low") == 1.0
    assert value(3.0, "high", "high") == math.inf
    assert value(3.0, "low", "low") == 0.0
    assert value("low", 3.0, "high") == 3.0


def test_between_a_known_and_a_censored_initialisation_the_median_is_censored():
    assert value(8.0, "low") == 0.0
    assert value(8.0, "high") == math.inf
    assert value(2.0, 3.0, "high", "high") == math.inf


def test_between_low_and_high_it_is_low_the_cautious_side():
    assert value("low", "high") == 0.0


def test_quartiles_are_those_of_numpy_in_log2_c():
    rng = np.random.default_rng(0)
    for n in range(1, 9):
        c = 2.0 ** rng.uniform(-1, 6, n)
        expected = 2.0 ** np.quantile(np.log2(c), [0.5, 0.25, 0.75])
        np.testing.assert_allclose(boundary(c.tolist(), [""] * n), expected, rtol=1e-9)


def test_a_quartile_may_be_censored_where_the_boundary_is_known():
    found = boundary([NAN, NAN, 2.0, 3.0, 4.0, 5.0], ["low", "low", "", "", "", ""])
    assert [side_of(place) for place in found] == ["", "low", ""]


def test_what_was_not_measured_does_not_count():
    assert boundary([NAN, 3.0], ["", ""]).value == 3.0
    assert math.isnan(boundary([NAN], [""]).value)
    assert math.isnan(quantile([], 0.5))
    assert side_of(NAN) == ""


def test_no_initialisations_have_no_boundary():
    with pytest.raises(ValueError, match="at least one"):
        boundary([], [])

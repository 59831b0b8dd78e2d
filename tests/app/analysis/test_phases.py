import math

import pytest

from sharpness_phases.analysis.phases import Phase, boundary, classify


@pytest.mark.parametrize(
    ("c", "phase"),
    [
        (1.0, Phase.SHARPNESS_REDUCTION),
        (2.0, Phase.LOSS_CATAPULT),
        (3.9, Phase.LOSS_CATAPULT),
        (4.0, Phase.LOSS_AND_SHARPNESS_CATAPULT),
        (10.0, Phase.LOSS_AND_SHARPNESS_CATAPULT),
        (10.1, Phase.DIVERGENT),
    ],
)
def test_boundaries_belong_to_the_phase_that_the_definitions_give(c, phase):
    assert classify(c, c_loss=2.0, c_sharp=4.0, c_max=10.0) is phase


def test_censored_boundaries_leave_phases_out():
    assert classify(100.0, math.inf, math.inf, math.inf) is Phase.SHARPNESS_REDUCTION
    assert classify(0.1, 0.0, 0.0, 10.0) is Phase.LOSS_AND_SHARPNESS_CATAPULT
    assert classify(5.0, 2.0, math.inf, 10.0) is Phase.LOSS_CATAPULT


@pytest.mark.parametrize("c", [0.0, -1.0, math.nan])
def test_c_must_be_above_zero(c):
    with pytest.raises(ValueError, match="`c`"):
        classify(c, 2.0, 4.0, 10.0)


def test_unknown_constants_are_refused():
    with pytest.raises(ValueError, match="known"):
        classify(1.0, math.nan, 4.0, 10.0)


def test_a_boundary_is_the_mean_over_initialisations():
    assert boundary([1.0, 2.0, 6.0], ["", "", ""]) == 3.0


def test_with_censored_initialisations_it_is_the_median():
    assert boundary([1.0, 2.0, math.nan], ["", "", "high"]) == 2.0
    assert boundary([3.0, math.nan, math.nan], ["", "high", "high"]) == math.inf
    assert boundary([3.0, math.nan, math.nan], ["", "low", "low"]) == 0.0
    assert boundary([4.0, math.nan], ["", "low"]) == 2.0

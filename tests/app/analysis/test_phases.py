import math

import pytest

from sharpness_phases.analysis.phases import Phase, classify


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
    assert classify(5.0, math.inf, 2.0, 10.0) is Phase.EARLY_SHARPENING
    assert classify(0.1, 0.0, 0.0, 0.0) is Phase.DIVERGENT


def test_where_the_sharpness_rises_and_the_loss_never_does_it_is_early_sharpening_and_no_catapult():
    phases = [classify(c, c_loss=4.0, c_sharp=2.0, c_max=10.0) for c in (1.9, 2.0, 3.9, 4.0, 10.0)]
    both = Phase.LOSS_AND_SHARPNESS_CATAPULT
    assert phases == [Phase.SHARPNESS_REDUCTION, Phase.EARLY_SHARPENING, Phase.EARLY_SHARPENING, both, both]


def test_divergence_wins_over_all_other_phases():
    assert classify(5.0, c_loss=6.0, c_sharp=7.0, c_max=4.0) is Phase.DIVERGENT
    assert classify(5.0, c_loss=1.0, c_sharp=2.0, c_max=4.0) is Phase.DIVERGENT


@pytest.mark.parametrize("c", [0.0, -1.0, math.nan])
def test_c_must_be_above_zero(c):
    with pytest.raises(ValueError, match="`c`"):
        classify(c, 2.0, 4.0, 10.0)


def test_unknown_constants_are_refused():
    with pytest.raises(ValueError, match="known"):
        classify(1.0, math.nan, 4.0, 10.0)

import numpy as np
import pandas as pd
import pytest

from sharpness_phases.analysis.audit import verdict

RIGHT = {
    "stored": 1.0,
    "truth": 1.0,
    "residual": 1e-4,
    "converged": True,
    "limit": np.nan,
    "said": False,
    "loss": 0.5,
    "loss_again": 0.5,
}
ESTIMATE = {"residual": np.nan, "converged": False, "limit": 1.2}


def found(*rows):
    return verdict(pd.DataFrame([RIGHT | row for row in rows]))


def of(kind, *rows):
    (errors,) = [errors for errors in found(*rows).errors if errors.kind == kind]
    return errors


def test_the_errors_of_converged_sharpnesses_are_those_that_count():
    rows = [{"stored": 1 + error} for error in (0.0, 2e-4, 4e-4)]
    errors = of("converged", *rows, {"stored": 1.5, "converged": False})
    assert (errors.number, errors.beyond) == (3, 0)
    assert errors.median == pytest.approx(2e-4)
    assert errors.largest == pytest.approx(4e-4)
    assert found(*rows).holds


def test_a_converged_sharpness_that_is_off_by_more_than_it_claims_is_found():
    result = found({"stored": 1.002}, {})
    assert result.errors[0].beyond == 1
    assert not result.holds


def test_a_sharpness_of_zero_that_is_zero_is_right():
    assert found({"stored": 0.0, "truth": 0.0}).errors[0].largest == 0


def test_what_says_that_it_did_not_converge_claims_nothing():
    result = found({"stored": 0.3, "converged": False})
    assert result.holds
    assert of("not converged", {"stored": 0.3, "converged": False}).largest == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("row", "wrong", "near"),
    [
        ({"truth": 1.19}, 0, 0),  # below, as was said
        ({"truth": 1.3}, 1, 0),  # hidden
        ({"truth": 1.2005}, 0, 1),
        ({"truth": 1.3, "said": True}, 0, 0),  # said at a later step
        ({"truth": 1.1, "stored": 1.25, "said": True}, 1, 0),  # invented
    ],
)
def test_decisions_on_the_wrong_side_are_counted_and_told_from_those_at_the_threshold(row, wrong, near):
    result = found(ESTIMATE | row)
    assert (result.decisions, result.wrong, result.near) == (1, wrong, near)
    assert result.holds is (wrong == 0)


def test_runs_that_went_another_way_are_not_counted():
    result = found({"loss_again": 0.6, "stored": 7.0}, {})
    assert result.not_repeated == 1
    assert result.errors[0].number == 1
    assert result.holds


def test_sharpnesses_that_were_measured_loosely_claim_less():
    loosely = pd.DataFrame([RIGHT | {"stored": 1.002}])
    assert verdict(loosely, claim=1e-2).holds
    assert not verdict(loosely).holds

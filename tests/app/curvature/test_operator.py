import numpy as np
import pytest

from sharpness_phases.curvature.operator import EigenResult


def result(eigenvalue=2.0, converged=False):
    return EigenResult(eigenvalue, np.ones(1), residual=0.5, error=0.1, converged=converged, hvps=100)


def test_a_result_that_converged_has_no_failure():
    assert result(converged=True).failure() is None


@pytest.mark.parametrize("eigenvalue", [2.0, -2.0])
def test_a_failure_tells_products_residual_and_what_was_wanted(eigenvalue):
    said = result(eigenvalue).failure("lambda_0", "sharpness.tolerance 1.0e-03")
    assert said == "after 100 products the residual of lambda_0 is 2.5e-01 of it, above sharpness.tolerance 1.0e-03"


def test_a_failure_by_nan_is_not_blamed_on_the_residual():
    assert "a product gave NaN or infinity" in result(float("nan")).failure()


def test_a_failure_at_eigenvalue_zero_is_said_without_a_division():
    assert "inf of it" in result(0.0).failure()

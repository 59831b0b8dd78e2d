import numpy as np
import pytest

from sharpness_phases.curvature.reference import BASIS, largest_eigenvalue


def with_eigenvalues(values, seed=0):
    """A dense symmetric matrix with these eigenvalues."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return (basis * values) @ basis.T


CLOSE = np.concatenate([np.linspace(-5, 0.5, 195), [0.9, 0.99, 0.998, 0.999, 1.0]])


@pytest.mark.parametrize("values", [[2.0], [-3.0, -1.0], np.linspace(-1, 1, BASIS + 1), CLOSE, 1e-30 * CLOSE])
def test_the_largest_eigenvalue_is_that_of_the_dense_matrix(values):
    matrix = with_eigenvalues(np.asarray(values))
    found = largest_eigenvalue(lambda v: matrix @ v, len(values))
    largest = np.linalg.eigvalsh(matrix)[-1]
    assert abs(found.eigenvalue - largest) <= 1e-5 * abs(largest)
    assert found.error <= 1e-5 * abs(largest)


def test_a_product_that_is_not_finite_gives_no_number():
    assert np.isnan(largest_eigenvalue(lambda v: np.full(5, np.nan), 5).eigenvalue)


def test_it_gives_up_after_the_products_that_it_may_take():
    matrix = with_eigenvalues(CLOSE)
    found = largest_eigenvalue(lambda v: matrix @ v, len(CLOSE), max_products=3)
    assert found.products == 6
    assert found.error > 1e-5

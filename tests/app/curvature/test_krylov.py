import numpy as np
import pytest
import tensorflow as tf
from problems import matvec_of, symmetric

from sharpness_phases.curvature import krylov
from sharpness_phases.curvature.krylov import KrylovBasis, largest_size

VALUES = np.concatenate([[10.0, 7.0], np.linspace(0, 3, 10)])


def basis_of(matrix, count, size=8, reorthogonalise=True):
    start = tf.constant(np.random.default_rng(0).standard_normal(len(matrix)))
    basis = KrylovBasis.begin(start, size)
    for _ in range(count):
        basis = basis.extended(matvec_of(matrix)(basis.following), tf.constant(reorthogonalise))
    return basis


def vectors_of(basis):
    return np.stack([basis.vectors.read(i).numpy() for i in range(int(basis.count))])


@pytest.mark.parametrize("reorthogonalise", [True, False])
def test_the_vectors_are_orthonormal_and_reduce_the_matrix_to_tridiagonal_form(reorthogonalise):
    matrix = symmetric(VALUES)
    basis = basis_of(matrix, 5, reorthogonalise=reorthogonalise)
    q = vectors_of(basis)
    np.testing.assert_allclose(q @ q.T, np.eye(5), atol=1e-9)
    alphas, betas = basis.alphas.numpy()[:5], basis.betas.numpy()[:4]
    expected = np.diag(alphas) + np.diag(betas, 1) + np.diag(betas, -1)
    np.testing.assert_allclose(q @ matrix @ q.T, expected, atol=1e-9)


def test_the_largest_ritz_pair_has_the_residual_and_the_error_it_says():
    matrix = symmetric(VALUES)
    basis = basis_of(matrix, 6)
    theta, weights, residual, error, _ = basis.largest_ritz_pair()
    v = basis.combination(weights).numpy()
    assert v @ matrix @ v == pytest.approx(float(theta))
    assert float(residual) == pytest.approx(np.linalg.norm(matrix @ v - float(theta) * v))
    assert abs(float(theta) - 10) <= float(error) < float(residual)


def test_one_vector_has_its_residual_for_its_error():
    pair = basis_of(symmetric(VALUES), 1).largest_ritz_pair()
    assert pair.error == pair.residual


def test_only_a_full_basis_is_restarted_and_from_the_vector_that_is_given():
    matrix = symmetric(VALUES)
    filling, full = basis_of(matrix, 3, size=4), basis_of(matrix, 4, size=4)
    kept = filling.restarted_when_full(filling.largest_ritz_pair().weights)
    assert int(kept.count) == 3
    np.testing.assert_array_equal(kept.following, filling.following)
    pair = full.largest_ritz_pair()
    begun = full.restarted_when_full(pair.weights)
    assert int(begun.count) == 0
    again = begun.extended(matvec_of(matrix)(begun.following), tf.constant(False)).largest_ritz_pair()
    assert float(again.value) == pytest.approx(float(pair.value))
    assert float(again.residual) == pytest.approx(float(pair.residual))


@pytest.mark.parametrize(("wanted", "bytes_allowed", "expected"), [(32, 2**31, 12), (5, 2**31, 5), (32, 800, 8)])
def test_a_basis_is_bounded_by_its_wish_the_dimension_and_bytes(wanted, bytes_allowed, expected, monkeypatch):
    monkeypatch.setattr(krylov, "BASIS_BYTES", bytes_allowed)
    assert largest_size(tf.zeros(12, tf.float64), wanted) == expected

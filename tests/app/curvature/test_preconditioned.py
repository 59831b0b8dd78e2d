import numpy as np
import pytest
import tensorflow as tf
from problems import matvec_of, symmetric

from sharpness_phases import Lanczos
from sharpness_phases.curvature.operator import Linearization
from sharpness_phases.curvature.preconditioned import PreconditionedOperator, participation_ratio


class Constant:
    """A Hessian that is the same everywhere."""

    size, dtype = 6, tf.float64

    def __init__(self, matrix, gradient):
        self.matrix, self.gradient = matrix, tf.constant(gradient)

    def linearize(self):
        zero = tf.zeros([], tf.float64)
        return Linearization(zero, self.gradient, matvec_of(self.matrix), zero)


HESSIAN, P = symmetric([5.0, 3.0, 1.0, 0.5, -0.3, -9.0]), np.array([1e-3, 0.1, 1.0, 2.0, 30.0, 4e2])
GRADIENT = np.arange(1.0, 7.0)


def preconditioned(diagonal=P):
    return PreconditionedOperator(Constant(HESSIAN, GRADIENT), lambda gradient: tf.constant(diagonal))


def test_it_has_the_eigenvalues_of_the_hessian_divided_by_the_preconditioner():
    here = preconditioned().linearize()
    dense = np.stack([here.matvec(tf.constant(unit)).numpy() for unit in np.eye(6)])
    np.testing.assert_allclose(dense, dense.T, rtol=1e-12)
    expected = np.sort(np.linalg.eigvals(HESSIAN / P[:, None]).real)
    np.testing.assert_allclose(np.linalg.eigvalsh(dense), expected, rtol=1e-9)
    found = Lanczos(1e-8).solve(here.matvec, tf.constant(GRADIENT)).to_python()
    assert found.eigenvalue == pytest.approx(expected[-1], rel=1e-7)
    assert found.converged


def test_its_gradient_is_that_in_the_coordinates_of_plain_descent():
    np.testing.assert_allclose(preconditioned().linearize().gradient, GRADIENT / np.sqrt(P), rtol=1e-12)


def test_the_preconditioner_is_asked_at_every_linearisation_with_the_gradient_there():
    scale, seen = tf.Variable(1.0, dtype=tf.float64), []
    hessian = Constant(np.eye(6), GRADIENT)

    def diagonal(gradient):
        seen.append(gradient.numpy())
        return scale * tf.ones(6, tf.float64)

    operator = PreconditionedOperator(hessian, diagonal)
    for value in (1.0, 4.0):
        scale.assign(value)
        np.testing.assert_allclose(operator.linearize().matvec(tf.ones(6, tf.float64)), 1 / value)
    np.testing.assert_array_equal(seen, [GRADIENT, GRADIENT])


@pytest.mark.parametrize(("alike", "ratio"), [(1, 0.1), (5, 0.5), (10, 1.0)])
def test_the_participation_ratio_is_the_share_of_coordinates_that_take_part(alike, ratio):
    vector = np.where(np.arange(10) < alike, -1.0, 0.0) / np.sqrt(alike)
    assert participation_ratio(vector) == pytest.approx(ratio)
    assert np.isnan(participation_ratio(np.full(3, np.nan)))

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of, symmetric

from sharpness_phases.curvature.gradient_differences import DifferenceOperator, require_products, with_doubt
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import EigenResult
from sharpness_phases.curvature.preconditioned import PreconditionedOperator
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.training.objective import Objective

RIGHT = {"float32": 1e-3, "float64": 1e-8}
"""Relative error of products of smooth losses: ten and a hundred times what is found."""


def network_of(activation, dtype):
    layers = [keras.layers.Dense(8, activation, bias_initializer="random_normal", dtype=dtype) for _ in range(2)]
    return keras.Sequential([keras.Input((6,), dtype=dtype), *layers, keras.layers.Dense(3, dtype=dtype)])


def problem(dtype, loss="xent", activation="tanh", chunk_size=None):
    """A network's operator by differences, and its dense Hessian in float64."""
    x, y = classification(24)
    keras.utils.set_random_seed(0)
    network, double = network_of(activation, dtype), network_of(activation, "float64")
    double.set_weights(network.get_weights())
    exact = dense_hessian(operator_of(double, build_loss(loss, "float64"), x, y))
    objective = Objective(network, build_loss(loss, dtype))
    return objective.hessian(x.astype(dtype), y.astype(dtype), chunk_size, products="differences"), exact


def directions(exact):
    """The top eigenvector, which the step is not chosen for, and a random vector of another length."""
    yield np.linalg.eigh(exact)[1][:, -1]
    yield 30 * np.random.default_rng(0).standard_normal(len(exact))


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize("loss", ["mse", "xent"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_the_dense_hessian_of_a_smooth_loss(dtype, loss, activation):
    operator, exact = problem(dtype, loss, activation)
    here = operator.linearize()
    for vector in directions(exact):
        assert relative(here.matvec(tf.constant(vector, dtype)).numpy(), exact @ vector) < RIGHT[dtype]


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.long)], ids=["graph", "XLA"])
@pytest.mark.parametrize("chunk_size", [pytest.param(None, marks=pytest.mark.slow), 7])
def test_the_top_eigenvalue_is_found_in_graphs_and_in_chunks(chunk_size, compiled):
    operator, exact = problem("float32", chunk_size=chunk_size)
    start = tf.constant(np.random.default_rng(1).standard_normal(operator.size), tf.float32)
    solve = tf.function(
        lambda: Lanczos().solve(operator.linearize().matvec, start), jit_compile=compiled, autograph=False
    )
    result = solve().to_python()
    assert result.eigenvalue == pytest.approx(np.linalg.eigvalsh(exact)[-1], rel=1e-3)
    assert result.converged


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_doubt_of_a_product_is_of_the_size_of_its_error(dtype):
    operator, exact = problem(dtype)
    here = operator.linearize()
    for vector in directions(exact):
        error = np.linalg.norm(here.matvec(tf.constant(vector, dtype)).numpy() - exact @ vector)
        doubt = np.linalg.norm(here.doubt(tf.constant(vector, dtype)).numpy())
        assert error / 3 < doubt < RIGHT[dtype] * np.linalg.norm(exact @ vector)


def test_kinks_between_both_points_are_seen_by_the_doubt():
    operator, exact = problem("float32", activation="relu")
    here = operator.linearize()
    for vector in directions(exact):
        error = np.linalg.norm(here.matvec(tf.constant(vector, tf.float32)).numpy() - exact @ vector)
        assert error < 4 * np.linalg.norm(here.doubt(tf.constant(vector, tf.float32)).numpy())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_step_follows_the_size_of_the_weights(scale):
    theta = tf.Variable(tf.constant([0.3, -0.2, 0.5]) * scale)
    operator = DifferenceOperator(lambda x, y: tf.reduce_sum(tf.exp(theta / scale)), [theta], tf.zeros(1), tf.zeros(1))
    product = operator.linearize().matvec(tf.constant([1.0, 2.0, 3.0])).numpy()
    expected = np.exp([0.3, -0.2, 0.5]) * [1, 2, 3] / scale**2
    assert relative(product, expected) < 1e-3


def test_weights_that_are_zero_and_a_gradient_that_is_are_no_obstacle():
    theta = tf.Variable(tf.zeros(3))
    operator = DifferenceOperator(lambda x, y: tf.reduce_sum(tf.cos(theta)), [theta], tf.zeros(1), tf.zeros(1))
    product = operator.linearize().matvec(tf.constant([1.0, 2.0, 3.0])).numpy()
    np.testing.assert_allclose(product, [-1, -2, -3], rtol=1e-3)
    assert not np.any(operator.linearize().matvec(tf.zeros(3)).numpy())


def test_an_operation_without_a_second_derivative_is_multiplied_with():
    theta = tf.Variable(tf.constant([0.5, -1.5], tf.float64))
    operator = DifferenceOperator(  # softsign's gradient has no gradient; (x / (1 + x))'' = -2 / (1 + x)^3 for x > 0
        lambda x, y: tf.reduce_sum(tf.raw_ops.Softsign(features=theta)), [theta], tf.zeros(1), tf.zeros(1)
    )
    found = operator.linearize().matvec(tf.ones(2, tf.float64)).numpy()
    np.testing.assert_allclose(found, [-2 / 1.5**3, 2 / 2.5**3], rtol=1e-7)


def test_variables_are_read_whichever_way_a_loss_reads_them():
    table, scale = tf.Variable(tf.random.stateless_normal([5, 2], [0, 0])), tf.Variable(0.7)
    traced = tf.function(lambda rows: scale * rows)
    traced(tf.zeros([1, 2]))  # before: its graph holds the variable itself

    def loss(x, y):
        return tf.reduce_mean(tf.exp(traced(tf.gather(table, x))))

    x = tf.constant([0, 3, 3, 1])
    operator = DifferenceOperator(loss, [table, scale], x, x)
    vector = np.random.default_rng(0).standard_normal(11)
    rows, a = table.numpy().astype(np.float64), float(scale)

    def gradient(moved):
        values, b = rows + moved[:10].reshape(5, 2), a + moved[10]
        of_rows = np.exp(b * values[x.numpy()]) / 8
        of_table = np.zeros((5, 2))
        np.add.at(of_table, x.numpy(), b * of_rows)
        return np.append(of_table.ravel(), np.sum(of_rows * values[x.numpy()]))

    expected = (gradient(1e-5 * vector) - gradient(-1e-5 * vector)) / 2e-5
    assert relative(operator.linearize().matvec(tf.constant(vector, tf.float32)).numpy(), expected) < 1e-3


def test_variables_never_move_not_even_where_a_moved_one_ends_in_an_exception():
    theta = tf.Variable([1.0, 2.0])
    before = theta.numpy()

    def loss(x, y):
        with tf.control_dependencies([tf.debugging.assert_equal(theta, before, "moved")]):
            return tf.reduce_sum(tf.exp(theta))

    operator = DifferenceOperator(loss, [theta], tf.zeros(1), tf.zeros(1))
    for product in (operator.linearize, tf.function(lambda: operator.linearize().matvec(tf.ones(2)))):
        with pytest.raises(tf.errors.InvalidArgumentError, match="moved"):
            product()
        np.testing.assert_array_equal(theta.numpy(), before)


def test_a_step_of_training_is_seen_by_the_next_linearisation():
    theta = tf.Variable([2.0])
    operator = DifferenceOperator(lambda x, y: tf.reduce_sum(theta**3), [theta], tf.zeros(1), tf.zeros(1))
    product = tf.function(lambda: operator.linearize().matvec(tf.ones(1)), autograph=False)
    assert product().numpy() == pytest.approx([12.0], rel=1e-3)
    theta.assign([5.0])
    assert product().numpy() == pytest.approx([30.0], rel=1e-3)


def test_a_preconditioned_operator_scales_products_and_their_doubt():
    operator, exact = problem("float64")
    diagonal = np.random.default_rng(0).uniform(0.1, 10, operator.size)
    here = PreconditionedOperator(operator, lambda gradient: tf.constant(diagonal)).linearize()
    vector = np.random.default_rng(1).standard_normal(operator.size)
    expected = exact @ (vector / np.sqrt(diagonal)) / np.sqrt(diagonal)
    assert relative(here.matvec(tf.constant(vector)).numpy(), expected) < 1e-8
    assert np.linalg.norm(here.doubt(tf.constant(vector)).numpy()) < 1e-7 * np.linalg.norm(expected)


@pytest.mark.parametrize(("noise", "converged"), [(1e-4, True), (1e-2, False)])
def test_a_result_has_converged_only_if_products_are_as_exact_as_was_asked_for(noise, converged):
    matrix = symmetric([4.0, 1.0, 0.5])
    found = Lanczos().solve(lambda v: tf.linalg.matvec(tf.constant(matrix), v), tf.ones(3, tf.float64))
    assert found.converged
    doubted = with_doubt(found, noise * 4 * found.eigenvector, 1e-3).to_python()
    assert doubted.converged is converged
    assert doubted.residual == pytest.approx(noise * 4, abs=1e-6)
    assert doubted.error >= noise * 4 * (1 - 1e-6)


def test_what_is_not_known_does_not_converge():
    nothing = EigenResult(*(tf.constant(float("nan")) for _ in range(4)), tf.constant(False), tf.constant(1))
    assert not with_doubt(nothing, tf.constant([float("nan")]), 1e-3).to_python().converged


def test_another_word_for_products_is_refused():
    assert require_products("differences") == "differences"
    with pytest.raises(ValueError, match=r"'exact', 'differences'.*'finite'"):
        require_products("finite")

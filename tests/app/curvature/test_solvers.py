"""Promises that both solvers keep, on matrices and networks with known eigenvalues."""

from functools import cache

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import classification, dense_hessian, matvec_of, operator_of, symmetric

from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Aim
from sharpness_phases.curvature.power import PowerIteration
from sharpness_phases.curvature.starts import RandomStarts, least_overlap
from sharpness_phases.models import FCN
from sharpness_phases.sweep.losses import LOSSES, build_loss

SPECTRA = {
    "positive": np.concatenate([[10.0, 7.0], np.linspace(0, 3, 40)]),
    "largest modulus negative": np.concatenate([[-20.0, 5.0], np.linspace(-1, 2, 40)]),
    "all negative": np.concatenate([[-1.0], np.linspace(-30, -10, 40)]),
}

SOLVERS = {"lanczos": Lanczos(), "power": PowerIteration(iterations=2000, tolerance=1e-4)}


def solve(solver, matrix, start=None, compiled=False, threshold=np.nan, **overlaps):
    start = np.random.default_rng(1).standard_normal(len(matrix)) if start is None else start
    solve_of = traced(type(solver), tuple(vars(solver).items()), compiled, tuple(overlaps.items()))
    return solve_of(*(tf.constant(given, start.dtype) for given in (matrix, start, threshold))).to_python()


@cache
def traced(kind, settings, compiled, overlaps):
    """The solver as a function of the matrix, the start and the threshold: traced once for all matrices of a size."""
    solver, aim = kind(**dict(settings)), Aim(**dict(overlaps))

    def solve_of(matrix, start, threshold):
        return solver.solve(lambda v: tf.linalg.matvec(matrix, v), start, aim._replace(threshold=threshold))

    return tf.function(solve_of, jit_compile=compiled, autograph=False)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "XLA"])
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_largest_algebraic_eigenvalue_is_found(solver, spectrum, compiled):
    values = SPECTRA[spectrum]
    matrix = symmetric(values)
    result = solve(SOLVERS[solver], matrix, compiled=compiled)
    assert result.eigenvalue == pytest.approx(values.max(), rel=1e-3)
    assert result.converged
    v = result.eigenvector
    assert np.linalg.norm(v) == pytest.approx(1.0)
    assert v @ matrix @ v == pytest.approx(result.eigenvalue, rel=1e-6)
    assert result.residual == pytest.approx(np.linalg.norm(matrix @ v - result.eigenvalue * v), rel=0.05, abs=1e-9)


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("solver", ["lanczos", "power"])
def test_outside_a_graph_the_same_is_found(solver, spectrum):
    matrix = symmetric(SPECTRA[spectrum])
    start = np.random.default_rng(1).standard_normal(len(matrix))
    chosen = {"lanczos": Lanczos(basis_size=6), "power": PowerIteration()}[solver]
    eager = chosen.solve(matvec_of(matrix), tf.constant(start)).to_python()
    graph = solve(chosen, matrix, start)
    assert eager.eigenvalue == pytest.approx(graph.eigenvalue, rel=1e-9)
    assert eager.hvps == graph.hvps


@cache
def network_problem(loss, negative):
    """A network's Hessian operator and all eigenvalues of the dense Hessian."""
    network = FCN(width=6, depth=3, dtype="float64").build((6,), 3, seed=2)
    x, y = classification(24)
    keras_loss = build_loss(loss, "float64")
    sign = -1.0 if negative else 1.0  # of the loss: turns the Hessian's largest eigenvalue into its most negative one
    operator = operator_of(network, lambda y, f: sign * keras_loss(y, f), x, y)
    return operator, np.linalg.eigvalsh(dense_hessian(operator))


@pytest.mark.parametrize(
    "negative",
    [pytest.param(False, id="as drawn", marks=pytest.mark.slow), pytest.param(True, id="largest modulus negative")],
)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_sharpness_of_a_network_agrees_with_its_dense_hessian(solver, loss, negative):
    operator, values = network_problem(loss, negative)
    if negative:
        assert values[0] < -1.5 * values[-1]
    at = operator.linearize()
    result = tf.function(SOLVERS[solver].solve, autograph=False)(at.matvec, at.gradient + 0.01).to_python()
    assert result.eigenvalue == pytest.approx(values[-1], rel=1e-3)


@pytest.mark.parametrize("solver", [Lanczos(), PowerIteration()], ids=["lanczos", "power"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_operator_with_nan_gives_nan(solver, bad):
    matrix = symmetric([3.0, 2.0, 1.0])
    matrix[0, 0] = bad
    result = solve(solver, matrix)
    assert np.isnan(result.eigenvalue)
    assert not result.converged


@pytest.mark.parametrize("solver", [Lanczos(), PowerIteration()], ids=["lanczos", "power"])
def test_a_zero_operator_has_eigenvalue_zero(solver):
    assert solve(solver, np.zeros((5, 5))).eigenvalue == 0.0


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_one_by_one_operator_is_solved(solver):
    assert solve(SOLVERS[solver], np.array([[-4.0]])).eigenvalue == pytest.approx(-4.0)


SIZES = (2, 3, 12)
"""Of matrices that are drawn: each is traced once."""


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(SIZES).flatmap(lambda size: st.lists(st.floats(-100, 100), min_size=size, max_size=size)),
    st.integers(0, 1000),
)
def test_lanczos_never_exceeds_the_largest_eigenvalue_and_keeps_its_residual_bound(values, seed):
    result = solve(Lanczos(), symmetric(values, seed))
    scale = max(1.0, np.abs(values).max())
    assert result.eigenvalue <= max(values) + 1e-9 * scale
    assert np.min(np.abs(np.array(values) - result.eigenvalue)) <= result.residual + 1e-9 * scale


def test_lanczos_stops_at_its_residual():
    matrix = symmetric(SPECTRA["positive"])
    loose, tight = (solve(Lanczos(tolerance=tolerance), matrix) for tolerance in (1e-1, 1e-6))
    assert loose.hvps < tight.hvps
    assert loose.residual <= 1e-1 * loose.eigenvalue
    assert tight.residual <= 1e-6 * tight.eigenvalue


def test_lanczos_needs_fewer_products_from_a_good_start():
    matrix = symmetric(SPECTRA["positive"])
    cold = solve(Lanczos(), matrix)
    assert solve(Lanczos(), matrix, start=cold.eigenvector).hvps == 1


def near_the_top(matrix, share=0.02):
    """The top eigenvector with a share of all others."""
    _, vectors = np.linalg.eigh(matrix)
    return vectors[:, -1] + share * vectors[:, :-1].sum(axis=1)


def from_random(solver, matrix, index=0, compiled=False, scale=1.0, towards=None, **options):
    """Solve from a random start whose overlap is known, or from its sum with a unit vector."""
    size = len(matrix)
    start = RandomStarts(size, tf.float32, seed=0)[index].numpy()
    start = start if towards is None else start + towards.astype(np.float32)
    matrix = (scale * matrix).astype(np.float32)
    overlap = float(least_overlap(size) / np.linalg.norm(start))
    return solve(solver, matrix, start, compiled, least_overlap=overlap, **options)


OVERTAKEN = np.concatenate([[1.0, 0.7], np.linspace(-0.2, 0.3, 60)])
"""The second eigenvector was the first, and is still where a measurement starts."""


def second_eigenvector(matrix):
    return np.linalg.eigh(matrix)[1][:, -2]


def test_a_start_at_an_eigenvector_that_was_overtaken_hides_the_largest_eigenvalue_and_a_random_part_finds_it():
    matrix = symmetric(OVERTAKEN)
    hidden = solve(Lanczos(), matrix.astype(np.float32), second_eigenvector(matrix).astype(np.float32))
    assert hidden.eigenvalue == pytest.approx(0.7, rel=1e-3)
    found = from_random(Lanczos(), matrix, towards=second_eigenvector(matrix))
    assert found.eigenvalue == pytest.approx(1.0, rel=1e-3)
    assert found.converged


@pytest.mark.slow
@pytest.mark.parametrize("second", [0.5, 0.9, 0.99, 0.997])
def test_a_random_start_misses_the_relative_error_that_was_asked_for_as_rarely_as_it_says(second):
    matrix = symmetric(np.concatenate([[1.0, second], np.linspace(-0.9, second, 40)])).astype(np.float32)
    starts, overlap = RandomStarts(len(matrix), tf.float32, seed=0), least_overlap(len(matrix), failure=0.2)
    solver, matvec = Lanczos(tolerance=1e-3), matvec_of(matrix)
    solve_from = tf.function(
        lambda index: solver.solve(matvec, starts[index], Aim(least_overlap=overlap)), autograph=False
    )
    results = [solve_from(tf.constant(index)).to_python() for index in range(len(matrix) - 1)]
    assert all(result.converged for result in results)
    assert np.mean([abs(result.eigenvalue - 1.0) > 1e-3 for result in results]) <= 0.2


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "XLA"])
@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1e10, 1e30])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_scale_of_the_matrix_does_not_matter(solver, scale, compiled):
    matrix = symmetric(SPECTRA["positive"])
    result = from_random(SOLVERS[solver], matrix, scale=scale, compiled=compiled)
    assert result.eigenvalue == pytest.approx(10.0 * scale, rel=1e-3)
    assert result.residual == pytest.approx(from_random(SOLVERS[solver], matrix).residual * scale, rel=0.5)


@pytest.mark.parametrize("threshold", [1.05, 1.3, 5.0])
def test_below_a_threshold_is_proved_with_fewer_products_the_farther_away_it_is(threshold):
    matrix = symmetric(OVERTAKEN)
    value = from_random(Lanczos(), matrix)
    below = from_random(Lanczos(), matrix, threshold=threshold)
    assert below.eigenvalue <= threshold
    assert below.hvps < value.hvps


def test_what_the_start_hides_is_not_taken_to_lie_below_a_threshold():
    matrix = symmetric(OVERTAKEN)
    found = from_random(Lanczos(), matrix, towards=second_eigenvector(matrix), threshold=0.95)
    assert found.eigenvalue > 0.95


def test_products_of_no_symmetric_matrix_do_not_converge():
    matrix = symmetric(OVERTAKEN)
    twisted = matrix + 0.05 * np.triu(np.random.default_rng(0).standard_normal(matrix.shape), 1)
    assert from_random(Lanczos(), matrix).converged
    assert not from_random(Lanczos(), twisted).converged


def test_a_restart_forgets_nothing_of_what_was_proved():
    values = np.concatenate([[1.02], np.linspace(-1, 1, 200)])
    result = from_random(Lanczos(tolerance=1e-3, basis_size=8, max_products=1000), symmetric(values))
    assert result.converged
    assert result.hvps > 8
    assert result.eigenvalue == pytest.approx(1.02, rel=1e-3)


@cache
def of_diagonal(tolerance):
    """Lanczos iteration as a function of a matrix's diagonal and the start."""
    return tf.function(
        lambda values, start: Lanczos(tolerance=tolerance).solve(lambda v: values * v, start), autograph=False
    )


@pytest.mark.parametrize("tolerance", [4e-4, 1e-5], ids=["recurrence alone", "reorthogonalised"])
@pytest.mark.parametrize("second", [0.98, 0.9, 0.5])
def test_in_float32_rounding_does_the_top_eigenvalue_no_harm(second, tolerance):
    values = np.concatenate([[1.0, second], np.linspace(-0.2, 0.25, 100_000)]).astype(np.float32)
    start = np.random.default_rng(2).standard_normal(len(values)).astype(np.float32)
    result = of_diagonal(tolerance)(tf.constant(values), tf.constant(start)).to_python()
    assert result.converged
    assert result.eigenvalue == pytest.approx(1.0, abs=1e-5)
    assert abs(result.eigenvector[0]) == pytest.approx(1.0, abs=1e-3)


def test_without_a_second_ritz_value_the_error_is_the_residual():
    matrix = symmetric(SPECTRA["positive"])
    result = solve(Lanczos(max_products=1), matrix, near_the_top(matrix))
    assert result.error == result.residual
    assert solve(PowerIteration(), matrix).error == solve(PowerIteration(), matrix).residual


def test_lanczos_restarts_when_its_basis_is_full():
    values = np.concatenate([[1.02], np.linspace(-1, 1, 200)])
    result = solve(Lanczos(tolerance=1e-4, basis_size=8, max_products=400), symmetric(values))
    assert result.converged
    assert result.hvps > 8
    assert result.eigenvalue == pytest.approx(1.02, rel=1e-4)


def test_lanczos_gives_up_honestly():
    values = np.concatenate([[1.0001], np.linspace(-1, 1, 200)])
    result = solve(Lanczos(tolerance=1e-8, max_products=5), symmetric(values))
    assert result.hvps == 5
    assert not result.converged


@pytest.mark.parametrize(("threshold", "side"), [(9.0, True), (11.0, False), (10.5, False), (9.9, True)])
def test_a_threshold_ends_lanczos_early_on_the_right_side(threshold, side):
    matrix = symmetric(SPECTRA["positive"])
    overlap = least_overlap(len(matrix))
    result = solve(Lanczos(tolerance=1e-6), matrix, threshold=threshold, least_overlap=overlap)
    assert (result.eigenvalue > threshold) is side
    assert result.hvps < solve(Lanczos(tolerance=1e-6), matrix).hvps


def test_power_iteration_follows_the_reference_protocol_by_default():
    result = solve(PowerIteration(), symmetric(SPECTRA["positive"]))
    assert result.hvps == 21


def test_power_iteration_pays_a_second_pass_only_for_a_negative_modulus():
    matrix = symmetric(SPECTRA["largest modulus negative"])
    assert solve(PowerIteration(iterations=20), matrix).hvps == 42


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lanczos(tolerance=0), "`tolerance`"),
        (lambda: Lanczos(tolerance=1.5), "`tolerance`"),
        (lambda: Lanczos(max_products=0), "`max_products`"),
        (lambda: Lanczos(basis_size=1), "`basis_size`"),
        (lambda: PowerIteration(iterations=0), "`iterations`"),
        (lambda: PowerIteration(tolerance=0.0), "`tolerance`"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()

from fractions import Fraction
from functools import cache

import keras
import numpy as np
import pandas as pd
import pytest

from sharpness_phases.analysis.uv import (
    compare_with_exact,
    critical_loss_constant,
    exact_constants,
    recursion,
    top_eigenvalue,
)
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.models import UV
from sharpness_phases.runs.questions import Criteria
from sharpness_phases.training.losses import HalfMeanSquaredError
from sharpness_phases.training.runner import TrajectoryRunner
from sharpness_phases.training.sharpness_model import SharpnessModel

STEPS = 50
BATCHES = np.zeros((STEPS, 1), np.int64)


@cache
def trained(n, dtype, seed=0):
    """The project's training code for one network, compiled once for all c, and its initial state."""
    x, y = np.ones((1, 1), dtype), np.zeros((1, 1), dtype)
    network = UV(n, dtype=dtype).build((1,), 1, seed=seed)
    model = SharpnessModel(network, measurement=(x, y), solver=Lanczos(tolerance=1e-6), every=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=HalfMeanSquaredError(dtype=dtype), jit_compile=False)
    runner = TrajectoryRunner(model, x, y)
    return runner, runner.initial_state(network.get_weights())


def simulated(n, c, dtype):
    """A run of the project's training code, and the exact one beside it."""
    runner, initial = trained(n, dtype)
    u, v = (np.float64(weight).ravel() for weight in initial.weights)
    f_0, lambda_0 = u @ v / np.sqrt(n), (u @ u + v @ v) / n
    rate = float(np.float32(c / lambda_0))  # Keras keeps learning rates in float32
    run = runner.run(initial, rate, BATCHES)
    return run, *recursion(f_0, lambda_0, n, rate, STEPS)


@pytest.mark.parametrize("c", [0.5, *(pytest.param(c, marks=pytest.mark.slow) for c in (1.5, 2.5)), 3.5])
@pytest.mark.parametrize("n", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (64, 1024))])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [pytest.param("float64", 1e-5, marks=pytest.mark.slow), ("float32", 1e-3)]
)
def test_training_follows_the_exact_recursions(dtype, tolerance, n, c):
    run, f, trace = simulated(n, c, dtype)
    # Once f is tiny its relative error is rounding; what matters is its size beside the largest one.
    scale = np.sqrt(2 * run.loss).max()
    np.testing.assert_allclose(np.sqrt(2 * run.loss), np.abs(f), rtol=tolerance, atol=tolerance * scale)
    np.testing.assert_allclose(run.sharpness, top_eigenvalue(f, trace, n), rtol=tolerance)


@pytest.mark.parametrize("target", [0.0, 1.0, -3.0, 0.4])
def test_the_top_eigenvalue_is_that_of_the_dense_hessian(target):
    rng = np.random.default_rng(0)
    n = 5
    u, v = rng.standard_normal((2, n))
    f = u @ v / np.sqrt(n)
    gradient = np.concatenate([v, u]) / np.sqrt(n)
    swap = np.block([[np.zeros((n, n)), np.eye(n)], [np.eye(n), np.zeros((n, n))]])
    values = np.linalg.eigvalsh(np.outer(gradient, gradient) + (f - target) / np.sqrt(n) * swap)
    assert top_eigenvalue(f, (u @ u + v @ v) / n, n, target) == pytest.approx(values[-1])
    assert values.sum() == pytest.approx((u @ u + v @ v) / n)


def rises(a, c):
    """Whether the loss rises at the first step, in exact arithmetic."""
    a, c = Fraction(a), Fraction(c)
    return abs(1 - c + a * c * c) > 1


@pytest.mark.parametrize("a", [1e-300, 1e-12, 0.01, 0.1, 0.124, 0.1249999, 0.1250001, 0.126, 0.2, 0.2499, 0.25])
def test_the_loss_rises_at_the_first_step_just_above_c_loss_and_not_below(a):
    c_loss = critical_loss_constant(np.sqrt(a), 1.0, 1)
    below = np.linspace(0.001, 0.9999999, 300) * c_loss
    assert not any(rises(a, c) for c in below)
    assert rises(a, c_loss * (1 + 1e-7))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
def test_every_initialisation_has_a_c_loss_and_the_recursion_rises_there(n):
    rng = np.random.default_rng(n)
    for u, v in rng.standard_normal((200, 2, n)):
        f_0, lambda_0 = u @ v / np.sqrt(n), (u @ u + v @ v) / n
        c_loss = critical_loss_constant(f_0, lambda_0, n)
        assert 2 <= c_loss <= 8
        for c, expected in ((0.9999 * c_loss, False), (1.0001 * c_loss, True)):
            f, _ = recursion(f_0, lambda_0, n, c / lambda_0, 1)
            assert bool(abs(f[1]) > abs(f[0])) == expected


def test_c_loss_at_the_ends_of_its_range_and_where_it_jumps():
    assert critical_loss_constant(0.0, 2.0, 4) == 2.0
    assert critical_loss_constant(1.0, 2.0, 10**9) == pytest.approx(2.0)
    assert critical_loss_constant(1.0, 1.0, 8) == 4.0  # a = 1/8
    assert critical_loss_constant(1.0, 1.0, np.nextafter(8.0, 0.0)) == pytest.approx(8.0)
    assert critical_loss_constant(1.0, 1.0, 4) == 4.0  # a = 1/4


def test_a_network_without_weights_has_no_c_loss():
    with pytest.raises(ValueError, match="`lambda_0` must be above 0"):
        critical_loss_constant(0.0, 0.0, 4)


EXPONENTS = [round(-1 + 0.1 * i, 10) for i in range(51)]
GRID = [2.0**x for x in EXPONENTS]
TEN_STEPS = Criteria(steps=10)


def start(a, n=8, trace=2.0):
    """Loss and top eigenvalue of an initialisation with this a."""
    f = np.sqrt(a * n) * trace
    return f**2 / 2, float(top_eigenvalue(f, trace, n))


@pytest.mark.parametrize("a", [0.01, 0.1, 0.13, 0.15, 0.2, 0.24])
def test_the_exact_constant_on_the_grid_is_where_the_recursion_first_rises_within_all_steps(a):
    loss_0, sharpness_0 = start(a)
    found = exact_constants(loss_0, sharpness_0, 8, GRID, TEN_STEPS)["c_loss"]
    for c in GRID[: GRID.index(found.value) + 1]:
        f, _ = recursion(np.sqrt(2 * loss_0), 2.0, 8, c / sharpness_0, 10)
        assert bool(np.any(np.abs(f[1:]) > abs(f[0]))) == (c == found.value)


def test_over_ten_steps_the_loss_may_rise_at_a_smaller_c_than_at_the_first():
    loss_0, sharpness_0 = start(0.13)
    first, ten = (exact_constants(loss_0, sharpness_0, 8, GRID, Criteria(steps))["c_loss"] for steps in (1, 10))
    assert ten.value < first.value
    assert first.value == min(c for c in GRID if c > sharpness_0 / 2.0 / 0.13)


def test_an_exact_constant_outside_the_grid_is_censored_on_its_side():
    loss_0, sharpness_0 = start(0.2)
    assert exact_constants(loss_0, sharpness_0, 8, [0.5, 1.0], TEN_STEPS)["c_loss"].censored == "high"
    assert exact_constants(loss_0, sharpness_0, 8, [9.0, 10.0], TEN_STEPS)["c_loss"].censored == "low"
    assert exact_constants(0.0, 2.0, 8, GRID, TEN_STEPS)["c_loss"].censored == "high"  # no loss, nothing rises


NO_RUNS = pd.DataFrame(columns=["run_id", "c", "diverged", "width", "learning_rate", "loss", "sharpness"])


def measured(changes=(), shapes=(0.01, 0.1, 0.15, 0.2), exponents=EXPONENTS):
    """A table of constants as training would give it, but for some (row, c_loss, censored)."""
    rows = []
    for a in shapes:
        loss_0, sharpness_0 = start(a)
        c_loss = exact_constants(loss_0, sharpness_0, 8, [2.0**x for x in exponents], TEN_STEPS)["c_loss"]
        rows.append([8, loss_0, sharpness_0, c_loss.value, c_loss.censored])
    table = pd.DataFrame(rows, columns=["width", "loss_0", "lambda_0", "c_loss", "c_loss_censored"])
    for row, value, censored in changes:
        table.loc[row, ["c_loss", "c_loss_censored"]] = value, censored
    return table


def compared(table, exponents=EXPONENTS):
    return compare_with_exact(table, NO_RUNS, exponents, TEN_STEPS).iloc[0]


def test_every_initialisation_is_counted_and_one_that_is_right_misses_by_no_step():
    row = compared(measured())
    assert (row.initialisations, row.compared, row.low, row.high, row.otherwise) == (4, 4, 0, 0, 0)
    assert row.grid_steps == 0
    assert row.c_loss == row.c_loss_exact
    assert row.c_loss_first_step > 2


@pytest.mark.parametrize("steps", [-3, -1, 1, 2])
def test_a_constant_that_is_wrong_misses_by_its_steps(steps):
    right = measured().loc[2, "c_loss"]
    assert compared(measured([(2, right * 2 ** (0.1 * steps), "")])).grid_steps == abs(steps)


def test_censored_initialisations_are_held_against_the_range_of_the_grid():
    exponents = [round(1.3 + 0.1 * i, 10) for i in range(12)]
    shapes = (0.001, 0.01, 0.1, 0.15, 0.249)
    right = measured(shapes=shapes, exponents=exponents)
    sides = list(right["c_loss_censored"])
    assert set(sides) == {"low", "", "high"}
    row = compared(right, exponents)
    assert [row.compared, row.low, row.high, row.otherwise] == [*map(sides.count, ("", "low", "high")), 0]
    wrong = compared(measured([(0, np.nan, "high")], shapes, exponents), exponents)
    assert (wrong.otherwise, wrong.initialisations) == (1, 5)


def test_a_constant_that_only_rounding_decides_is_counted_and_misses_by_no_step():
    table = measured(shapes=(2e-7, 0.1))
    assert table.loc[0, "c_loss"] > 2.0  # exactly, the loss falls at c = 2, by less than float32 tells
    row = compared(measured([(0, 2.0, "")], (2e-7, 0.1)))
    assert (row.by_rounding, row.grid_steps) == (1, 0)
    assert compared(table).by_rounding == 0


@pytest.mark.parametrize("target", [0.0, 1.0, -2.0])
def test_the_recursion_is_gradient_descent_on_u_and_v(target):
    rng = np.random.default_rng(1)
    n, rate = 5, 0.3
    u, v = rng.standard_normal((2, n))
    f, trace = recursion(u @ v / np.sqrt(n), (u @ u + v @ v) / n, n, rate, 20, target)
    for t in range(21):
        assert f[t] == pytest.approx(u @ v / np.sqrt(n), rel=1e-9, abs=1e-12)
        assert trace[t] == pytest.approx((u @ u + v @ v) / n, rel=1e-9)
        error = u @ v / np.sqrt(n) - target
        u, v = u - rate * error * v / np.sqrt(n), v - rate * error * u / np.sqrt(n)


def test_the_trace_rises_at_the_first_step_above_four():
    for c, rises in ((3.99, False), (4.01, True)):
        _, trace = recursion(1.0, 2.0, 16, c / 2.0, 1)
        assert bool(trace[1] > trace[0]) == rises

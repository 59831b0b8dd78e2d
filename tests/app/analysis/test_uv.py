import keras
import numpy as np
import pytest

from sharpness_phases.analysis.uv import critical_loss_constant, recursion, top_eigenvalue
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.models import UV
from sharpness_phases.training.losses import HalfMeanSquaredError
from sharpness_phases.training.runner import TrajectoryRunner
from sharpness_phases.training.sharpness_model import SharpnessModel

STEPS = 50
BATCHES = np.zeros((STEPS, 1), np.int64)


def simulated(n, c, dtype, seed=0):
    """A run of the project's training code, and the exact one beside it."""
    x, y = np.ones((1, 1), dtype), np.zeros((1, 1), dtype)
    network = UV(n, dtype=dtype).build((1,), 1, seed=seed)
    model = SharpnessModel(network, measurement=(x, y), solver=Lanczos(tolerance=1e-6), every=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=HalfMeanSquaredError(dtype=dtype), jit_compile=False)
    runner = TrajectoryRunner(model, x, y)
    initial = runner.initial_state(network.get_weights())
    u, v = (np.float64(weight).ravel() for weight in initial.weights)
    f_0, lambda_0 = u @ v / np.sqrt(n), (u @ u + v @ v) / n
    rate = float(np.float32(c / lambda_0))  # Keras keeps learning rates in float32
    run = runner.run(initial, rate, BATCHES)
    return run, *recursion(f_0, lambda_0, n, rate, STEPS)


@pytest.mark.parametrize("c", [0.5, 1.5, 2.5, 3.5])
@pytest.mark.parametrize("n", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (64, 1024))])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-5), ("float32", 1e-3)])
def test_training_follows_the_exact_recursions(dtype, tolerance, n, c):
    run, f, trace = simulated(n, c, dtype)
    # Once f is tiny its relative error is rounding; what matters is its size beside the largest one.
    scale = np.sqrt(2 * run.loss).max()
    np.testing.assert_allclose(np.sqrt(2 * run.loss), np.abs(f), rtol=tolerance, atol=tolerance * scale)
    np.testing.assert_allclose(run.sharpness, top_eigenvalue(f, trace, n), rtol=tolerance)


def test_the_top_eigenvalue_is_that_of_the_dense_hessian():
    rng = np.random.default_rng(0)
    n = 5
    u, v = rng.standard_normal((2, n))
    f = u @ v / np.sqrt(n)
    gradient = np.concatenate([v, u]) / np.sqrt(n)
    swap = np.block([[np.zeros((n, n)), np.eye(n)], [np.eye(n), np.zeros((n, n))]])
    values = np.linalg.eigvalsh(np.outer(gradient, gradient) + f / np.sqrt(n) * swap)
    assert top_eigenvalue(f, (u @ u + v @ v) / n, n) == pytest.approx(values[-1])
    assert values.sum() == pytest.approx((u @ u + v @ v) / n)


@pytest.mark.parametrize("f_0", [0.1, 1.0, 1.9, 5.0])
@pytest.mark.parametrize("n", [8, 64, 4096])
def test_the_loss_rises_at_the_first_step_just_above_c_loss_and_not_below(f_0, n):
    lambda_0 = 2.0
    c_loss = critical_loss_constant(f_0, lambda_0, n)
    for c, rises in ((0.999 * c_loss, False), (1.001 * c_loss, True)):
        if np.isfinite(c_loss):
            f, _ = recursion(f_0, lambda_0, n, c / lambda_0, 1)
            assert bool(abs(f[1]) > abs(f[0])) == rises


def test_c_loss_tends_to_two_for_wide_networks_and_zero_output():
    assert critical_loss_constant(1.0, 2.0, 10**9) == pytest.approx(2.0)
    assert critical_loss_constant(0.0, 2.0, 4) == 2.0
    assert critical_loss_constant(3.0, 1.0, 8) == np.inf


def test_the_trace_rises_at_the_first_step_above_four():
    for c, rises in ((3.99, False), (4.01, True)):
        _, trace = recursion(1.0, 2.0, 16, c / 2.0, 1)
        assert bool(trace[1] > trace[0]) == rises

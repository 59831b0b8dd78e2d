import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.models import FCN
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.training.tracker import ESTIMATE_ERROR, SharpnessTracker, sample_size

NEVER = tf.constant(float("nan"))


class Problem:
    """A network that can be moved, with what tracks its sharpness."""

    def __init__(self, examples=1024, compiled=False, loss="mse", solver=None, **settings):
        self.network = FCN(width=8, depth=3).build((6,), 3, seed=0)
        self.variables = [v.value for v in self.network.trainable_variables]
        self.x, self.y = classification(examples, dtype=np.float32)
        self.keras_loss = build_loss(loss)
        self.tracker = SharpnessTracker(
            self.loss_and_report,
            self.variables,
            self.x,
            self.y,
            solver or Lanczos(),
            compiled=compiled,
            **settings,
        )
        self.measure = tf.function(self.tracker.measure)

    def loss_and_report(self, x, y):
        loss = self.keras_loss(y, self.network(x, training=False))
        return loss, 2 * loss

    def step(self, rate=0.5):
        with tf.GradientTape() as tape:
            loss, _ = self.loss_and_report(self.x, self.y)
        for variable, gradient in zip(self.variables, tape.gradient(loss, self.variables), strict=True):
            variable.assign_sub(rate * gradient)

    def exact(self):
        return np.linalg.eigvalsh(dense_hessian(operator_of(self.network, self.keras_loss, self.x, self.y)))[-1]


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "XLA"])
@pytest.mark.parametrize("examples", [1024, 64], ids=["with a sample", "without"])
@pytest.mark.parametrize("loss", ["mse", pytest.param("xent", marks=pytest.mark.slow)])
def test_every_measurement_along_a_run_is_the_largest_eigenvalue_of_the_dense_hessian(examples, compiled, loss):
    problem = Problem(examples, compiled, loss)
    for step in range(4):
        found = problem.measure(tf.constant(step > 0), NEVER)
        assert found.sharpness.eigenvalue.numpy() == pytest.approx(problem.exact(), rel=1e-3)
        assert found.sharpness.converged
        assert found.accuracy.numpy() == pytest.approx(2 * found.loss.numpy())
        problem.step()


def products_along_a_run(problem, warm):
    products = []
    for step in range(6):
        products.append(int(problem.measure(tf.constant(warm and step > 0), NEVER).sharpness.hvps))
        problem.step(rate=0.2)
    return products


def test_the_last_measurement_and_the_sample_save_products():
    warm, cold = (products_along_a_run(Problem(), warm) for warm in (True, False))
    without_sample = products_along_a_run(Problem(examples=100), True)
    assert sum(warm[1:]) < sum(cold[1:])
    assert sum(warm) < sum(without_sample)


class Free(Lanczos):
    """A solver whose own products are not counted."""

    def solve(self, *args, **settings):
        return super().solve(*args, **settings)._replace(hvps=tf.constant(0))


def test_products_of_the_sample_are_counted_by_their_share_along_the_run():
    problem, counted, parts = Problem(solver=Free()), 0, 0
    solve_sample = tf.function(problem.tracker.sample.solve)
    for step in range(8):
        tracker, warm = problem.tracker, tf.constant(step > 0)
        _, sample_top, _, _ = tracker.state
        parts += int(solve_sample(tf.constant(sample_top if step else 0 * sample_top)).products)
        counted += int(problem.measure(warm, NEVER).sharpness.hvps)
        problem.step(rate=0.2)
    assert counted == parts * sample_size(1024) // 1024 >= 1


@pytest.mark.parametrize(
    ("examples", "expected"), [(100, 0), (128, 32), (512, 128), (1024, 128), (2048, 128), (4096, 256)]
)
def test_the_sample_is_small_but_not_too_small(examples, expected):
    assert sample_size(examples) == expected


def test_a_restored_state_gives_the_same_bits():
    problem = Problem()
    problem.measure(tf.constant(False), NEVER)
    state = problem.tracker.state
    problem.step()
    first, other = (problem.measure(tf.constant(True), NEVER) for _ in range(2))
    assert first.sharpness.residual != other.sharpness.residual
    problem.tracker.state = state
    again = problem.measure(tf.constant(True), NEVER)
    assert again.sharpness.eigenvalue == first.sharpness.eigenvalue
    assert again.sharpness.residual == first.sharpness.residual
    assert again.sharpness.hvps == first.sharpness.hvps


def test_weights_that_are_not_finite_give_nan_and_leave_nothing_behind():
    problem = Problem()
    weights = problem.network.get_weights()
    problem.network.set_weights([np.full_like(w, np.nan) for w in weights])
    assert np.isnan(problem.measure(tf.constant(False), NEVER).sharpness.eigenvalue)
    problem.network.set_weights(weights)
    assert problem.measure(tf.constant(True), NEVER).sharpness.eigenvalue.numpy() == pytest.approx(
        problem.exact(), rel=1e-3
    )


def test_a_threshold_far_away_saves_products():
    counts = []
    for share in (float("nan"), 0.5, 2.0):
        problem = Problem()
        value = float(problem.measure(tf.constant(False), NEVER).sharpness.eigenvalue)
        problem.step(rate=0.05)
        counts.append(int(problem.measure(tf.constant(True), tf.constant(share * value)).sharpness.hvps))
    assert counts[1] < counts[0]
    assert counts[2] <= counts[0]


def moved(rate):
    """A tracker that has measured before an optimizer step, and what it found."""
    problem = Problem()
    before = problem.measure(tf.constant(False), NEVER).sharpness.eigenvalue
    problem.step(rate)
    return problem, before


def test_far_below_a_threshold_the_sample_answers_and_the_residual_says_so():
    problem, before = moved(rate=0.05)
    found = problem.measure(tf.constant(True), 4 * before)
    assert found.sharpness.eigenvalue.numpy() == pytest.approx(problem.exact(), rel=0.1)
    assert found.sharpness.residual.numpy() == pytest.approx(ESTIMATE_ERROR * found.sharpness.eigenvalue.numpy())
    assert not found.sharpness.converged
    assert found.sharpness.hvps <= 1
    assert found.loss.numpy() == problem.loss_and_report(problem.x, problem.y)[0].numpy()


@pytest.mark.parametrize("share", [0.5, 1.2, 50.0], ids=["above", "close", "below a tenth, as a fitted sample's"])
def test_elsewhere_the_whole_set_is_measured(share):
    problem, before = moved(rate=0.05)
    found = problem.measure(tf.constant(True), share * before)
    assert found.sharpness.residual < 0.5 * ESTIMATE_ERROR * found.sharpness.eigenvalue


def test_after_an_estimate_measurements_are_as_good_as_before():
    problem, before = moved(rate=0.05)
    problem.measure(tf.constant(True), 4 * before)
    problem.step(rate=0.05)
    found = problem.measure(tf.constant(True), NEVER)
    assert found.sharpness.eigenvalue.numpy() == pytest.approx(problem.exact(), rel=1e-3)
    assert found.sharpness.converged


def test_chunks_change_nothing_but_memory():
    whole, parts = (Problem(chunk_size=chunk).measure(tf.constant(False), NEVER) for chunk in (None, 100))
    assert float(parts.sharpness.eigenvalue) == pytest.approx(float(whole.sharpness.eigenvalue), rel=1e-4)


def test_nothing_is_retraced():
    problem = Problem()
    for step in range(3):
        problem.measure(tf.constant(step > 0), tf.constant(float(step)))
        problem.step()
    assert problem.measure.experimental_get_tracing_count() == 1


def test_the_sample_of_a_sorted_measurement_set_has_every_class():
    problem = Problem()
    order = np.argsort(problem.y.argmax(axis=1))
    tracker = SharpnessTracker(
        problem.loss_and_report, problem.variables, problem.x[order], problem.y[order], Lanczos()
    )
    assert set(tracker.sample.y.numpy().argmax(axis=1)) == set(range(problem.y.shape[1]))

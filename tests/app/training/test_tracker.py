import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.power import PowerIteration
from sharpness_phases.models import FCN
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.training.tracing import traced
from sharpness_phases.training.tracker import SharpnessTracker, sample_size


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
        self.measure = traced(self.tracker.measure)

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
@pytest.mark.parametrize(
    "examples", [pytest.param(1024, id="with a sample"), pytest.param(64, id="without", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("loss", ["mse", pytest.param("xent", marks=pytest.mark.slow)])
def test_every_measurement_along_a_run_is_the_largest_eigenvalue_of_the_dense_hessian(examples, compiled, loss):
    problem = Problem(examples, compiled, loss)
    for step in range(4):
        found = problem.measure(tf.constant(step))
        assert found.sharpness.eigenvalue.numpy() == pytest.approx(problem.exact(), rel=1e-3)
        assert found.sharpness.converged
        assert found.accuracy.numpy() == pytest.approx(2 * found.loss.numpy())
        problem.step()


class Overtaken:
    """L = sum_i a_i theta_i^2 / 2 with curvatures a that change places between two measurements."""

    def __init__(self, size=300, examples=40):
        self.curvatures = tf.Variable(np.linspace(0, 0.3, size, dtype=np.float32))
        self.theta = tf.Variable(tf.ones(size))
        x = np.zeros((examples, 1), np.float32)
        self.tracker = SharpnessTracker(self.loss, [self.theta], x, x, Lanczos())

    def loss(self, x, y):
        return tf.reduce_sum(self.curvatures * self.theta**2) / 2 + 0 * tf.reduce_sum(x), 0.0

    def top(self, *largest):
        values = np.linspace(0, 0.3, int(self.curvatures.shape[0]), dtype=np.float32)
        values[: len(largest)] = largest
        self.curvatures.assign(values)


@pytest.mark.slow
def test_an_eigenvector_that_overtakes_another_is_seen_at_once():
    problem = Overtaken()
    for index, largest in enumerate([(1.0, 0.5), (1.0, 1.4), (2.0, 1.4), (2.0, 2.02), (2.0, 1.0, 2.1)]):
        problem.top(*largest)
        found = problem.tracker.measure(index).sharpness.to_python()
        assert found.eigenvalue == pytest.approx(max(largest), rel=1e-3)
        assert found.converged


@pytest.fixture(scope="module")
def at_rest():
    """A network that is not moved."""
    return Problem()


@pytest.mark.parametrize("examples", [40, 160], ids=["without a sample", "with one"])
def test_an_eigenvector_that_the_random_start_misses_is_seen_by_the_gradient(examples, monkeypatch):
    problem, n = Overtaken(examples=examples), 300
    problem.top(1.06)
    tracker, dtype = problem.tracker, problem.tracker.operator.dtype
    assert (tracker.sample is None) == (examples == 40)
    without_top = 1 - tf.one_hot(0, n, dtype=dtype)
    monkeypatch.setattr(tracker, "_starts", without_top[None] / np.sqrt(n - 1))
    of_sample = tf.one_hot(3, n, dtype=dtype)
    assert tracker.measure(0, 0.9, of_sample).sharpness.eigenvalue > 0.9
    problem.theta.assign(tf.cast(without_top, tf.float32))  # where the gradient misses it, too
    assert tracker.measure(0, 0.9, of_sample).sharpness.eigenvalue < 0.9


def test_of_the_same_index_a_measurement_has_the_same_bits_and_of_another_another_start(at_rest):
    first, again, other = (at_rest.measure(tf.constant(index)).sharpness for index in (3, 3, 4))
    assert first.residual == again.residual != other.residual
    assert float(first.eigenvalue) == pytest.approx(float(other.eigenvalue), rel=1e-3)


def test_the_sample_gives_an_estimate_for_a_few_of_its_products():
    problem = Problem()
    nothing = tf.zeros([problem.tracker.operator.size])
    first = problem.tracker.measure_sample(0, nothing)
    problem.step(rate=0.05)
    second = problem.tracker.measure_sample(1, first.eigenvector)
    assert float(second.eigenvalue) == pytest.approx(problem.exact(), rel=0.3)
    assert int(second.hvps) <= 5


def test_power_iteration_has_no_sample_that_could_answer_in_its_place():
    assert Problem(solver=PowerIteration()).tracker.sample is None


@pytest.mark.parametrize(
    ("examples", "expected"), [(100, 0), (128, 32), (512, 64), (1024, 64), (2048, 128), (4096, 256)]
)
def test_the_sample_is_small_but_not_too_small(examples, expected):
    assert sample_size(examples) == expected


def test_weights_that_are_not_finite_give_nan_and_leave_nothing_behind():
    problem = Problem()
    weights = problem.network.get_weights()
    problem.network.set_weights([np.full_like(w, np.nan) for w in weights])
    assert np.isnan(problem.measure().sharpness.eigenvalue)
    problem.network.set_weights(weights)
    assert problem.measure().sharpness.eigenvalue.numpy() == pytest.approx(problem.exact(), rel=1e-3)


@pytest.mark.parametrize(
    "share", [pytest.param(0.5, marks=pytest.mark.slow), 0.9, 1.1, pytest.param(2.0, marks=pytest.mark.slow)]
)
def test_the_side_of_a_threshold_is_right_and_saves_products(share, at_rest):
    problem = at_rest
    exact, whole = problem.exact(), problem.measure().sharpness.to_python()
    found = problem.measure(tf.constant(0), tf.constant(share * exact)).sharpness.to_python()
    assert (found.eigenvalue > share * exact) == (share < 1)
    assert found.hvps < whole.hvps


@pytest.mark.slow
def test_chunks_change_nothing_but_memory():
    whole, parts = (Problem(chunk_size=chunk).measure() for chunk in (None, 100))
    assert float(parts.sharpness.eigenvalue) == pytest.approx(float(whole.sharpness.eigenvalue), rel=1e-4)


def test_nothing_is_retraced():
    problem = Problem()
    for step in range(3):
        problem.measure(tf.constant(step), tf.constant(float(step)))
        problem.step()
    assert problem.measure.experimental_get_tracing_count() == 1


def test_the_sample_of_a_sorted_measurement_set_is_like_the_whole():
    problem = Problem()
    order = np.argsort(problem.y.argmax(axis=1))
    tracker = SharpnessTracker(
        problem.loss_and_report, problem.variables, problem.x[order], problem.y[order], Lanczos()
    )
    few = tracker.sample
    assert float(few.linearize().loss) == pytest.approx(
        float(problem.loss_and_report(problem.x, problem.y)[0]), rel=0.3
    )

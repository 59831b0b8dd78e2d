"""Runs of an experiment with any optimizer, against its rule written out in NumPy and dense float64 Hessians."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import dense_hessian, operator_of

from sharpness_phases import Experiment
from sharpness_phases.config.loading import load_config
from sharpness_phases.data.preprocessing import batch_indices
from sharpness_phases.errors import UserError
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec
from sharpness_phases.sweep.audit import audit, chosen_rows
from sharpness_phases.sweep.optimizers import build_optimizer
from sharpness_phases.sweep.simulator import CellRunner, Simulator
from sharpness_phases.training.device import double_precision
from sharpness_phases.training.losses import HalfMeanSquaredError

OWN = """
import keras
from keras import layers

def pooled(width, depth, input_shape, classes, seed):
    start = [keras.initializers.GlorotUniform(seed), keras.initializers.GlorotUniform(seed + 100)]
    return keras.Sequential([
        keras.Input(input_shape), layers.AveragePooling2D(14), layers.Flatten(),
        layers.Dense(width, "tanh", kernel_initializer=start[0]), layers.Dense(classes, kernel_initializer=start[1]),
    ])

class Halving(keras.optimizers.SGD):
    "Each step half as long as the last one, from a state that does not begin at zero."
    def build(self, variables):
        super().build(variables)
        self.scale = keras.Variable(1.0, trainable=False)
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self.scale)
        if self._get_variable_index(variable) == len(self._trainable_variables) - 1:
            self.scale.assign(self.scale / 2)

def adagrad():
    return keras.optimizers.Adagrad(initial_accumulator_value=0.25)

def scheduled():
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))

def failing():
    raise RuntimeError("no luck")

number, text = 3, str
"""
SMALL = [
    "sweep.depths=[2]",
    "sweep.widths=[4]",
    "sweep.seeds=1",
    "data.train_examples=160",
    "training={batch_size: 40, steps: 3}",
    "sharpness={examples: 40, tolerance: 1e-4}",
    "tensorboard=false",
]
CELL = Cell(2, 4, 0)
M, B1, B2, RHO, EPSILON = 0.9, 0.9, 0.999, 0.9, 1e-7


class Descent:
    """v <- m v - eta g, with decoupled decay; Nesterov's w <- w + m v - eta g."""

    def __init__(self, momentum=0.0, nesterov=False, decay=0.0):
        self.momentum, self.nesterov, self.decay = momentum, nesterov, decay
        self.velocity = 0.0

    def divisor(self, gradient):
        return np.ones_like(gradient)

    def step(self, w, gradient, rate):
        w = w * (1 - rate * self.decay)
        self.velocity = self.momentum * self.velocity - rate * gradient
        return w + (self.momentum * self.velocity - rate * gradient if self.nesterov else self.velocity)


class RMSprop:
    """Centered, with momentum: w <- w - u, u <- m u + eta g / sqrt(v - a^2 + epsilon)."""

    def __init__(self):
        self.v = self.a = self.u = 0.0

    def divisor(self, gradient):
        v, a = (RHO * old + (1 - RHO) * new for old, new in ((self.v, gradient**2), (self.a, gradient)))
        return np.sqrt(v - a**2 + EPSILON)

    def step(self, w, gradient, rate):
        divisor = self.divisor(gradient)
        self.v, self.a = RHO * self.v + (1 - RHO) * gradient**2, RHO * self.a + (1 - RHO) * gradient
        self.u = M * self.u + rate * gradient / divisor
        return w - self.u


class Adam:
    """m_hat / (sqrt(v_hat) + epsilon / sqrt(1 - beta_2^k)), of clipped gradients, with decay; P has 1 - beta_1^k."""

    def __init__(self, decay=0.0, clip=np.inf):
        self.decay, self.clip = decay, clip
        self.m = self.v = 0.0
        self.k = 0

    def before(self, gradient):
        return self.v

    def clipped(self, gradient):
        return gradient * min(1.0, self.clip / np.linalg.norm(gradient))

    def divisor(self, gradient):
        v, k = B2 * self.before(gradient) + (1 - B2) * self.clipped(gradient) ** 2, self.k + 1
        return (1 - B1**k) * (np.sqrt(v / (1 - B2**k)) + EPSILON / np.sqrt(1 - B2**k))

    def step(self, w, gradient, rate):
        divisor, gradient = self.divisor(gradient), self.clipped(gradient)
        self.m, self.v = B1 * self.m + (1 - B1) * gradient, B2 * self.before(gradient) + (1 - B2) * gradient**2
        self.k += 1
        return w * (1 - rate * self.decay) - rate * self.m / divisor


class GIAdam(Adam):
    """Adam with v_0 = g_0^2."""

    def before(self, gradient):
        return self.v if self.k else gradient**2


RULES = {
    "{name: adam, global_clipnorm: 0.02}": (lambda: Adam(clip=0.02), lambda rate: 38 / rate, lambda top: 38 / top),
    "{name: adamw, weight_decay: 3.0}": (
        lambda: Adam(decay=3.0),
        lambda rate: 19 * (2 / rate - 3),
        lambda top: 2 / (top / 19 + 3),
    ),
    "{name: adam, initial_second_moment: gradient, warmup: {steps: 3, start: 0.25}}": (
        GIAdam,
        lambda rate: 38 / rate,
        lambda top: 38 / top,
    ),
    "{name: rmsprop, momentum: 0.9, centered: true}": (RMSprop, lambda rate: 3.8 / rate, lambda top: 3.8 / top),
    "{momentum: 0.9, nesterov: true}": (
        lambda: Descent(M, True),
        lambda rate: 3.8 / 2.8 / rate,
        lambda top: 3.8 / 2.8 / top,
    ),
    "{momentum: 0.9, weight_decay: 0.5}": (
        lambda: Descent(M, False, 0.5),
        lambda rate: 1.9 * (2 / rate - 0.5),
        lambda top: 2 / (top / 1.9 + 0.5),
    ),
}
"""The optimizers, each with its rule, its edge of the literature at a rate, and the rate that has it there."""
FAST = next(iter(RULES))
OLDER_WARMUP = {FAST: 2}
"""Steps of a warm-up as `training.warmup_steps` says it."""
SHARES = {FAST: [0.5, 1.0, 1.0, 1.0], "{name: adam, initial_second_moment: gradient": [0.5, 0.75, 1.0, 1.0]}
"""The share of the rate at each step."""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_descent.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return "own_descent"


class Exact:
    """The network in float64: gradient, and dense Hessian, as functions of flat weights."""

    def __init__(self, simulator):
        with double_precision():
            self.network = simulator.network(CELL)
            self.loss = HalfMeanSquaredError(dtype="float64")
        self.start = np.concatenate([weight.ravel() for weight in self.network.get_weights()])
        self.start = self.start.astype(np.float32).astype(np.float64)  # as training in float32 begins

    def set(self, w):
        shapes = [weight.shape for weight in self.network.get_weights()]
        ends = np.cumsum([np.prod(shape) for shape in shapes])
        parts = [part.reshape(shape) for part, shape in zip(np.split(w, ends[:-1]), shapes, strict=True)]
        self.network.set_weights(parts)

    def gradient(self, w, x, y):
        self.set(w)
        with tf.GradientTape() as tape:
            loss = self.loss(tf.constant(y, tf.float64), self.network(tf.constant(x, tf.float64)))
        found = tape.gradient(loss, [variable.value for variable in self.network.trainable_variables])
        return np.concatenate([part.numpy().ravel() for part in found])

    def sharpness(self, w, divisor, x, y):
        self.set(w)
        root = divisor**-0.5
        values, vectors = np.linalg.eigh(
            root[:, None] * dense_hessian(operator_of(self.network, self.loss, x, y)) * root
        )
        return values[-1], 1 / (len(w) * np.sum(vectors[:, -1] ** 4))


@pytest.mark.parametrize(
    "settings", [pytest.param(each, marks=() if each == FAST else pytest.mark.slow) for each in RULES]
)
def test_a_stored_run_has_the_rate_sharpness_and_edge_of_its_optimizer(settings, own):
    rule, edge_at, rate_at = RULES[settings]
    warmup = OLDER_WARMUP.get(settings, 0)
    more = [f"model={{family: '{own}:pooled'}}", f"optimizer={settings}", f"training.warmup_steps={warmup}"]
    config = load_config("quickstart", [*SMALL, *more])
    simulator, spec = Simulator(config), RunSpec(CELL, Purpose.WHOLE, 0.5)
    run = CellRunner(simulator, config, CELL).trajectory(spec)
    exact, (x, y) = Exact(simulator), simulator.measurement
    batches = batch_indices(160, 40, 3, CELL.seed)
    gradients = lambda w, batch: exact.gradient(w, simulator.data.x[batch], simulator.data.y[batch])  # noqa: E731
    optimizer, w = rule(), exact.start
    divisor = optimizer.divisor(gradients(w, batches[0]))
    expected = [exact.sharpness(w, divisor, x, y)]
    rate = rate_at(expected[0][0]) / 2**0.5  # c = 2 eta / eta_edge = sqrt(2)
    assert spec.labels(config, run.sharpness[0])["learning_rate"] == pytest.approx(rate, rel=1e-4)
    rates = [rate * share for share in SHARES.get(settings.partition(", warmup")[0], [1.0] * 4)]
    for batch, now in zip(batches, rates, strict=False):
        gradient = gradients(w, batch)
        divisor = optimizer.divisor(gradient)
        w = optimizer.step(w, gradient, now)
        expected.append(exact.sharpness(w, divisor, x, y))
    top, participation = np.transpose(expected)
    np.testing.assert_allclose(run.sharpness, top, rtol=1e-3)
    np.testing.assert_allclose(run.participation, participation, rtol=2e-2)
    np.testing.assert_allclose(run.edge, [edge_at(now) for now in rates], rtol=1e-4)
    assert np.isfinite(run.at_floor).all() == ("name" in settings)


@pytest.mark.slow
def test_an_experiment_with_adam_has_phases_pictures_and_an_audit_that_holds(tmp_path, own):
    small = [*SMALL, f"model={{family: '{own}:pooled'}}", "sweep.lr_exponents={start: 0, stop: 10, step: 2}"]
    experiment = Experiment.from_config(
        "quickstart", [*small, "optimizer={name: adam, beta_1: 0.5}", "sweep.search=exhaustive"], tmp_path / "out"
    )
    analyzer = experiment.run()
    constants = analyzer.critical_constants()
    assert len(constants) == 1
    assert constants["c_loss"].notna().any() or constants["c_loss_censored"].any()
    runs = analyzer.trajectories()
    np.testing.assert_allclose(runs["edge"] * runs["c"] / 2, constants["lambda_0"][0], rtol=1e-9)
    assert runs.loc[runs["sharpness"].notna(), ["participation", "at_floor"]].notna().all(axis=None)
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Adam, beta 1 0.5" in report
    assert "2(1 + β₁)/(η(1 - β₁))" in report
    found = list(audit(experiment.config, analyzer.runs, chosen_rows(analyzer.runs, 1.0)))
    exact = [each for each in found if each.converged]
    assert len(exact) > 5
    assert max(abs(each.stored / each.truth - 1) for each in exact) < 1e-3


@pytest.mark.slow
def test_an_optimizer_of_ones_own_runs_from_its_own_first_state_and_claims_no_edge(own):
    config = load_config(
        "quickstart", [*SMALL, f"model={{family: '{own}:pooled'}}", f"optimizer={{name: '{own}:Halving'}}"]
    )
    simulator = Simulator(config)
    runner, spec = CellRunner(simulator, config, CELL), RunSpec(CELL, Purpose.WHOLE, 0.0)
    first, again = runner.trajectory(spec), runner.trajectory(spec)
    np.testing.assert_array_equal(first.loss, again.loss)
    assert np.isnan(first.edge).all()
    exact, (x, y) = Exact(simulator), simulator.measurement
    w, batches = exact.start, batch_indices(160, 40, 3, CELL.seed)
    top, _ = exact.sharpness(w, np.ones_like(w), x, y)
    assert first.sharpness[0] == pytest.approx(top, rel=1e-3)
    for step, batch in enumerate(batches):
        w = w - 0.5**step / top * exact.gradient(w, simulator.data.x[batch], simulator.data.y[batch])
    assert first.sharpness[-1] == pytest.approx(exact.sharpness(w, np.ones_like(w), x, y)[0], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "cannot be imported: AttributeError"),
        ("number", "must be a class or a function; got 3"),
        ("text", r"text\(\) must be a Keras optimizer; got str"),
        ("failing", r"failing\(\) failed: RuntimeError: no luck"),
        ("scheduled", "must have a constant learning rate, which runs set; it has a schedule"),
    ],
)
def test_what_is_no_optimizer_to_run_with_is_refused(name, message, own):
    with pytest.raises(UserError, match=message):
        build_optimizer(load_config("quickstart", [f"optimizer={{name: '{own}:{name}'}}"]).optimizer)


@pytest.mark.slow
def test_an_optimizer_whose_state_begins_elsewhere_than_at_zero_is_put_back_to_it(own):
    config = load_config(
        "quickstart", [*SMALL, f"model={{family: '{own}:pooled'}}", f"optimizer={{name: '{own}:adagrad'}}"]
    )
    simulator = Simulator(config)
    runner = CellRunner(simulator, config, CELL)
    run = runner.trajectory(RunSpec(CELL, Purpose.WHOLE, 0.0))
    exact, rate = Exact(simulator), 1 / run.sharpness[0]
    w, accumulated = exact.start, 0.25
    for batch in batch_indices(160, 40, 3, CELL.seed):
        gradient = exact.gradient(w, simulator.data.x[batch], simulator.data.y[batch])
        accumulated = accumulated + gradient**2
        w = w - rate * gradient / np.sqrt(accumulated + keras.config.epsilon())
    exact.set(w)
    x, y = simulator.measurement
    assert run.loss[-1] == pytest.approx(float(exact.loss(y, exact.network(x.astype(np.float64)))), rel=1e-5)


@pytest.mark.slow
def test_before_training_an_embedding_has_the_preconditioner_of_the_first_step():
    small = ["sweep.depths=[1]", "sweep.widths=[8]", "training={batch_size: 8, steps: 1}", "sharpness.examples=16"]
    config = load_config("laptop/adam_transformer", [*small, "data.train_examples=64", "tensorboard=false"])
    runner = CellRunner(Simulator(config), config, Cell(1, 8, 0))
    standing = runner.trajectory(RunSpec(Cell(1, 8, 0), Purpose.WHOLE, -30.0))  # so slow that no weight moves
    assert standing.sharpness[1] == pytest.approx(standing.sharpness[0], rel=2e-3)
    assert standing.at_floor[1] == standing.at_floor[0]

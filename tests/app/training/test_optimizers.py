"""Edges and preconditioners against the update matrix that Keras' own `apply` makes on a quadratic loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import stability_edge
from sharpness_phases.training.gi_adam import GIAdam
from sharpness_phases.training.preconditioners import Preconditioner

RATE, TAKEN, SIZE = 0.01, 6, 3
TINY = 1e-30  # of weights: the squares of their gradients vanish beside the second moments
OPTIMIZERS = {
    "SGD": lambda **more: keras.optimizers.SGD(RATE, **more),
    "heavy ball": lambda **more: keras.optimizers.SGD(RATE, momentum=0.9, **more),
    "Nesterov": lambda **more: keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True, **more),
    "RMSprop": lambda **more: keras.optimizers.RMSprop(RATE, **more),
    "RMSprop with momentum": lambda **more: keras.optimizers.RMSprop(RATE, momentum=0.7, **more),
    "centered RMSprop": lambda **more: keras.optimizers.RMSprop(RATE, rho=0.8, centered=True, epsilon=1e-3, **more),
    "Adam": lambda **more: keras.optimizers.Adam(RATE, **more),
    "Adam with a large epsilon": lambda **more: keras.optimizers.Adam(RATE, beta_1=0.5, epsilon=0.1, **more),
    "Adam without momentum": lambda **more: keras.optimizers.Adam(RATE, beta_1=0.0, **more),
    "AMSGrad": lambda **more: keras.optimizers.Adam(RATE, amsgrad=True, **more),
    "AdamW": lambda **more: keras.optimizers.AdamW(RATE, **{"weight_decay": 0.3, **more}),
    "Nadam": lambda **more: keras.optimizers.Nadam(RATE, **more),
    "GI-Adam": lambda **more: GIAdam(RATE, **more),
    "clipped Adam": lambda **more: keras.optimizers.Adam(RATE, global_clipnorm=0.5, **more),
}


class Quadratic:
    """w.Hw / 2, descended by a Keras optimizer whose second moments, rate and counters are put back for every step."""

    def __init__(self, optimizer, taken=TAKEN, seed=0):
        rng = np.random.default_rng(seed)
        self.optimizer = optimizer
        self.weights = keras.Variable(np.zeros(SIZE), dtype="float64")
        optimizer.build([self.weights])
        for _ in range(taken):  # second moments and counters as after real steps
            optimizer.apply([tf.constant(rng.standard_normal(SIZE))], [self.weights])
        self.before = [variable.numpy() for variable in optimizer.variables]
        self.moving = [self.weights, *(v for v in optimizer.variables if "momentum" in v.name)]
        optimizer.apply([tf.zeros(SIZE, tf.float64)], [self.weights])
        self.edge = stability_edge(optimizer)
        matrix = rng.standard_normal((SIZE, SIZE))
        self.hessian = matrix @ matrix.T
        root = np.ones(SIZE) if self.edge.preconditioner is None else self.edge.preconditioner**-0.5
        self.sharpness = np.linalg.eigvalsh(root[:, None] * self.hessian * root).max()

    def step(self, state, scale):
        """One step of Keras, with the Hessian times `scale`, from weights and velocities."""
        for variable, value in zip(self.optimizer.variables, self.before, strict=True):
            variable.assign(value)
        for variable, value in zip(self.moving, state.reshape(len(self.moving), SIZE), strict=True):
            variable.assign(value)
        gradient = scale * self.hessian @ self.weights.numpy()
        self.optimizer.apply([tf.constant(gradient)], [self.weights])
        return np.concatenate([variable.numpy() for variable in self.moving])

    def spectral_radius(self, sharpness):
        """Of the map from (weights, velocities) to those after a step, at a Hessian of this sharpness."""
        scale = sharpness / self.sharpness
        columns = [self.step(TINY * unit, scale) / TINY for unit in np.eye(len(self.moving) * SIZE)]
        return np.abs(np.linalg.eigvals(np.transpose(columns))).max()


@pytest.mark.parametrize("decay", [None, 20.0], ids=["no decay", "weight decay"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_stable_just_below_the_edge_and_not_just_above(name, decay):
    problem = Quadratic(OPTIMIZERS[name](**({} if decay is None else {"weight_decay": decay})))
    assert problem.spectral_radius(problem.edge.edge * (1 - 1e-6)) < 1
    assert problem.spectral_radius(problem.edge.edge * (1 + 1e-6)) > 1


@pytest.mark.parametrize("taken", [0, 1, 40])
@pytest.mark.parametrize("name", ["Adam", "AMSGrad", "Nadam", "centered RMSprop"])
def test_the_bias_correction_of_any_step_is_part_of_the_preconditioner(name, taken):
    problem = Quadratic(OPTIMIZERS[name](), taken)
    if taken == 0:  # the second moments are those of the step's own tiny gradient: only epsilon divides
        assert problem.edge.at_floor == 1.0
    assert problem.spectral_radius(problem.edge.edge * (1 - 1e-6)) < 1
    assert problem.spectral_radius(problem.edge.edge * (1 + 1e-6)) > 1
    assert problem.edge.edge == stability_edge(OPTIMIZERS[name]()).edge


@pytest.mark.parametrize(
    ("optimizer", "edge", "words"),
    [
        (keras.optimizers.SGD(RATE), 200, "2/η"),
        (keras.optimizers.SGD(RATE, weight_decay=1.0), 199, "2/η - γ"),
        (keras.optimizers.SGD(RATE, momentum=0.9), 380, "2(1 + m)/η"),
        (keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True), 380 / 2.8, "2(1 + m)/(η(1 + 2m))"),
        (keras.optimizers.RMSprop(RATE, momentum=0.9), 380, "2(1 + m)/η"),
        (keras.optimizers.Adam(RATE), 3800, "2(1 + β₁)/(η(1 - β₁))"),
        (keras.optimizers.AdamW(RATE, weight_decay=1.0), 3781, "(1 + β₁)(2/η - γ)/(1 - β₁)"),
        (keras.optimizers.AdamW(RATE, weight_decay=10.0), 3610, "(1 + β₁)(2/η - γ)/(1 - β₁)"),
        (keras.optimizers.Nadam(RATE), 3800 / 2.8, "2(1 + β₁)/(η(1 - β₁)(1 + 2β₁))"),
    ],
    ids=lambda value: value.name if isinstance(value, keras.optimizers.Optimizer) else "",
)
def test_edges_have_the_values_and_the_words_of_the_literature(optimizer, edge, words):
    found = stability_edge(optimizer)
    assert found.edge == pytest.approx(edge, rel=1e-7)
    assert found.words == words
    plain = isinstance(optimizer, keras.optimizers.SGD)
    assert found.operator == ("H" if plain else "P^-1/2 H P^-1/2")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_steps_preconditioner_is_known_before_it_from_its_gradient(name):
    optimizer, weights = OPTIMIZERS[name](), keras.Variable(np.zeros(SIZE))
    rng = np.random.default_rng(1)
    optimizer.build([weights])
    for _ in range(4):
        gradient = rng.standard_normal(SIZE).astype("float32")
        expected = stability_edge(optimizer, [gradient])
        optimizer.apply([tf.constant(gradient)])
        found = stability_edge(optimizer)
        if found.operator == "H":
            assert found.preconditioner is None
            assert expected.preconditioner is None
        else:
            np.testing.assert_allclose(expected.preconditioner, found.preconditioner, rtol=1e-5)


@pytest.mark.parametrize("name", ["Adam", "AMSGrad", "Nadam", "RMSprop", "centered RMSprop", "GI-Adam"])
def test_so_it_is_for_an_embedding_whose_rows_were_looked_up_several_times(name):
    optimizer, rows = OPTIMIZERS[name](), keras.layers.Embedding(5, 2)
    rows.build()
    optimizer.build(rows.trainable_variables)
    rng = np.random.default_rng(1)
    for looked_up in ([0, 3, 3, 3, 1], [3, 0, 0]):
        towards = rng.standard_normal((len(looked_up), 2)).astype("float32")
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(rows(np.array(looked_up)) * towards)
        gradient = tape.gradient(loss, rows.embeddings.value)
        assert isinstance(gradient, tf.IndexedSlices)
        expected = stability_edge(optimizer, [gradient])
        optimizer.apply([gradient])
        np.testing.assert_allclose(expected.preconditioner, stability_edge(optimizer).preconditioner, rtol=1e-5)


def test_the_first_step_of_adam_divides_by_a_tenth_of_the_gradient():
    optimizer, weights = keras.optimizers.Adam(RATE), keras.Variable(np.zeros(2))
    optimizer.build([weights])
    found = stability_edge(optimizer, [np.array([3.0, -0.5], "float32")])
    np.testing.assert_allclose(found.preconditioner, [0.3, 0.05], rtol=1e-4)
    assert found.at_floor == 0.0


def test_coordinates_without_gradients_are_counted_as_at_the_floor():
    optimizer, weights = keras.optimizers.Adam(RATE), keras.Variable(np.zeros(4))
    optimizer.build([weights])
    optimizer.apply([tf.constant([1.0, 0.0, 1e-7, 0.0])])
    assert stability_edge(optimizer).at_floor == 0.75


def test_the_edge_follows_a_schedule_and_a_rate_that_is_set():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.05])
    optimizer, weights = keras.optimizers.SGD(schedule), keras.Variable(np.zeros(2))
    edges = [stability_edge(optimizer).edge]
    for _ in range(2):
        optimizer.apply([tf.zeros(2)], [weights])
        edges.append(stability_edge(optimizer).edge)
    assert edges == pytest.approx([20, 20, 40])
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.learning_rate = 0.2
    assert stability_edge(optimizer).edge == pytest.approx(190)


def test_what_is_not_known_is_not_claimed():
    class Own(keras.optimizers.SGD):
        """A subclass, whose rule may be another."""

    for optimizer in (keras.optimizers.Lion(), Own(), keras.optimizers.Adagrad()):
        found = stability_edge(optimizer)
        assert (found.edge, found.preconditioner) == (None, None)
        assert f"edge of {type(optimizer).__name__} is not known" in found.words
    averaged = stability_edge(keras.optimizers.SGD(RATE, use_ema=True, ema_overwrite_frequency=5))
    assert averaged.edge is None
    assert "use_ema" in averaged.words


def test_an_optimizer_that_scales_the_loss_counts_as_the_one_inside():
    inner = keras.optimizers.Adam(RATE)
    assert stability_edge(keras.optimizers.LossScaleOptimizer(inner)).edge == stability_edge(inner).edge


def test_gradients_are_accumulated_without_moving_the_edge():
    optimizer = keras.optimizers.Adam(RATE, gradient_accumulation_steps=2)
    weights = keras.Variable(np.zeros(2, "float32"))
    for _ in range(2):
        optimizer.apply([tf.constant([3.0, -0.5])], [weights])
    np.testing.assert_allclose(stability_edge(optimizer).preconditioner, [0.3, 0.05], rtol=1e-4)


def test_before_the_first_step_there_is_an_edge_and_no_preconditioner():
    optimizer = keras.optimizers.Adam(RATE)
    assert stability_edge(optimizer).preconditioner is None
    with pytest.raises(ValueError, match="Adam is not built"):
        stability_edge(optimizer, [np.zeros(2)])
    optimizer.build([keras.Variable(np.zeros(2))])
    assert stability_edge(optimizer).preconditioner is None


def test_coordinates_come_in_the_order_of_the_variables_that_are_asked_for():
    variables = [keras.Variable(np.zeros(2)), keras.Variable(np.zeros(1))]
    optimizer = keras.optimizers.RMSprop(RATE, epsilon=0.0)
    optimizer.apply([tf.constant([1.0, 2.0]), tf.constant([3.0])], variables)
    found = Preconditioner(optimizer, variables[::-1]).of_last_step().values.numpy()
    np.testing.assert_allclose(found, np.sqrt(0.1) * np.array([3.0, 1.0, 2.0]), rtol=1e-6)
    with pytest.raises(ValueError, match="Compile again"):
        Preconditioner(optimizer, [keras.Variable(np.zeros(2), name="unfrozen")])

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases.training.next_update import next_update
from sharpness_phases.training.saved_state import optimizer_variables

SCHEDULE = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.01])
WARM_UP = keras.optimizers.schedules.PolynomialDecay(0.0, 10, end_learning_rate=0.1)


@keras.saving.register_keras_serializable(package="tests")
class Own(keras.optimizers.Optimizer):
    """A rule with state in a plain list of TensorFlow variables, which Keras is not told of."""

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.sums = {"sums": [tf.Variable(tf.zeros(variable.shape)) for variable in variables]}

    def update_step(self, gradient, variable, learning_rate):
        total = self.sums["sums"][self._get_variable_index(variable)]
        total.assign_add(gradient)
        self.assign_sub(variable, tf.sign(total) * tf.cast(learning_rate, total.dtype))


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "heavy ball": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5),
    "adam": lambda: keras.optimizers.Adam(0.01, clipnorm=0.1),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.5),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "adagrad": lambda: keras.optimizers.Adagrad(0.01),
    "lion": lambda: keras.optimizers.Lion(0.01),
    "ftrl": lambda: keras.optimizers.Ftrl(0.01),
    "averaged": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=1),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
    "schedule": lambda: keras.optimizers.SGD(SCHEDULE, momentum=0.9),
    "own": lambda: Own(0.01),
}


def trained(optimizer, steps=3, seed=0):
    """Weights, and an optimizer that has made some steps with random gradients."""
    rng = np.random.default_rng(seed)
    variables = [keras.Variable(rng.standard_normal(shape).astype("float32")) for shape in [(5, 3), (3,)]]
    optimizer.build(variables)
    for _ in range(steps):
        optimizer.apply(gradients_of(rng), variables)
    return variables, gradients_of(rng)


def gradients_of(rng, size=1.0):
    return [tf.constant(size * rng.standard_normal(shape), tf.float32) for shape in [(5, 3), (3,)]]


def values(variables):
    return [np.asarray(variable).copy() for variable in variables]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_it_is_what_the_optimizer_then_does_and_it_leaves_no_trace(make):
    optimizer = make()
    variables, gradients = trained(optimizer)
    state = [*variables, *optimizer_variables(optimizer)]
    before = values(state)
    found = next_update(optimizer, variables, gradients)
    for old, new in zip(before, values(state), strict=True):
        np.testing.assert_array_equal(old, new)
    rate = float(optimizer.learning_rate)
    optimizer.apply(gradients, variables)
    assert found.learning_rate == rate
    for direction, old, new in zip(found.direction, before, values(variables), strict=False):
        np.testing.assert_allclose(old - rate * direction.numpy(), new, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gamma", [None, 0.25])
def test_an_update_far_below_the_last_digit_of_the_weights_keeps_its_digits(gamma):
    optimizer = keras.optimizers.SGD(1e-3, weight_decay=gamma)
    variables, _ = trained(optimizer, steps=0)
    gradients = gradients_of(np.random.default_rng(5), size=1e-6)
    found = next_update(optimizer, variables, gradients)
    for direction, gradient, weight in zip(found.direction, gradients, variables, strict=True):
        np.testing.assert_allclose(direction, gradient + (gamma or 0) * weight.numpy(), rtol=1e-5)


def test_a_velocity_counts_in_units_of_the_present_rate():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    variables, gradients = trained(optimizer)
    optimizer.learning_rate = 0.02
    for direction, gradient, velocity in zip(
        next_update(optimizer, variables, gradients).direction, gradients, optimizer.momentums, strict=True
    ):
        np.testing.assert_allclose(direction, gradient - 0.9 * velocity.numpy() / 0.02, rtol=1e-5)


@pytest.mark.parametrize("rate", [WARM_UP, 0.0], ids=["schedule", "constant"])
def test_with_a_rate_of_zero_it_is_the_update_at_rate_one(rate):
    optimizer = keras.optimizers.SGD(rate)
    variables, gradients = trained(optimizer, steps=0)
    found = next_update(optimizer, variables, gradients)
    assert found.learning_rate == 0 == float(optimizer.learning_rate)
    for direction, gradient in zip(found.direction, gradients, strict=True):
        np.testing.assert_allclose(direction, gradient, rtol=1e-6)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_an_optimizer_that_accumulates_gradients_is_asked_for_its_next_update(steps):
    accumulating = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    variables, gradients = trained(accumulating, steps)
    found = next_update(accumulating, variables, gradients)
    assert int(accumulating._iterations) == steps
    for direction, gradient in zip(found.direction, gradients, strict=True):
        np.testing.assert_allclose(direction, gradient, rtol=1e-5)


def test_weights_without_a_gradient_stay_and_sparse_gradients_move_their_rows():
    optimizer = keras.optimizers.SGD(0.1)
    variables, gradients = trained(optimizer, steps=0)
    rows = tf.IndexedSlices(gradients[0][:2], tf.constant([1, 3]), tf.constant([5, 3]))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        found = next_update(optimizer, variables, [rows, None])
    np.testing.assert_allclose(found.direction[0], tf.convert_to_tensor(rows), rtol=1e-6)
    np.testing.assert_array_equal(found.direction[1], np.zeros(3))


def test_the_state_is_put_back_where_the_rule_raises():
    class Failing(Own):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate)
            if self._get_variable_index(variable) == 1 and int(self.iterations) == 1:
                raise RuntimeError("no further")

    optimizer = Failing(0.01)
    variables, gradients = trained(optimizer, steps=1)
    state = [*variables, *optimizer_variables(optimizer)]
    before = values(state)
    with pytest.raises(RuntimeError, match="no further"):
        next_update(optimizer, variables, gradients)
    for old, new in zip(before, values(state), strict=True):
        np.testing.assert_array_equal(old, new)

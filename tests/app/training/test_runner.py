from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification

from sharpness_phases.models import FCN
from sharpness_phases.training.losses import HalfMeanSquaredError
from sharpness_phases.training.runner import TrajectoryRunner
from sharpness_phases.training.sharpness_model import SharpnessModel

STEPS = 4


@pytest.fixture(scope="module")
def runner():
    network = FCN(width=6, depth=3).build((6,), 3, seed=0)
    x, y = classification(64, dtype=np.float32)
    model = SharpnessModel(network, measurement=(x[:24], y[:24]), every=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=HalfMeanSquaredError(), jit_compile=False)
    return TrajectoryRunner(model, x, y)


@pytest.fixture(scope="module")
def initial(runner):
    return runner.initial_state(FCN(width=6, depth=3).build((6,), 3, seed=1).get_weights())


BATCHES = np.arange(64).reshape(STEPS, 16)
NEVER = np.zeros(STEPS, bool)


def test_a_run_is_gradient_descent_on_the_given_batches(runner, initial):
    run = runner.run(initial, 0.3, BATCHES)
    x, y = classification(64, dtype=np.float32)
    plain = FCN(width=6, depth=3).build((6,), 3, seed=1)
    plain.compile(optimizer=keras.optimizers.SGD(0.3), loss=HalfMeanSquaredError(), jit_compile=False)
    for t, batch in enumerate(BATCHES, start=1):
        plain.train_on_batch(x[batch], y[batch])
        assert run.loss[t] == pytest.approx(0.5 * np.mean((plain(x[:24]).numpy() - y[:24]) ** 2), rel=1e-5)
    assert run.steps == STEPS
    assert not run.diverged
    assert np.isfinite(run.sharpness).all()
    assert run.hvps[0] == 0
    assert (run.hvps[1:] > 0).all()


def test_step_zero_is_the_initial_state(runner, initial):
    run = runner.run(initial, 0.3, BATCHES)
    assert run.loss[0] == initial.loss
    assert run.sharpness[0] == initial.sharpness


def test_runs_do_not_influence_each_other(runner, initial):
    first = runner.run(initial, 0.3, BATCHES)
    runner.run(initial, 5.0, BATCHES)
    again = runner.run(initial, 0.3, BATCHES)
    np.testing.assert_array_equal(first.loss, again.loss)
    np.testing.assert_array_equal(first.sharpness, again.sharpness)


def test_a_diverging_run_ends_at_the_step_that_shows_it(runner, initial):
    run = runner.run(initial, 1e4, BATCHES)
    assert run.diverged
    assert run.steps < STEPS or not np.isfinite(run.loss[-1]) or run.loss[-1] > 1e5
    assert (run.loss[:-1] <= 1e5).all()


@pytest.mark.slow
def test_runs_that_begin_with_the_same_batch_share_its_gradient_and_others_do_not(initial):
    x, y = classification(64, dtype=np.float32)

    def losses(network, batches):
        model = SharpnessModel(network, measurement=(x[:24], y[:24]), every=0)
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss=HalfMeanSquaredError(), jit_compile=False)
        runner = TrajectoryRunner(model, x, y)
        found = [runner.run(initial, 0.3, order, measure=NEVER).loss for order in batches]
        return found, runner.shared_gradients

    plain = FCN(width=6, depth=3).build((6,), 3, seed=0)
    (first, again, other), computed = losses(plain, [BATCHES, BATCHES, BATCHES[::-1]])
    assert computed == 2
    np.testing.assert_array_equal(first, again)
    assert other[1] != first[1]
    assert other[-1] == pytest.approx(losses(plain, [BATCHES[::-1]])[0][0][-1], rel=1e-6)
    dropout = keras.Sequential([keras.Input((6,)), *plain.layers[1:], keras.layers.Dropout(0.5, seed=0)])
    assert losses(dropout, [BATCHES])[1] == 0


def test_a_run_ends_when_its_question_is_answered(runner, initial):
    whole = runner.run(initial, 0.3, BATCHES)
    by_loss = runner.run(initial, 0.3, BATCHES, first_loss_limit=0.99 * whole.loss[1])
    by_sharpness = runner.run(initial, 0.3, BATCHES, sharpness_limit=0.99 * whole.sharpness[1])
    within = runner.run(
        initial, 0.3, BATCHES, first_loss_limit=2 * whole.loss.max(), sharpness_limit=2 * whole.sharpness.max()
    )
    assert (by_loss.steps, by_sharpness.steps, within.steps) == (1, 1, STEPS)
    assert not by_loss.diverged
    np.testing.assert_array_equal(within.loss, whole.loss)


def test_a_run_whose_loss_rises_after_its_first_step_goes_on(runner, initial):
    whole = runner.run(initial, 2.0, BATCHES, measure=NEVER)
    assert whole.loss[1] < whole.loss[0] < whole.loss[3]
    asked = runner.run(initial, 2.0, BATCHES, measure=NEVER, first_loss_limit=whole.loss[0])
    np.testing.assert_array_equal(asked.loss, whole.loss)


def test_a_run_whose_sharpness_rises_after_its_first_step_goes_on_unmeasured(runner, initial):
    whole = runner.run(initial, 2.0, BATCHES, barrier_after=STEPS)
    limit = np.mean(whole.sharpness[1:3])
    assert whole.sharpness[1] < limit < whole.sharpness[2]
    asked = runner.run(initial, 2.0, BATCHES, sharpness_limit=limit, barrier_after=STEPS)
    np.testing.assert_array_equal(asked.loss, whole.loss)
    assert (asked.sharpness[1:3] > limit).tolist() == [False, True]
    assert np.isnan(asked.sharpness[3:]).all()
    assert asked.hvps[3:].sum() == 0
    assert asked.barrier == whole.barrier


def test_a_long_run_is_taken_in_blocks_that_leave_no_trace(runner, initial, monkeypatch):
    whole = runner.run(initial, 0.3, BATCHES)
    monkeypatch.setattr("sharpness_phases.training.runner._STEPS_AT_ONCE", 3)
    blocks = runner.run(initial, 0.3, BATCHES)
    np.testing.assert_array_equal(blocks.loss, whole.loss)
    np.testing.assert_array_equal(blocks.sharpness, whole.sharpness)
    ended = runner.run(initial, 0.3, BATCHES, first_loss_limit=0.99 * whole.loss[1])
    assert ended.steps == 1


def test_without_sharpness_no_products_are_spent(runner, initial):
    run = runner.run(initial, 0.3, BATCHES, measure=NEVER)
    assert run.hvps.sum() == 0
    assert np.isnan(run.sharpness[1:]).all()


def test_the_sharpness_is_measured_after_the_steps_that_are_asked_for(runner, initial):
    run = runner.run(initial, 0.3, BATCHES, measure=np.array([False, True, False, True]))
    assert np.isfinite(run.sharpness).tolist() == [True, False, True, False, True]
    everywhere = runner.run(initial, 0.3, BATCHES)
    np.testing.assert_array_equal(run.loss, everywhere.loss)
    np.testing.assert_allclose(run.sharpness[[2, 4]], everywhere.sharpness[[2, 4]], rtol=1e-3)


def test_a_barrier_measured_on_the_way_leaves_the_run_as_it_was(runner, initial):
    plain, measured = (runner.run(initial, 0.3, BATCHES, barrier_after=after) for after in (None, 2))
    np.testing.assert_array_equal(plain.loss, measured.loss)
    assert measured.barrier == runner.run(initial, 0.3, BATCHES[:2], barrier_after=2).barrier


def test_momentum_starts_from_zero_in_every_run(initial):
    x, y = classification(64, dtype=np.float32)
    model = SharpnessModel(FCN(width=6, depth=3).build((6,), 3, seed=0), measurement=(x[:24], y[:24]), every=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0, momentum=0.9), loss=HalfMeanSquaredError(), jit_compile=False)
    runner = TrajectoryRunner(model, x, y)
    first, again = (runner.run(initial, 0.1, BATCHES, measure=NEVER) for _ in range(2))
    np.testing.assert_array_equal(first.loss, again.loss)


def test_nothing_is_retraced_per_learning_rate(runner, initial):
    for rate in (0.1, 0.2, 0.3):
        runner.run(initial, rate, BATCHES)
        runner.run(initial, rate, BATCHES, measure=NEVER)
    assert runner.traces == {"step": 1, "gradient": 1, "loop": 2}  # with a solver in it, and without


def test_the_barrier_is_the_largest_loss_on_the_line_from_the_first_weights_to_the_last(runner, initial):
    run = runner.run(initial, 0.3, BATCHES, measure=NEVER, barrier_after=len(BATCHES))
    network = FCN(width=6, depth=3).build((6,), 3, seed=1)
    x, y = (part[:24] for part in classification(64, dtype=np.float32))
    end = runner.run(initial, 0.3, BATCHES, measure=NEVER) and runner.model.network.get_weights()
    losses = []
    for share in np.linspace(0, 1, 101):
        network.set_weights([a + share * (b - a) for a, b in zip(initial.weights, end, strict=True)])
        losses.append(0.5 * np.mean((network(x).numpy() - y) ** 2))
    assert run.barrier == pytest.approx(max(losses), rel=1e-5)
    assert np.isnan(runner.run(initial, 0.3, BATCHES, measure=NEVER).barrier)


def test_without_a_barrier_the_largest_loss_on_the_line_is_the_initial_loss_to_the_last_bit(runner, initial):
    higher = replace(initial, loss=np.nextafter(initial.loss, 2 * initial.loss))  # as summed in another order
    for start in (initial, higher):
        run = runner.run(start, 1e-3, BATCHES, measure=NEVER, barrier_after=len(BATCHES))
        assert run.barrier == start.loss


class Noisy(keras.Model):
    """A network whose training depends on noise."""

    def __init__(self):
        super().__init__()
        self.first, self.drop, self.last = keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(3)

    def call(self, x, training=False):
        return self.last(self.drop(self.first(x), training=training))


def test_noise_does_not_depend_on_earlier_runs_but_on_the_initialisation():
    x, y = classification(64, dtype=np.float32)
    network = Noisy()
    network(x[:1])
    model = SharpnessModel(network, measurement=(x[:24], y[:24]), every=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=HalfMeanSquaredError(), jit_compile=False)
    noisy, weights = TrajectoryRunner(model, x, y), network.get_weights()
    one, two = (noisy.initial_state(weights, noise_seed) for noise_seed in (1, 2))
    first, other, again = (noisy.run(state, 0.3, BATCHES) for state in (one, two, one))
    np.testing.assert_array_equal(first.loss, again.loss)
    assert first.loss[0] == other.loss[0]
    assert (first.loss[1:] != other.loss[1:]).all()


@pytest.mark.parametrize(
    ("shares", "measured"),
    [
        ([0.9, 0.3, 0.3, 0.6], [1, 4]),
        ([0.9, 0.3, 0.3, 0.4], [1]),
        ([0.9, 0.8, 0.7, 0.6], [1]),
        ([0.9, 0.3, 0.6, 0.4], [1, 3]),
        ([0.3, 0.2, 0.8, 0.9], [3, 4]),
        ([0.9, 0.88, 0.3, 0.4], [1, 2]),
    ],
    ids=["rises again", "stays far", "falls", "rises in between", "nearest at the end", "two near"],
)
def test_the_whole_set_is_asked_where_the_estimates_come_nearest_and_where_they_rise_again(shares, measured):
    run, exact = estimated_run(shares, 1.11)
    assert [step for step in range(1, STEPS + 1) if np.isfinite(run.residual[step])] == measured
    for step in measured:  # as far as the side of the limit needs
        assert run.sharpness[step] <= exact.sharpness[step] * (1 + 1e-5)


def test_every_step_is_measured_that_may_exceed_the_limit_if_it_is_as_far_behind_as_the_nearest():
    run, exact = estimated_run([0.6, 0.58, 0.3, 0.3], 1.05)  # the truth is at about 0.95 of the limit
    assert [step for step in range(1, STEPS + 1) if np.isfinite(run.residual[step])] == [1, 2]
    assert (exact.sharpness < 1.05 * exact.sharpness[0]).all()


def test_every_step_is_measured_that_may_exceed_the_limit_if_it_says_too_little_as_the_nearest_says_too_much():
    run, _ = estimated_run([0.9, 0.6, 0.3, 0.3], 1.9)  # the truth is at about 0.53 of the limit
    assert [step for step in range(1, STEPS + 1) if np.isfinite(run.residual[step])] == [1, 2]
    near, _ = estimated_run([0.9, 0.6, 0.3, 0.3], 1.11)
    assert [step for step in range(1, STEPS + 1) if np.isfinite(near.residual[step])] == [1]


def estimated_run(shares, limit):
    """A run with these estimates, as shares of a limit that is given as a share of lambda_0; and the same measured."""
    x, y = classification(128, dtype=np.float32)
    model = SharpnessModel(FCN(width=6, depth=3).build((6,), 3, seed=0), measurement=(x, y), every=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=HalfMeanSquaredError(), jit_compile=False)
    runner, tracker = TrajectoryRunner(model, x, y), model.tracker
    initial = runner.initial_state(model.network.get_weights())
    limit, of_sample = limit * initial.sharpness, tracker.measure_sample

    def told(step, before):
        values = tf.constant([0.0, *shares]) * limit / initial.sample_scale
        return of_sample(step, before)._replace(eigenvalue=tf.gather(values, step))

    tracker.measure_sample = told
    run = runner.run(initial, 0.01, BATCHES, sharpness_limit=limit)
    return run, runner.run(initial, 0.01, BATCHES)

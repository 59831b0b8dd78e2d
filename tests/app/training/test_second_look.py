"""Sharpnesses of networks driven far, beside the same networks in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification

from sharpness_phases.models import FCN
from sharpness_phases.training import second_look
from sharpness_phases.training.rows import Row
from sharpness_phases.training.runner import TrajectoryRunner
from sharpness_phases.training.sharpness_model import SharpnessModel

STEPS = 8
BATCHES = np.tile(np.arange(64).reshape(4, 16), (2, 1))


@pytest.fixture(scope="module")
def runner():
    network = FCN(width=24, depth=8, activation="tanh").build((6,), 3, seed=0)
    x, y = classification(64, dtype=np.float32)
    model = SharpnessModel(network, measurement=(x, y), every=0)
    model.compile(keras.optimizers.SGD(0.0), keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    return TrajectoryRunner(model, x, y)


def in_float64(runner, weights, vector):
    """v.Hv in float64."""
    x, y = (tf.cast(part, tf.float64) for part in runner.model.measurement)
    matrices = [tf.constant(weight, tf.float64) for weight in weights]
    sizes = np.cumsum([matrix.shape.num_elements() for matrix in matrices])[:-1]
    parts = [part.reshape(matrix.shape) for part, matrix in zip(np.split(vector, sizes), matrices, strict=True)]
    along = tf.Variable(0.0, dtype=tf.float64)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            hidden = x
            for index, (matrix, part) in enumerate(zip(matrices, parts, strict=True)):
                hidden = hidden @ (matrix + along * part)
                hidden = tf.tanh(hidden) if index < len(matrices) - 1 else hidden
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, hidden))
        slope = inner.gradient(loss, along)
    return outer.gradient(slope, along).numpy()


def errors(runner, run, initial, rate):
    """Relative difference of each sharpness that says it converged from that of float64."""
    found = []
    steps = [step for step in range(1, len(run.loss)) if run.converged[step]]
    for step, weights in zip(steps, runner.weights_after(initial, rate, BATCHES, steps), strict=True):
        vector = runner.model.tracker.measure(step).sharpness.eigenvector.numpy().astype(np.float64)
        found.append(abs(in_float64(runner, weights, vector / np.linalg.norm(vector)) / run.sharpness[step] - 1))
    return np.array(found)


def before_training(runner, seed):
    return runner.initial_state(FCN(width=24, depth=8, activation="tanh").build((6,), 3, seed=seed).get_weights())


def far_errors(runner):
    found = []
    for seed in (1, 2):
        initial = before_training(runner, seed)
        for rate in (64 / initial.sharpness, 256 / initial.sharpness):
            found.append(errors(runner, runner.run(initial, rate, BATCHES), initial, rate))
    return np.concatenate(found)


def test_a_sharpness_that_rounding_decides_does_not_say_that_it_converged(runner, monkeypatch):
    looked_at = far_errors(runner)
    monkeypatch.setattr(second_look, "FAR_LOSS", np.inf)
    monkeypatch.setattr(second_look, "FAR_SHARPNESS", np.inf)
    assert np.max(far_errors(runner)) > 1e-3
    assert np.max(looked_at) < 1e-3
    assert len(looked_at) >= 5


def test_looking_again_changes_nothing_else(runner, monkeypatch):
    initial = before_training(runner, 1)
    rate = 300 / initial.sharpness
    ours, weights = runner.run(initial, rate, BATCHES), runner.model.network.get_weights()
    monkeypatch.setattr(second_look, "FAR_LOSS", np.inf)
    monkeypatch.setattr(second_look, "FAR_SHARPNESS", np.inf)
    plain = runner.run(initial, rate, BATCHES)
    for after, before in zip(runner.model.network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(after, before)
    for name in ("loss", "sharpness", "residual"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(plain, name))
    assert (ours.hvps >= plain.hvps).all() and ours.hvps.sum() > plain.hvps.sum()
    assert (plain.converged | ~ours.converged).all()


def test_a_step_that_could_not_be_measured_is_not_open_again():
    estimates = np.array([1.0, 0.3, 0.8])
    table = Row(*np.ones((3, len(Row._fields))).T)._replace(sharpness=estimates.copy(), residual=np.full(3, np.nan))
    assert second_look._open_steps(table, estimates, 1.0) == [2]
    table.sharpness[2] = np.nan
    assert second_look._open_steps(table, estimates, 1.0) == []

"""Runs of optimizers that divide the gradient: each as if it were the only one, by dense Hessians."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases import SharpnessModel, stability_edge
from sharpness_phases.models import FCN
from sharpness_phases.training.losses import HalfMeanSquaredError
from sharpness_phases.training.runner import TrajectoryRunner

X, Y = classification(160, dtype=np.float32)
MEASURED = slice(0, 140)  # as many as would have a sample
BATCHES = np.arange(160).reshape(4, 40)
RATE = 0.01
OPTIMIZERS = {"Adam": keras.optimizers.Adam, "Nadam": keras.optimizers.Nadam, "RMSprop": keras.optimizers.RMSprop}


def network():
    return FCN(width=5, depth=3, activation="tanh").build((6,), 3, seed=1)


def gradients(net, batch):
    with tf.GradientTape() as tape:
        loss = 0.5 * tf.reduce_mean((net(X[batch]) - Y[batch]) ** 2)
    return tape.gradient(loss, [variable.value for variable in net.trainable_variables])


def expected(kind, rate):
    """lambda^P before training, with the first batch's gradient, and after each step, from a plain Keras loop."""
    net, optimizer = network(), kind(rate)
    optimizer.build(net.trainable_variables)
    values = []
    for step in range(len(BATCHES) + 1):
        found = stability_edge(optimizer, None if step else gradients(net, BATCHES[0]))
        root = found.preconditioner.astype(np.float64) ** -0.5
        hessian = dense_hessian(operator_of(net, HalfMeanSquaredError(), X[MEASURED], Y[MEASURED]))
        values.append(np.linalg.eigvalsh(root[:, None] * hessian * root)[-1])
        if step < len(BATCHES):
            optimizer.apply(gradients(net, BATCHES[step]), net.trainable_variables)
    return values


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name != "Nadam" else name for name in OPTIMIZERS]
)
def test_a_run_has_the_preconditioned_sharpness_of_every_step_whatever_ran_before(name):
    kind = OPTIMIZERS[name]
    model = SharpnessModel(network(), measurement=(X[MEASURED], Y[MEASURED]), every=0)
    model.compile(optimizer=kind(1.0), loss=HalfMeanSquaredError(), jit_compile=False)
    runner = TrajectoryRunner(model, X, Y)
    weights = network().get_weights()
    runner.run(runner.initial_state(weights), 0.1, BATCHES)  # leaves weights, moments and counters elsewhere
    initial = runner.initial_state(weights, first_batch=BATCHES[0])
    run = runner.run(initial, RATE, BATCHES)
    np.testing.assert_allclose(run.sharpness, expected(kind, RATE), rtol=2e-3)
    limited = runner.run(initial, RATE, BATCHES, sharpness_limit=0.99 * run.sharpness[2])
    assert np.isfinite(limited.sharpness).sum() == np.argmax(run.sharpness[1:] > 0.99 * run.sharpness[2]) + 2

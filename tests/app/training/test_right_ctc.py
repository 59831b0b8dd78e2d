"""The CTC loss that can be differentiated twice, against a sum over all alignments written out."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import Lanczos, SharpnessModel, critical_learning_rate
from sharpness_phases.training.right_derivatives import measured

LOGITS = np.random.default_rng(0).standard_normal((2, 5, 3))
LABELS = np.array([[1, 1], [2, 0]])
LABEL_LENGTH, LOGIT_LENGTH = np.array([2, 1]), np.array([5, 3])


def collapsed(path, blank=0):
    return [key for key, _ in itertools.groupby(path) if key != blank]


def loss_of(logits, label, steps):
    """-log of the summed probability of all paths that collapse to the label."""
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    paths = itertools.product(range(logits.shape[-1]), repeat=steps)
    return -np.log(sum(np.prod(p[range(steps), path]) for path in paths if collapsed(path) == list(label)))


def total(flat):
    logits = flat.reshape(LOGITS.shape)
    parts = zip(logits, LABELS, LABEL_LENGTH, LOGIT_LENGTH, strict=True)
    return sum(loss_of(each, label[:length], steps) for each, label, length, steps in parts)


def measured_loss(logits):
    with measured():
        return tf.nn.ctc_loss(LABELS, logits, LABEL_LENGTH, LOGIT_LENGTH, logits_time_major=False, blank_index=0)


def test_losses_are_those_of_all_alignments_and_tensorflows():
    found = measured_loss(tf.constant(LOGITS)).numpy()
    expected = [loss_of(LOGITS[0], [1, 1], 5), loss_of(LOGITS[1], [2], 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    original = tf.nn.ctc_loss(LABELS, LOGITS.astype("float32"), LABEL_LENGTH, LOGIT_LENGTH, False, blank_index=0)
    np.testing.assert_allclose(found, original, rtol=1e-5)


def test_second_derivatives_are_differences_of_the_sum_over_alignments():
    logits = tf.Variable(LOGITS)

    @tf.function
    def hessian():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(measured_loss(logits))
            gradient = tf.reshape(inner.gradient(loss, logits), [-1])
        return outer.jacobian(gradient, logits, experimental_use_pfor=False)

    found, step = hessian().numpy().reshape(30, 30), 1e-4
    units = step * np.eye(30)
    for i, j in [(0, 0), (1, 4), (7, 7), (3, 13), (15, 18), (20, 19), (24, 24), (2, 17)]:
        ahead, behind = (total(LOGITS.ravel() + sign * units[i] + units[j]) for sign in (1, -1))
        ahead_back, behind_back = (total(LOGITS.ravel() + sign * units[i] - units[j]) for sign in (1, -1))
        expected = (ahead - behind - ahead_back + behind_back) / (4 * step**2)
        assert found[i, j] == pytest.approx(expected, abs=1e-6)


def test_labels_that_do_not_fit_have_an_infinite_loss_and_sparse_ones_of_version_1_the_last_class_as_blank():
    sparse = tf.SparseTensor([[0, 0], [0, 1], [1, 0]], [1, 1, 0], [2, 2])
    inputs = tf.constant(LOGITS.astype("float32"))
    with measured():
        found = tf.compat.v1.nn.ctc_loss(sparse, inputs, [5, 3], time_major=False)
        never = tf.nn.ctc_loss([[1, 1]], inputs[:1], [2], [2], logits_time_major=False, blank_index=0)
    np.testing.assert_allclose(found, tf.compat.v1.nn.ctc_loss(sparse, inputs, [5, 3], time_major=False), rtol=1e-5)
    assert np.isinf(never.numpy()).all()


@pytest.mark.slow
def test_a_network_with_keras_ctc_loss_is_measured():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((6, 4)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(4)])
    x, y = np.random.default_rng(1).standard_normal((8, 6, 4)), np.random.default_rng(2).integers(1, 4, (8, 2))
    model = SharpnessModel(network, measurement=(x, y), solver=Lanczos(1e-4))
    model.compile(optimizer="sgd", loss=keras.losses.CTC(), jit_compile=False)
    found = model.sharpness()
    assert found.converged
    ahead, behind = (gradient_at(network, x, y, sign * 1e-2 * found.eigenvector) for sign in (1, -1))
    np.testing.assert_allclose(
        (ahead - behind) / 2e-2, found.eigenvalue * found.eigenvector, atol=1e-2 * found.eigenvalue
    )


def gradient_at(network, x, y, step):
    """TensorFlow's own gradient of the loss at moved weights."""
    weights = network.get_weights()
    ends = np.cumsum([weight.size for weight in weights])[:-1]
    network.set_weights([w + s.reshape(w.shape) for w, s in zip(weights, np.split(step, ends), strict=True)])
    with tf.GradientTape() as tape:
        loss = keras.losses.CTC()(y, network(x))
    found = tape.gradient(loss, [v.value for v in network.trainable_variables])
    network.set_weights(weights)
    return np.concatenate([part.numpy().ravel() for part in found])


@pytest.mark.slow
def test_how_far_its_next_step_may_go_is_found_without_tensorflows_second_derivative():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(3)])
    network.compile(keras.optimizers.SGD(0.1), keras.losses.CTC(), jit_compile=False)
    x = np.random.default_rng(0).standard_normal((2, 5, 4))
    found = critical_learning_rate(network, (x, LABELS))
    model = SharpnessModel(network, measurement=(x, LABELS))
    model.compile("sgd", keras.losses.CTC(), jit_compile=False)
    here = model.tracker.operator.linearize()
    g = here.gradient.numpy()
    assert found.lambda_dir == pytest.approx(g @ here.matvec(here.gradient).numpy() / (g @ g), rel=1e-2)
    assert 0 < found.eta_c < np.inf

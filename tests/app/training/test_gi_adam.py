"""Adam whose second moment begins with the first gradient, against its rule written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import stability_edge
from sharpness_phases.training.gi_adam import GIAdam

RATE, B1, B2, EPSILON = 0.02, 0.9, 0.95, 1e-7
GRADIENTS = np.random.default_rng(3).standard_normal((6, 4)) * [1.0, 1e-3, 10.0, 0.3]
START = np.array([0.5, -1.0, 2.0, 0.0])


def by_hand(gradients, decay=0.0, amsgrad=False, clip=np.inf):
    """Kingma & Ba's loop with v_0 = g_0^2 in the place of zero; epsilon where Keras has it. All weights of the way."""
    w, m, v, largest, seen = START.copy(), 0.0, None, 0.0, []
    for k, raw in enumerate(gradients, start=1):
        g = np.clip(raw, -clip, clip)
        v = g**2 if v is None else v
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
        largest = np.maximum(largest, v)
        root = np.sqrt(largest if amsgrad else v) / np.sqrt(1 - B2**k)
        w = w - RATE * decay * w
        w = w - RATE * m / (1 - B1**k) / (root + EPSILON / np.sqrt(1 - B2**k))
        seen.append(w)
    return np.array(seen)


def by_keras(optimizer, gradients, wrapped=tf.constant):
    weights = keras.Variable(START, dtype="float64")
    optimizer.build([weights])
    seen = []
    for gradient in gradients:
        optimizer.apply([wrapped(gradient)], [weights])
        seen.append(weights.numpy())
    return np.array(seen)


CASES = {
    "plain": {},
    "with decay": {"weight_decay": 0.5},
    "AMSGrad": {"amsgrad": True},
    "clipped": {"clipvalue": 0.2},
}


@pytest.mark.parametrize("case", CASES)
def test_its_steps_are_those_of_the_rule(case):
    arguments = CASES[case]
    expected = by_hand(
        GRADIENTS,
        arguments.get("weight_decay", 0.0),
        arguments.get("amsgrad", False),
        arguments.get("clipvalue", np.inf),
    )
    found = by_keras(GIAdam(RATE, beta_2=B2, **arguments), GRADIENTS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # Keras has 1 - beta^k in float32 beside the weights
    plain = by_keras(keras.optimizers.Adam(RATE, beta_2=B2, **arguments), GRADIENTS)
    assert (
        np.abs(plain[0] - START).max()
        > 4 * np.abs(expected[0] - (1 - RATE * arguments.get("weight_decay", 0)) * START).max()
    )


def test_a_sparse_first_gradient_is_squared_after_its_parts_are_added():
    def sparse(gradient):
        rows = tf.constant([0, 1, 1, 2, 3], tf.int64)
        values = np.array([gradient[0], gradient[1] / 3, 2 * gradient[1] / 3, gradient[2], gradient[3]])
        return tf.IndexedSlices(tf.constant(values), rows, tf.constant([4], tf.int64))

    optimizer = GIAdam(RATE, beta_2=B2)
    by_keras(optimizer, GRADIENTS[:1], sparse)
    np.testing.assert_allclose(optimizer.variables[3].numpy(), GRADIENTS[0] ** 2, rtol=1e-6)


def test_where_gradients_are_accumulated_the_first_mean_counts():
    doubled = np.repeat(GRADIENTS, 2, axis=0) * np.tile([0.5, 1.5], len(GRADIENTS))[:, None]
    optimizer = GIAdam(RATE, beta_2=B2, gradient_accumulation_steps=2)
    np.testing.assert_allclose(by_keras(optimizer, doubled)[1::2], by_hand(GRADIENTS), rtol=1e-5)


@pytest.mark.parametrize("beta_2", [0.9, 0.999])
def test_its_first_preconditioner_is_that_of_adam_over_the_root_of_1_minus_beta_2(beta_2):
    found = []
    for kind in (GIAdam, keras.optimizers.Adam):
        optimizer = kind(RATE, beta_2=beta_2)
        optimizer.build([keras.Variable(np.zeros(4))])
        found.append(stability_edge(optimizer, [GRADIENTS[0].astype("float32")]))
    ours, adams = found
    expected = 0.1 * (np.abs(GRADIENTS[0]) + EPSILON) / np.sqrt(1 - beta_2)
    np.testing.assert_allclose(ours.preconditioner, expected, rtol=1e-4)
    np.testing.assert_allclose(ours.preconditioner / adams.preconditioner, (1 - beta_2) ** -0.5, rtol=2e-3)
    assert (ours.edge, ours.words, ours.operator) == (adams.edge, adams.words, adams.operator)


def test_a_model_that_is_compiled_with_it_is_saved_and_read(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(GIAdam(RATE, beta_2=B2), loss="mse")
    x = np.random.default_rng(0).standard_normal((8, 3))
    model.fit(x, x[:, :2], verbose=0)
    model.save(tmp_path / "model.keras")
    read = keras.saving.load_model(tmp_path / "model.keras")
    assert type(read.optimizer) is GIAdam
    assert read.optimizer.beta_2 == B2
    for ours, theirs in zip(model.optimizer.variables, read.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())

"""Small problems with known answers."""

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.training.objective import Objective


def classification(examples=24, shape=(6,), classes=3, seed=0, dtype=np.float64):
    """Random inputs and one-hot targets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, *shape)).astype(dtype)
    return x, np.eye(classes, dtype=dtype)[rng.integers(classes, size=examples)]


def operator_of(network, loss, x, y, chunk_size=None):
    """The Hessian of a Keras loss of a network."""
    return Objective(network, loss).hessian(x, y, chunk_size)


def dense_hessian(operator, rows=None):
    """The Hessian, or some rows of it, from TensorFlow's `jacobian` of the gradient: another path than ours."""

    @tf.function(autograph=False)
    def jacobian():
        with tf.GradientTape(persistent=True) as tape:
            gradient = operator.linearize().gradient
            flat = gradient if rows is None else tf.gather(gradient, rows)
        return tape.jacobian(flat, operator.variables, experimental_use_pfor=False)

    blocks = [block.numpy() for block in jacobian()]
    return np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)


def matvec_of(matrix):
    """The product with a matrix."""
    constant = tf.constant(matrix)
    return lambda vector: tf.linalg.matvec(constant, vector)


def symmetric(eigenvalues, seed=0):
    """A symmetric matrix with given eigenvalues."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))
    return (q * np.asarray(eigenvalues, np.float64)) @ q.T


def reset_keras():
    """Forget the names and graphs of earlier tests."""
    keras.backend.clear_session()

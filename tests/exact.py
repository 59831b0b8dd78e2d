"""Hessians of losses that a test writes out itself, in float64, from differences of their first derivatives.

Neither Keras nor the project takes part, and no second derivative of TensorFlow's.
"""

import numpy as np
import tensorflow as tf

from sharpness_phases.training.tracing import traced

STEP = 1e-5
"""Of central differences, absolute: for smooth losses of weights near 1, right to 1e-9."""


class WrittenOut:
    """A loss `loss(*weights)` of weights in Keras' order, all in float64, at given weights."""

    def __init__(self, loss, weights):
        self._loss = traced(loss)
        self._gradient = traced(self._gradient_at)
        self._weights = [np.asarray(weight, np.float64) for weight in weights]
        self.size = sum(weight.size for weight in self._weights)

    def value(self):
        return float(self._loss(*map(tf.constant, self._weights)))

    def product(self, vector):
        """H v from the gradients at w + h v and w - h v, h relative to the length of v."""
        step = STEP / np.abs(vector).max()
        return (self._gradient_along(step * vector) - self._gradient_along(-step * vector)) / (2 * step)

    def hessian(self):
        return np.stack([self.product(unit) for unit in np.eye(self.size)])

    def sharpness(self):
        return np.linalg.eigvalsh(self.hessian())[-1]

    def _gradient_along(self, vector):
        ends = np.cumsum([weight.size for weight in self._weights])[:-1]
        parts = zip(self._weights, np.split(vector, ends), strict=True)
        return self._gradient([tf.constant(weight + part.reshape(weight.shape)) for weight, part in parts]).numpy()

    def _gradient_at(self, weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = self._loss(*weights)
        gradients = tape.gradient(value, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)


def assert_right(model, loss, rel=1e-3):
    """Hold loss, gradient and a product of what a `SharpnessModel` measures against the loss written out."""
    here = model.tracker.hessian.linearize()  # builds the network
    exact = WrittenOut(loss, model.network.trainable_weights)
    np.testing.assert_allclose(float(here.loss), exact.value(), rtol=1e-2 * rel)
    direction = np.random.default_rng(0).standard_normal(exact.size)
    expected = exact.product(direction)
    found = here.matvec(tf.constant(direction, here.gradient.dtype)).numpy()
    np.testing.assert_allclose(found, expected, atol=rel * np.abs(expected).max())


def cross_entropy(logits, labels):
    """-log softmax of the label, for each."""
    log = logits - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    return -tf.gather(log, tf.constant(labels, tf.int32), batch_dims=len(log.shape) - 1)

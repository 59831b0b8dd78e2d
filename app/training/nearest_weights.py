"""The weights at which a run came nearest to a limit of the sharpness, to be measured when it has ended."""

from __future__ import annotations

import keras
import tensorflow as tf

from sharpness_phases.curvature.operator import Operator, Scalar


class NearestWeights:
    """The weights of the step at which a run came nearest to a limit, by its estimates.

    Args:
        network: The network that is trained.
        operator: Its Hessian.

    Attributes:
        weights: Copies of its weights at that step.
        step: Its number; -1 if there is none.
        estimate: The estimate there.
        scale: The sharpness over that of the sample, when both were measured last.
        top: The sample's last top eigenvector.
    """

    def __init__(self, network: keras.Model, operator: Operator) -> None:
        self._of_network = network.weights
        self.weights = [tf.Variable(weight.value, trainable=False) for weight in network.weights]
        self.step = tf.Variable(-1, trainable=False)
        self.estimate = tf.Variable(-float("inf"), trainable=False, dtype=tf.float64)
        self.scale = tf.Variable(float("nan"), trainable=False, dtype=tf.float64)
        self.top = tf.Variable(tf.zeros([operator.size], operator.dtype), trainable=False)

    def reset(self, scale: float) -> None:
        """Forget the last run."""
        self.step.assign(-1)
        self.estimate.assign(-float("inf"))
        self.scale.assign(scale)
        self.top.assign(tf.zeros_like(self.top))

    def see(self, step: Scalar, estimate: Scalar) -> None:
        """Keep the present weights if the estimate is the largest so far; callable inside a `tf.function`."""

        def keep() -> Scalar:
            for copy, weight in zip(self.weights, self._of_network, strict=True):
                copy.assign(weight.value)
            self.estimate.assign(estimate)
            return self.step.assign(step)

        tf.cond(estimate > self.estimate, keep, lambda: tf.identity(self.step))

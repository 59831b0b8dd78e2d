"""The published protocol, compiled: what the default way is held against."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.bench.work import Work
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.operator import Scalar, Vector
from sharpness_phases.curvature.power import PowerIteration
from sharpness_phases.data.preprocessing import TrainingData, batch_indices
from sharpness_phases.runs.trajectory import Trajectory, has_diverged
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.training.measurement_set import Examples
from sharpness_phases.training.objective import Objective

SharpnessMeasurement: TypeAlias = Callable[[Vector], tuple[Scalar, Scalar]]
"""From a start vector (n,) to the sharpness and the Hessian-vector products spent on it."""

_CHUNK = 4096
"""Training examples whose loss is evaluated at once.

Chosen, not measured: more take more memory, fewer are smaller matrix products, which run at a lower rate."""

_REPEATS = 3
"""Sharpnesses timed each way, for the shortest, to choose between the two ways.

Chosen, not measured: more take longer before the protocol starts; where the two ways are so close that three do not
tell them apart, either will do."""

_SAME = 1e-3
"""Relative difference up to which the two ways' sharpness is the same.

Chosen, not measured: smaller, and the rounding of float32 would rule out the faster way; larger, and a way whose second
derivatives are wrong could pass."""


class ReferenceProtocol:
    """Kalra & Barkeshli's (2023, App. A) measurement of one initialisation, for every c up to divergence.

    T steps for each c; after each step the loss on the whole training set, and the sharpness by 20 power iterations
    from a random start and one product more; lambda_0 is measured anew for each c. Everything is compiled, and the
    product is that of the faster way: reverse over reverse with the gradient computed once for each sharpness, or
    forward over reverse.

    Args:
        config: The experiment, trained without momentum.
        network: A network of the architecture; its weights are overwritten.
        data: The training data.
        measurement: Pair (x, y) of the measurement set.
    """

    def __init__(
        self, config: ExperimentConfig, network: keras.Model, data: TrainingData, measurement: tuple[Examples, Examples]
    ) -> None:
        self._config = config
        self._network = network
        self._x, self._y = tf.constant(data.x), tf.constant(data.y)
        loss = build_loss(config.loss, of_labels=config.data.info.has_labels)
        self._objective = Objective(network, loss, config.sharpness.batch_norm)
        self._variables = self._objective.variables
        self._measurement = tuple(tf.constant(part) for part in measurement)
        self._operator = self._objective.hessian(*self._measurement)
        self._solver = PowerIteration()
        self._step = tf.function(self._train)
        self._evaluate = tf.function(self._objective.loss)
        self.forward_over_reverse = False
        self._measure = self._faster()
        self._compile()

    def run(self, weights: list[np.ndarray], seed: int) -> tuple[dict[int, Trajectory], Work]:
        """Measure one initialisation.

        Args:
            weights: Its initial weights.
            seed: Fixes its batches, as in the default way, and the start vectors.

        Returns:
            Grid index to trajectory, for all c = 2^x with x >= 0 up to the first that diverges; and what was computed.
        """
        training, runs, work = self._config.training, {}, Work()
        batches = batch_indices(len(self._x), training.batch_size, training.steps, seed)
        for index, exponent in enumerate(self._config.sweep.lr_exponents.exponents()):
            if exponent < 0:
                continue
            self._network.set_weights(weights)
            runs[index], work = self._trajectory(2.0**exponent, batches, seed, work)
            if runs[index].diverged:
                break
        return runs, work

    def initial_sharpness(self, weights: list[np.ndarray]) -> tuple[float, int]:
        """lambda_0, from one random start vector, and its products."""
        self._network.set_weights(weights)
        return self._sharpness(np.random.default_rng(0))

    def _trajectory(self, c: float, batches: np.ndarray, seed: int, work: Work) -> tuple[Trajectory, Work]:
        rng = np.random.default_rng(seed)
        rows: list[tuple[float, ...]] = []
        for step in range(len(batches) + 1):
            if step:
                self._step(tf.constant(batches[step - 1]), tf.constant(c / rows[0][1], tf.float32))
            loss, (sharpness, hvps) = self._whole_loss(), self._sharpness(rng)
            rows.append((loss, sharpness, hvps))
            if has_diverged(loss):
                break
        losses, values, products = (np.array(column) for column in zip(*rows, strict=True))
        unknown = np.full(len(losses), np.nan)
        taken = len(losses) - 1
        work = Work(
            work.steps + taken,
            work.evaluated + len(losses) * len(self._x),
            work.gradients + len(losses),
            work.products + int(products.sum()),
        )
        diverged = has_diverged(float(losses[-1]))
        never = np.zeros(len(losses), bool)  # the protocol does not look
        return Trajectory(losses, unknown, values, unknown, never, products.astype(np.int64), diverged), work

    def _sharpness(self, rng: np.random.Generator) -> tuple[float, int]:
        value, hvps = self._measure(tf.random.stateless_normal([self._operator.size], rng.integers(2**31, size=2)))
        return float(value), int(hvps)

    def _whole_loss(self) -> float:
        count = len(self._x)
        starts = range(0, count, _CHUNK)
        parts = [self._evaluate(self._x[i : i + _CHUNK], self._y[i : i + _CHUNK]) for i in starts]
        sizes = [min(_CHUNK, count - i) for i in starts]
        return float(sum(size * float(part) for size, part in zip(sizes, parts, strict=True)) / count)

    def _train(self, indices: tf.Tensor, learning_rate: Scalar) -> None:
        with tf.GradientTape() as tape:
            loss = self._objective.loss(tf.gather(self._x, indices), tf.gather(self._y, indices))
        for variable, gradient in zip(self._variables, tape.gradient(loss, self._variables), strict=True):
            variable.assign_sub(learning_rate * gradient)

    def _reverse(self, start: Vector) -> tuple[Scalar, Scalar]:
        result = self._solver.solve(self._operator.linearize().matvec, start)
        return result.eigenvalue, result.hvps

    def _forward(self, start: Vector) -> tuple[Scalar, Scalar]:
        def matvec(vector: Vector) -> Vector:
            with tf.autodiff.ForwardAccumulator(self._variables, self._operator.unflatten(vector)) as forward:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(self._variables)
                    loss = self._objective.loss(*self._measurement)
                gradient = tape.gradient(loss, self._variables)
            return self._operator.flatten(forward.jvp(gradient))

        result = self._solver.solve(matvec, start)
        return result.eigenvalue, result.hvps

    def _compile(self) -> None:
        """Trace a step and the loss, without moving the weights."""
        self._whole_loss()
        self._step(tf.zeros([self._config.training.batch_size], tf.int64), tf.constant(0.0))

    def _faster(self) -> SharpnessMeasurement:
        """The faster of the two ways; forward over reverse only where TensorFlow gets it right."""
        start = tf.random.stateless_normal([self._operator.size], [0, 0])
        reverse = tf.function(self._reverse)
        reverse_seconds, value = _seconds(reverse, start)
        try:
            forward = tf.function(self._forward)
            forward_seconds, same = _seconds(forward, start)
        except (TypeError, ValueError, AttributeError, tf.errors.OpError):
            return reverse
        if forward_seconds < reverse_seconds and abs(same - value) <= _SAME * abs(value):
            self.forward_over_reverse = True
            return forward
        return reverse


def _seconds(measure: SharpnessMeasurement, start: Vector) -> tuple[float, float]:
    """Shortest time of a compiled measurement, and its value."""
    value = float(measure(start)[0])
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        float(measure(start)[0])
        times.append(time.perf_counter() - begin)
    return min(times), value

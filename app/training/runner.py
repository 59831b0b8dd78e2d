"""Short training runs from one initial state, with the loss and the sharpness after every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from app.training.sharpness_model import SharpnessModel
from app.trajectory import Trajectory, has_diverged

LINE_POINTS = 101
"""Points of the line from theta_0 to theta_T on which a barrier is looked for (Kalra & Barkeshli 2023, Sec. 2.1)."""


@dataclass(frozen=True)
class InitialState:
    """A network before training, shared by all learning rates of one initialisation.

    Attributes:
        weights: The network's weights.
        loss: Loss L_0 on the measurement set.
        accuracy: Accuracy on the measurement set.
        sharpness: Initial sharpness lambda_0.
        eigenvector: Its flat eigenvector, shape (n,): where the first measurement of a run starts.
        residual: Residual of lambda_0.
        hvps: Products that lambda_0 took.
    """

    weights: list[np.ndarray]
    loss: float
    accuracy: float
    sharpness: float
    eigenvector: np.ndarray
    residual: float
    hvps: int


class TrajectoryRunner:
    """Runs one compiled `SharpnessModel` many times: weights are assigned, nothing is built or traced anew.

    Args:
        model: A compiled model with a measurement set and `every=0`.
        x: All training inputs, shape (N, ...); kept on the device.
        y: All training targets, shape (N, ...).
    """

    def __init__(self, model: SharpnessModel, x: Any, y: Any) -> None:
        self._model = model
        self._x, self._y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        self._step = tf.function(self._train_on, jit_compile=bool(model.jit_compile))
        self._line = tf.function(self._losses_on_line)

    def initial_state(self, weights: list[np.ndarray]) -> InitialState:
        """Measure loss and sharpness before training.

        Args:
            weights: Weights of the network, as `keras.Model.get_weights` gives them.

        Returns:
            The state from which runs start.
        """
        self._model.network.set_weights(weights)
        found = self._model.measure()
        result = found.sharpness.to_python()
        return InitialState(
            weights,
            float(found.loss),
            float(found.accuracy),
            result.eigenvalue,
            result.eigenvector,
            result.residual,
            result.hvps,
        )

    def run(
        self,
        initial: InitialState,
        learning_rate: float,
        batches: np.ndarray,
        measure: np.ndarray | None = None,
        threshold: float | None = None,
        stop: Callable[[float, float], bool] | None = None,
        barrier_after: int | None = None,
    ) -> Trajectory:
        """Train from the initial state, one optimizer step for each batch, until divergence.

        Args:
            initial: Where to start.
            learning_rate: Constant learning rate eta.
            batches: Indices into the training data, shape (steps, batch_size).
            measure: Whether to measure the sharpness after each step, shape (steps,); after all of them by default.
            threshold: Measure only as well as it takes to tell on which side of it the sharpness lies.
            stop: Function (L_t, lambda_t) -> whether the run may end here.
            barrier_after: Step after which to measure the largest loss on the line from the initial weights.

        Returns:
            The trajectory, with step 0 (whose products are not counted again) at index 0.
        """
        self._reset(initial, learning_rate)
        rows = [(initial.loss, initial.accuracy, initial.sharpness, initial.residual, 0)]
        diverged, barrier = has_diverged(initial.loss), float("nan")
        due = np.ones(len(batches), bool) if measure is None else measure
        for step, batch in enumerate(batches, start=1):
            if diverged:
                break
            self._step(tf.constant(batch))
            value, residual, hvps = float("nan"), float("nan"), 0
            if due[step - 1]:
                found = self._model.measure(warm_start=True, threshold=threshold)
                loss, accuracy = float(found.loss), float(found.accuracy)
                value, residual = float(found.sharpness.eigenvalue), float(found.sharpness.residual)
                hvps = int(found.sharpness.hvps)
            else:
                loss, accuracy = self._model.evaluate_measurement()
            diverged = has_diverged(loss)
            rows.append((loss, accuracy, value, residual, hvps))
            if step == barrier_after and not diverged:
                barrier = self._highest_loss_on_line(initial.weights)
            if stop is not None and stop(loss, value):
                break
        columns = [np.array(column, np.float64) for column in zip(*rows, strict=True)]
        *measured, products = columns
        losses, accuracies, values, residuals = measured
        return Trajectory(losses, accuracies, values, residuals, products.astype(np.int64), diverged, barrier)

    def _highest_loss_on_line(self, start: list[np.ndarray]) -> float:
        """Largest loss at `LINE_POINTS` equidistant points of the line from weights to the present ones, which stay."""
        network = self._model.network
        end = network.get_weights()
        losses = self._line([tf.constant(array) for array in start], [tf.constant(array) for array in end])
        network.set_weights(end)
        return float(np.max(losses.numpy()))

    def _losses_on_line(self, start: list[Any], end: list[Any]) -> Any:
        """The losses, in one compiled loop."""

        def loss_at(share: Any) -> Any:
            for weight, a, b in zip(self._model.network.weights, start, end, strict=True):
                weight.assign(a + tf.cast(share, a.dtype) * (b - a))
            return tf.cast(self._model.loss_on_measurement(), tf.float64)

        shares = tf.constant(np.linspace(0.0, 1.0, LINE_POINTS))
        return tf.map_fn(loss_at, shares, parallel_iterations=1)

    def _reset(self, initial: InitialState, learning_rate: float) -> None:
        self._model.network.set_weights(initial.weights)
        self._model.eigenvector.assign(initial.eigenvector)
        optimizer = self._model.optimizer
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable.value))
        optimizer.learning_rate = learning_rate

    def _train_on(self, indices: Any) -> Any:
        return self._model.train_step((tf.gather(self._x, indices), tf.gather(self._y, indices)))

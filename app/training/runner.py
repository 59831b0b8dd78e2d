"""Short training runs from one initial state, with the loss and the sharpness after every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from sharpness_phases.runs.trajectory import DIVERGENCE_LOSS, Trajectory, has_diverged
from sharpness_phases.training.sharpness_model import SharpnessModel

LINE_POINTS = 101
"""Points of the line from theta_0 to theta_T on which a barrier is looked for (Kalra & Barkeshli 2023, Sec. 2.1)."""

_STEPS_AT_ONCE = 64  # between two looks from outside, such as for Ctrl-C
_COLUMNS = 5  # of a row: loss, accuracy, sharpness, residual, products
_LOOP_ARGUMENTS = (
    tf.TensorSpec([None, None], tf.int64, name="batches"),
    tf.TensorSpec([None], tf.bool, name="due"),
    tf.TensorSpec([2], tf.float64, name="limits"),
    tf.TensorSpec([], tf.bool, name="begun"),
)


@dataclass(frozen=True)
class InitialState:
    """A network before training, shared by all learning rates of one initialisation.

    Attributes:
        weights: The network's weights.
        loss: Loss L_0 on the measurement set.
        accuracy: Accuracy on the measurement set.
        sharpness: Initial sharpness lambda_0.
        residual: Residual of lambda_0.
        error: Estimated error of lambda_0.
        converged: Whether lambda_0 is as exact as the solver was asked for.
        hvps: Products that lambda_0 took.
        tracker: State of the `SharpnessTracker`: where the first measurement of a run starts.
        noise_seed: Fixes the noise of dropout and the like in every run.
    """

    weights: list[np.ndarray]
    loss: float
    accuracy: float
    sharpness: float
    residual: float
    error: float
    converged: bool
    hvps: int
    tracker: list[np.ndarray]
    noise_seed: int = 0


class TrajectoryRunner:
    """Runs one compiled `SharpnessModel` many times: weights are assigned, nothing is built or traced anew.

    Steps, measurements and the conditions that end a run are one compiled loop. Runs from one initial state that begin
    with the same batch share its gradient, unless the network keeps a state of its own (such as a dropout's).

    Args:
        model: A compiled model with a measurement set and `every=0`.
        x: All training inputs, shape (N, ...); kept on the device.
        y: All training targets, shape (N, ...).
    """

    def __init__(self, model: SharpnessModel, x: Any, y: Any) -> None:
        self._model = model
        self._x, self._y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        self._noise = [v for v in model.network.non_trainable_variables if v.name == "seed_generator_state"]
        jit = bool(model.jit_compile)
        self._step = tf.function(self._train_on, jit_compile=jit)
        self._gradient = tf.function(self._gradient_on, jit_compile=jit)
        self._descend = tf.function(self._apply, jit_compile=jit)
        self._shared: tuple[InitialState, np.ndarray, Any] | None = None
        self._loop = tf.function(self._take_steps, input_signature=_LOOP_ARGUMENTS)
        self._line = tf.function(self._losses_on_line)

    def initial_state(self, weights: list[np.ndarray], noise_seed: int = 0) -> InitialState:
        """Measure loss and sharpness before training.

        Args:
            weights: Weights of the network, as `keras.Model.get_weights` gives them.
            noise_seed: Fixes the noise of dropout and the like in every run.

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
            result.residual,
            result.error,
            result.converged,
            result.hvps,
            self._model.tracker.state,
            noise_seed,
        )

    def run(
        self,
        initial: InitialState,
        learning_rate: float,
        batches: np.ndarray,
        measure: np.ndarray | None = None,
        loss_limit: float = float("inf"),
        sharpness_limit: float = float("nan"),
        barrier_after: int | None = None,
    ) -> Trajectory:
        """Train from the initial state, one optimizer step for each batch, until divergence.

        Args:
            initial: Where to start.
            learning_rate: Constant learning rate eta.
            batches: Indices into the training data, shape (steps, batch_size).
            measure: Whether to measure the sharpness after each step, shape (steps,); after all of them by default.
            loss_limit: The run ends when the loss exceeds this.
            sharpness_limit: The run ends when the sharpness exceeds this, and the sharpness is measured only as well as
                it takes to tell on which side of it it lies; NaN for neither.
            barrier_after: Step after which to measure the largest loss on the line from the initial weights.

        Returns:
            The trajectory, with step 0 (whose products are not counted again) at index 0.
        """
        self._reset(initial, learning_rate)
        rows = [np.array([[initial.loss, initial.accuracy, initial.sharpness, initial.residual, 0]])]
        due = np.ones(len(batches), bool) if measure is None else measure
        limits = tf.constant([min(loss_limit, DIVERGENCE_LOSS), sharpness_limit], tf.float64)
        barrier, ended = float("nan"), has_diverged(initial.loss)
        begun = not ended and self._take_shared_step(initial, batches[0])
        for begin, end in _blocks(len(batches), barrier_after):
            if ended:
                break
            taken = tf.constant(begun and begin == 0)
            found = self._loop(tf.constant(batches[begin:end]), tf.constant(due[begin:end]), limits, taken)
            table, steps, stopped = (part.numpy() for part in found)
            rows.append(table[:steps])
            ended = bool(stopped)
            if begin + steps == barrier_after and not has_diverged(table[steps - 1, 0]):
                barrier = self._highest_loss_on_line(initial)
        loss, accuracy, sharpness, residual, products = np.concatenate(rows).T
        diverged = has_diverged(float(loss[-1]))
        return Trajectory(loss, accuracy, sharpness, residual, products.astype(np.int64), diverged, barrier)

    def _take_shared_step(self, initial: InitialState, batch: np.ndarray) -> bool:
        """Take the first step, by the gradient that all runs share; whether there is one."""
        if self._model.network.non_trainable_variables:
            return False
        if self._shared is None or self._shared[0] is not initial or not np.array_equal(self._shared[1], batch):
            self._shared = None
            self._shared = (initial, batch, self._gradient(tf.constant(batch)))
        self._descend(self._shared[2])
        return True

    def _take_steps(self, batches: Any, due: Any, limits: Any, begun: Any) -> tuple[Any, Any, Any]:
        """Steps until a limit is exceeded: a row for each, their number, and whether a limit was.

        The first one is not taken again if the run has `begun`.
        """
        loss_limit, sharpness_limit = tf.unstack(limits)

        def measured() -> Any:
            found = self._model.tracker.measure(tf.constant(True), tf.cast(sharpness_limit, self._dtype))
            sharpness = found.sharpness
            return _row(found.loss, found.accuracy, sharpness.eigenvalue, sharpness.residual, sharpness.hvps)

        def evaluated() -> Any:
            return _row(*self._model.evaluate_measurement(), float("nan"), float("nan"), 0)

        def take(step: Any, stopped: Any, rows: Any) -> tuple[Any, Any, Any]:
            tf.cond(tf.logical_and(begun, step == 0), lambda: None, lambda: self._step(batches[step]))
            row = tf.cond(due[step], measured, evaluated)
            # Grappler makes `not a > b` to `a <= b`, which is wrong for NaN.
            exceeded = [tf.math.is_nan(row[0]), row[0] > loss_limit, row[2] > sharpness_limit]
            return step + 1, tf.reduce_any(exceeded), rows.write(step, row)

        count = tf.shape(batches)[0]
        rows = tf.TensorArray(tf.float64, size=count, element_shape=[_COLUMNS])
        steps, stopped, rows = tf.while_loop(
            lambda step, stopped, rows: tf.logical_and(step < count, tf.logical_not(stopped)),
            take,
            (tf.constant(0), tf.constant(False), rows),
            parallel_iterations=1,
        )
        return rows.stack(), steps, stopped

    def _highest_loss_on_line(self, initial: InitialState) -> float:
        """Largest loss at `LINE_POINTS` equidistant points of the line to the present weights, which stay.

        The first point's is L_0 as it was measured: computed in another way, it might exceed L_0 by rounding.
        """
        network = self._model.network
        end = network.get_weights()
        losses = self._line([tf.constant(array) for array in initial.weights], [tf.constant(array) for array in end])
        network.set_weights(end)
        return float(np.max(np.nan_to_num(losses.numpy(), nan=np.inf, posinf=np.inf), initial=initial.loss))

    def _losses_on_line(self, start: list[Any], end: list[Any]) -> Any:
        """The losses behind the first point, in one compiled loop."""

        def loss_at(share: Any) -> Any:
            for weight, a, b in zip(self._model.network.weights, start, end, strict=True):
                weight.assign(a + tf.cast(share, a.dtype) * (b - a))
            return tf.cast(self._model.loss_on_measurement(), tf.float64)

        shares = tf.constant(np.linspace(0.0, 1.0, LINE_POINTS)[1:])
        return tf.map_fn(loss_at, shares, parallel_iterations=1)

    def _reset(self, initial: InitialState, learning_rate: float) -> None:
        self._model.network.set_weights(initial.weights)
        for index, state in enumerate(self._noise):  # which are no weights to Keras
            state.assign([np.random.SeedSequence([initial.noise_seed, index]).generate_state(1)[0] >> 1, 0])
        self._model.tracker.state = initial.tracker
        optimizer = self._model.optimizer
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable.value))
        optimizer.learning_rate = learning_rate

    def _train_on(self, indices: Any) -> None:
        self._model.train_step((tf.gather(self._x, indices), tf.gather(self._y, indices)))

    def _gradient_on(self, indices: Any) -> list[Any]:
        x, y = tf.gather(self._x, indices), tf.gather(self._y, indices)
        with tf.GradientTape() as tape:
            loss = self._model.compute_loss(x=x, y=y, y_pred=self._model(x, training=True), training=True)
        return tape.gradient(loss, [v.value for v in self._model.trainable_variables])

    def _apply(self, gradient: list[Any]) -> None:
        self._model.optimizer.apply_gradients(zip(gradient, self._model.trainable_variables, strict=True))

    @property
    def _dtype(self) -> Any:
        return self._model.tracker.operator.dtype


def _row(*values: Any) -> Any:
    return tf.stack([tf.cast(value, tf.float64) for value in values])


def _blocks(steps: int, cut: int | None) -> list[tuple[int, int]]:
    """Ranges of steps taken at once; one of them ends at `cut`."""
    ends = sorted({*range(_STEPS_AT_ONCE, steps, _STEPS_AT_ONCE), steps, *([cut] if cut and cut < steps else [])})
    return list(zip([0, *ends], ends, strict=False))

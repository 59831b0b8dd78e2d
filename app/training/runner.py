"""Short training runs from one initial state, with the loss and the sharpness after every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.runs.trajectory import DIVERGENCE_LOSS, Trajectory, has_diverged
from sharpness_phases.training.measurement_set import Examples
from sharpness_phases.training.sharpness_model import SharpnessModel

LINE_POINTS = 101
"""Points of the line from theta_0 to theta_T on which a barrier is looked for (Kalra & Barkeshli 2023, Sec. 2.1)."""

_STEPS_AT_ONCE = 64
"""Steps of one compiled loop, between two looks from outside, such as for Ctrl-C. Chosen: a step of a small network
takes about a millisecond, so that Ctrl-C is heard within a fraction of a second, and entering the loop costs little."""

_COLUMNS = 5  # of a row: loss, accuracy, sharpness, residual, products

Tensor: TypeAlias = tf.Tensor
"""A tensor of any shape."""


class StepPlan(NamedTuple):
    """What happens at some steps of a run that are taken one after the other in a compiled loop.

    Attributes:
        batches: Indices into the training data, shape (steps, batch_size).
        measured: Whether the sharpness is measured after each step, shape (steps,).
        limits: The loss and the sharpness above which the run ends; a sharpness limit of NaN for none.
        begun: Whether the first of the steps has been taken already.
    """

    batches: Tensor
    measured: Tensor
    limits: Tensor
    begun: Scalar


_LOOP_ARGUMENT = StepPlan(
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

    Attributes:
        model: As given.
        shared_gradients: Number of gradients computed so far for runs to share.
    """

    def __init__(self, model: SharpnessModel, x: Examples, y: Examples) -> None:
        self.model = model
        self._x, self._y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        self.shared_gradients = 0
        self._noise = [v for v in model.network.non_trainable_variables if v.name == "seed_generator_state"]
        jit = bool(model.jit_compile)
        self._step = tf.function(self._train_on, jit_compile=jit)
        self._gradient = tf.function(self._gradient_on, jit_compile=jit)
        self._descend = tf.function(self._apply, jit_compile=jit)
        self._shared: tuple[InitialState, np.ndarray, list[Tensor]] | None = None
        self._loop = tf.function(self._take_steps, input_signature=[_LOOP_ARGUMENT])
        self._line = tf.function(self._losses_on_line)

    def initial_state(self, weights: list[np.ndarray], noise_seed: int = 0) -> InitialState:
        """Measure loss and sharpness before training.

        Args:
            weights: Weights of the network, as `keras.Model.get_weights` gives them.
            noise_seed: Fixes the noise of dropout and the like in every run.

        Returns:
            The state from which runs start.
        """
        self.model.network.set_weights(weights)
        found = self.model.measure()
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
            self.model.tracker.state,
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
        measured = np.ones(len(batches), bool) if measure is None else measure
        limits = (min(loss_limit, DIVERGENCE_LOSS), sharpness_limit)
        barrier, ended = float("nan"), has_diverged(initial.loss)
        begun = not ended and self._take_shared_step(initial, batches[0])
        for begin, end in _blocks(len(batches), barrier_after):
            if ended:
                break
            taken, ended = self._carry_out(batches[begin:end], measured[begin:end], limits, begun and begin == 0)
            rows.append(taken)
            if begin + len(taken) == barrier_after and not has_diverged(taken[-1, 0]):
                barrier = self._highest_loss_on_line(initial)
        loss, accuracy, sharpness, residual, products = np.concatenate(rows).T
        diverged = has_diverged(float(loss[-1]))
        return Trajectory(loss, accuracy, sharpness, residual, products.astype(np.int64), diverged, barrier)

    @property
    def traces(self) -> dict[str, int]:
        """How often each compiled function was traced: 1 for all runs together, 0 where it was not needed."""
        functions = {"step": self._step, "gradient": self._gradient, "loop": self._loop}
        return {name: function.experimental_get_tracing_count() for name, function in functions.items()}

    def _carry_out(
        self, batches: np.ndarray, measured: np.ndarray, limits: tuple[float, float], begun: bool
    ) -> tuple[np.ndarray, bool]:
        """Take steps until a limit is exceeded: a row for each that was taken, and whether a limit was exceeded."""
        plan = StepPlan(
            tf.constant(batches), tf.constant(measured), tf.constant(limits, tf.float64), tf.constant(begun)
        )
        table, steps, stopped = (part.numpy() for part in self._loop(plan))
        return table[:steps], bool(stopped)

    def _take_shared_step(self, initial: InitialState, batch: np.ndarray) -> bool:
        """Take the first step, by the gradient that all runs share; whether there is one."""
        if self.model.network.non_trainable_variables:
            return False
        if self._shared is None or self._shared[0] is not initial or not np.array_equal(self._shared[1], batch):
            self._shared = None
            self._shared = (initial, batch, self._gradient(tf.constant(batch)))
            self.shared_gradients += 1
        self._descend(self._shared[2])
        return True

    def _take_steps(self, plan: StepPlan) -> tuple[Tensor, Scalar, Scalar]:
        """Take steps until a limit is exceeded.

        Args:
            plan: The steps.

        Returns:
            A row for each step of the plan, the number of steps that were taken, and whether a limit was exceeded.
        """
        loss_limit, sharpness_limit = tf.unstack(plan.limits)

        def measured() -> Tensor:
            found = self.model.tracker.measure(tf.constant(True), tf.cast(sharpness_limit, self._dtype))
            sharpness = found.sharpness
            return _row(found.loss, found.accuracy, sharpness.eigenvalue, sharpness.residual, sharpness.hvps)

        def evaluated() -> Tensor:
            return _row(*self.model.evaluate_measurement(), float("nan"), float("nan"), 0)

        def take(step: Scalar, stopped: Scalar, rows: tf.TensorArray) -> tuple[Scalar, Scalar, tf.TensorArray]:
            tf.cond(tf.logical_and(plan.begun, step == 0), lambda: None, lambda: self._step(plan.batches[step]))
            row = tf.cond(plan.measured[step], measured, evaluated)
            # Grappler makes `not a > b` to `a <= b`, which is wrong for NaN.
            exceeded = [tf.math.is_nan(row[0]), row[0] > loss_limit, row[2] > sharpness_limit]
            return step + 1, tf.reduce_any(exceeded), rows.write(step, row)

        count = tf.shape(plan.batches)[0]
        rows = tf.TensorArray(tf.float64, size=count, element_shape=[_COLUMNS])
        steps, stopped, rows = tf.while_loop(
            lambda step, stopped, rows: tf.logical_and(step < count, tf.logical_not(stopped)),
            take,
            (tf.constant(0), tf.constant(False), rows),
            parallel_iterations=1,
        )
        return rows.stack(), steps, stopped

    def _highest_loss_on_line(self, initial: InitialState) -> float:
        """Look at the line to the present weights, which stay.

        Args:
            initial: Where the line begins.

        Returns:
            Largest loss at `LINE_POINTS` equidistant points; at the first one L_0 as it was measured, since computed
            in another way it might exceed L_0 by rounding.
        """
        network = self.model.network
        end = network.get_weights()
        losses = self._line([tf.constant(array) for array in initial.weights], [tf.constant(array) for array in end])
        network.set_weights(end)
        return float(np.max(np.nan_to_num(losses.numpy(), nan=np.inf, posinf=np.inf), initial=initial.loss))

    def _losses_on_line(self, start: list[Tensor], end: list[Tensor]) -> Tensor:
        """The losses behind the first point, in one compiled loop."""

        def loss_at(share: Scalar) -> Scalar:
            for weight, a, b in zip(self.model.network.weights, start, end, strict=True):
                weight.assign(a + tf.cast(share, a.dtype) * (b - a))
            return tf.cast(self.model.loss_on_measurement(), tf.float64)

        shares = tf.constant(np.linspace(0.0, 1.0, LINE_POINTS)[1:])
        return tf.map_fn(loss_at, shares, parallel_iterations=1)

    def _reset(self, initial: InitialState, learning_rate: float) -> None:
        self.model.network.set_weights(initial.weights)
        for index, state in enumerate(self._noise):  # which are no weights to Keras
            state.assign([np.random.SeedSequence([initial.noise_seed, index]).generate_state(1)[0] >> 1, 0])
        self.model.tracker.state = initial.tracker
        optimizer = self.model.optimizer
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable.value))
        optimizer.learning_rate = learning_rate

    def _train_on(self, indices: Tensor) -> None:
        self.model.train_step((tf.gather(self._x, indices), tf.gather(self._y, indices)))

    def _gradient_on(self, indices: Tensor) -> list[Tensor]:
        x, y = tf.gather(self._x, indices), tf.gather(self._y, indices)
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(x=x, y=y, y_pred=self.model(x, training=True), training=True)
        return tape.gradient(loss, [variable.value for variable in self.model.trainable_variables])

    def _apply(self, gradient: list[Tensor]) -> None:
        self.model.optimizer.apply_gradients(zip(gradient, self.model.trainable_variables, strict=True))

    @property
    def _dtype(self) -> tf.DType:
        return self.model.tracker.operator.dtype


def _row(*values: Scalar | float) -> Tensor:
    return tf.stack([tf.cast(value, tf.float64) for value in values])


def _blocks(steps: int, cut: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of steps taken at once; one of them ends at `cut`."""
    ends = sorted({*range(_STEPS_AT_ONCE, steps, _STEPS_AT_ONCE), steps, *([cut] if cut and cut < steps else [])})
    yield from zip([0, *ends], ends, strict=False)

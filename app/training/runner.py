"""Short training runs from one initial state, with the loss and the sharpness after every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import EigenResult, Scalar, Vector
from sharpness_phases.curvature.preconditioned import participation_ratio
from sharpness_phases.runs.edge import Rate
from sharpness_phases.runs.trajectory import DIVERGENCE_LOSS, Trajectory, has_diverged
from sharpness_phases.training.beginning import Beginning, InitialState
from sharpness_phases.training.line import Line, LineFromStart
from sharpness_phases.training.measurement_set import Examples
from sharpness_phases.training.nearest_weights import NearestWeights
from sharpness_phases.training.rows import COLUMNS, Row, measured_row
from sharpness_phases.training.second_look import WeightsAfter, confirm_estimates, doubt_far_sharpnesses
from sharpness_phases.training.sharpness_model import SharpnessModel
from sharpness_phases.training.tracing import traced

_STEPS_AT_ONCE = 64
"""Steps of one compiled loop, between two looks from outside, such as for Ctrl-C. Chosen: a step of a small network
takes about a millisecond, so that Ctrl-C is heard within a fraction of a second, and entering the loop costs little."""

Tensor: TypeAlias = tf.Tensor
"""A tensor of any shape."""


class StepPlan(NamedTuple):
    """What happens at some steps of a run that are taken one after the other in a compiled loop.

    Attributes:
        batches: Indices into the training data, shape (steps, batch_size).
        measured: Whether the sharpness is measured after each step, shape (steps,).
        rates: Learning rate of each step, shape (steps,).
        limits: The loss after the first step, the loss, and the sharpness above which the run ends; NaN for none.
        taken: Number of the run's steps before these.
        begun: Whether the first of these steps has been taken, too.
    """

    batches: Tensor
    measured: Tensor
    rates: Tensor
    limits: Tensor
    taken: Scalar
    begun: Scalar


_LOOP_ARGUMENT = StepPlan(
    tf.TensorSpec([None, None], tf.int64, name="batches"),
    tf.TensorSpec([None], tf.bool, name="due"),
    tf.TensorSpec([None], tf.float64, name="rates"),
    tf.TensorSpec([3], tf.float64, name="limits"),
    tf.TensorSpec([], tf.int32, name="taken"),
    tf.TensorSpec([], tf.bool, name="begun"),
)


class TrajectoryRunner:
    """Runs one compiled `SharpnessModel` many times: weights are assigned, nothing is built or traced anew.

    Where the optimizer has a preconditioner P, the sharpness is that of P^-1/2 H P^-1/2, in all that is said here.

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
        jit = bool(model.jit_compile)
        self._step = traced(self._train_on, jit_compile=jit)
        self._gradient = traced(self._gradient_on, jit_compile=jit)
        self._descend = traced(self._apply, jit_compile=jit)
        self._shared: tuple[InitialState, np.ndarray, list[Tensor]] | None = None
        self._loop = traced(self._take_steps, input_signature=[_LOOP_ARGUMENT])
        self._scouting = traced(self._take_estimated_steps, input_signature=[_LOOP_ARGUMENT])
        self._plain = traced(self._take_plain_steps, input_signature=[_LOOP_ARGUMENT])
        self._nearest: NearestWeights | None = None
        self._line = LineFromStart(model)
        self._beginning = Beginning(model)

    def initial_state(
        self, weights: list[np.ndarray], noise_seed: int = 0, first_batch: np.ndarray | None = None
    ) -> InitialState:
        """Measure loss and sharpness before training.

        Args:
            weights: Weights of the network, as `keras.Model.get_weights` gives them.
            noise_seed: Fixes the noise of dropout and the like in every run.
            first_batch: Indices into the training data, shape (batch_size,), of the batch that runs begin with: an
                optimizer's preconditioner P holds its gradient already at step 0. None: that on the measurement set.

        Returns:
            The state from which runs start.
        """
        self.model.network.set_weights(weights)
        at_floor = self._expect(weights, noise_seed, first_batch)
        found = self.model.measure()
        result = found.sharpness.to_python()
        products, scale = float(result.hvps), float("nan")
        if self.model.tracker.sample is not None:
            nothing = tf.zeros([self.model.tracker.operator.size], self._dtype)
            of_sample = self.model.tracker.measure_sample(0, nothing).to_python()
            products += of_sample.hvps * self.model.tracker.sample_share
            scale = result.eigenvalue / of_sample.eigenvalue if of_sample.eigenvalue else float("nan")
        return InitialState(
            weights,
            float(found.loss),
            float(found.accuracy),
            result.eigenvalue,
            result.residual,
            result.error,
            result.converged,
            round(products),
            scale,
            noise_seed,
            participation_ratio(result.eigenvector),
            at_floor,
        )

    def expect_first_batch(self, initial: InitialState, first_batch: np.ndarray) -> None:
        """Put a preconditioned model before training, its P made of the gradient of a batch, as `initial_state` does.

        Args:
            initial: Where runs start.
            first_batch: Indices into the training data, shape (batch_size,).
        """
        self._expect(initial.weights, initial.noise_seed, first_batch)

    def run(
        self,
        initial: InitialState,
        learning_rate: Rate,
        batches: np.ndarray,
        measure: np.ndarray | None = None,
        first_loss_limit: float = float("inf"),
        sharpness_limit: float = float("nan"),
        barrier_after: int | None = None,
    ) -> Trajectory:
        """Train from the initial state, one optimizer step for each batch, until divergence.

        Args:
            initial: Where to start.
            learning_rate: Learning rate eta, or one for each step, shape (steps,).
            batches: Indices into the training data, shape (steps, batch_size).
            measure: Whether to measure the sharpness after each step, shape (steps,); after all of them by default.
            first_loss_limit: The run ends if the loss exceeds this after its first step.
            sharpness_limit: The sharpness is measured only as well as it takes to tell on which side of this it lies.
                The run ends if that exceeds it after its first step; after a later one it goes on unmeasured. NaN for
                none of this.
            barrier_after: Step after which to measure the largest loss on the line from the initial weights.

        Returns:
            The trajectory, with step 0 (whose products are not counted again) at index 0.
        """
        rates = np.broadcast_to(learning_rate, len(batches))
        self._reset(initial, rates)
        rows = [np.array([initial.row])]
        measured = np.ones(len(batches), bool) if measure is None else measure.copy()
        limits = (min(first_loss_limit, DIVERGENCE_LOSS), DIVERGENCE_LOSS, sharpness_limit)
        line, done, ended = Line(), 0, has_diverged(initial.loss)
        begun = not ended and self._take_shared_step(initial, batches[0])
        for end in _ends(len(batches), barrier_after):
            while done < end and not ended:
                here = slice(done, end)
                taken, stopped = self._carry_out(
                    batches[here], measured[here], rates[here], limits, done, begun and done == 0
                )
                rows.append(taken)
                done += len(taken)
                ended = stopped and (done == 1 or has_diverged(taken[-1, 0]))
                measured[done:] &= not stopped  # it was the sharpness that exceeded its limit
            if done == barrier_after and not has_diverged(rows[-1][-1, 0]):
                line = self._line.look(initial.weights, initial.loss)
        table = Row(*np.concatenate(rows).T)
        self._look_again(table, sharpness_limit, lambda steps: self.weights_after(initial, rates, batches, steps))
        diverged = has_diverged(float(table.loss[-1]))
        return Trajectory(
            table.loss,
            table.accuracy,
            table.sharpness,
            table.residual,
            table.converged > 0,
            _whole_numbers(table.products),
            diverged,
            line.highest,
            line.rise,
            participation=table.participation,
            at_floor=table.at_floor,
        )

    def weights_after(
        self, initial: InitialState, learning_rate: Rate, batches: np.ndarray, steps: Sequence[int]
    ) -> Iterator[list[np.ndarray]]:
        """Train as `run` does, and measure nothing.

        Args:
            initial: Where to start.
            learning_rate: Learning rate eta, or one for each step, shape (steps,).
            batches: Indices into the training data, shape (steps, batch_size).
            steps: Numbers of the steps that are asked for, increasing; 0 is the state before training.

        Yields:
            The weights after each of them.
        """
        rates = np.broadcast_to(learning_rate, len(batches))
        self._reset(initial, rates)
        nothing, no_limits = np.zeros(len(batches), bool), (float("nan"), float("nan"), float("nan"))
        done, begun = 0, False
        for step in steps:
            if step and not done:
                begun = self._take_shared_step(initial, batches[0])
            for end in _ends(step, None):
                if end > done:
                    here = slice(done, end)
                    self._carry_out(batches[here], nothing[here], rates[here], no_limits, done, begun and done == 0)
                    done = end
            yield self.model.network.get_weights()

    def _look_again(self, table: Row, sharpness_limit: float, weights_after: WeightsAfter) -> None:
        if np.isnan(sharpness_limit):
            doubt_far_sharpnesses(table, self.model, weights_after)
        elif self._nearest is not None and not np.any(table.sharpness[1:] > sharpness_limit):
            confirm_estimates(table, self.model, self._nearest, sharpness_limit, weights_after)

    @property
    def traces(self) -> dict[str, int]:
        """How often each compiled function was traced: 1 for all runs together, 0 where it was not needed.

        The loop is one function for steps that are measured, another for those that are estimated, and a third for
        those that are neither.
        """
        loops = [self._loop, self._scouting, self._plain]
        functions = {"step": [self._step], "gradient": [self._gradient], "loop": loops}
        return {name: sum(f.experimental_get_tracing_count() for f in parts) for name, parts in functions.items()}

    def _carry_out(
        self,
        batches: np.ndarray,
        measured: np.ndarray,
        rates: np.ndarray,
        limits: tuple[float, float, float],
        taken: int,
        begun: bool,
    ) -> tuple[np.ndarray, bool]:
        """Take steps until a limit is exceeded: a row for each that was taken, and whether a limit was exceeded."""
        plan = StepPlan(
            tf.constant(batches),
            tf.constant(measured),
            tf.constant(rates, tf.float64),
            tf.constant(limits, tf.float64),
            tf.constant(taken),
            tf.constant(begun),
        )
        estimates = np.isfinite(limits[2]) and self.model.tracker.sample is not None
        loop = self._plain if not measured.any() else self._scouting if estimates else self._loop
        table, steps, stopped = (part.numpy() for part in loop(plan))
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
        """Take steps until a limit is exceeded, and measure the sharpness where it is asked for.

        Args:
            plan: The steps.

        Returns:
            A row for each step of the plan, the number of steps that were taken, and whether a limit was exceeded.
        """
        limit = plan.limits[2]
        return self._steps(
            plan, lambda step: measured_row(self.model.tracker.measure(step, limit), at_floor=self._at_floor())
        )

    def _take_plain_steps(self, plan: StepPlan) -> tuple[Tensor, Scalar, Scalar]:
        """As `_take_steps`, where the sharpness is asked for nowhere: no solver is compiled for it."""
        return self._steps(plan, None)

    def _take_estimated_steps(self, plan: StepPlan) -> tuple[Tensor, Scalar, Scalar]:
        """As `_take_steps`; the sharpness is estimated, and measured only where the estimate exceeds the limit."""
        tracker, limit = self.model.tracker, plan.limits[2]
        nearest = cast(NearestWeights, self._nearest)  # made where there is a sample, and this is called there only

        def look(step: Scalar) -> Tensor:
            of_sample = tracker.measure_sample(step, nearest.top.value())  # a variable would be traced apart
            nearest.top.assign(_if_finite(of_sample))
            value = tf.cast(of_sample.eigenvalue, tf.float64)
            estimate = nearest.scale * value
            spent = tf.cast(of_sample.hvps, tf.float64) * tracker.sample_share

            def measured() -> Tensor:
                found = tracker.measure(step, limit, nearest.top.value())
                nearest.scale.assign(tf.cast(found.sharpness.eigenvalue, tf.float64) / value)
                return measured_row(found, spent)

            def estimated() -> Tensor:
                nearest.see(step, estimate)
                return Row(*tracker.evaluate(), estimate, products=spent).stacked()

            return tf.cond(estimate > limit, measured, estimated)

        return self._steps(plan, look)

    def _steps(self, plan: StepPlan, look: Callable[[Scalar], Tensor] | None) -> tuple[Tensor, Scalar, Scalar]:
        """Take steps until a limit is exceeded; `look` gives the row where the sharpness is asked for, if it is."""
        first_loss_limit, loss_limit, sharpness_limit = tf.unstack(plan.limits)

        def evaluated() -> Tensor:
            return Row(*self.model.evaluate_measurement()).stacked()

        def take(step: Scalar, stopped: Scalar, rows: tf.TensorArray) -> tuple[Scalar, Scalar, tf.TensorArray]:
            rate = self.model.optimizer.learning_rate
            rate.assign(tf.cast(plan.rates[step], rate.dtype))
            tf.cond(tf.logical_and(plan.begun, step == 0), lambda: None, lambda: self._step(plan.batches[step]))
            here = plan.taken + step + 1
            row = evaluated() if look is None else tf.cond(plan.measured[step], lambda: look(here), evaluated)
            # Grappler makes `not a > b` to `a <= b`, which is wrong for NaN.
            exceeded = [
                tf.math.is_nan(row[0]),
                row[0] > tf.where(here == 1, first_loss_limit, loss_limit),
                row[2] > sharpness_limit,
            ]
            return step + 1, tf.reduce_any(exceeded), rows.write(step, row)

        count = tf.shape(plan.batches)[0]
        rows = tf.TensorArray(tf.float64, size=count, element_shape=[COLUMNS])
        steps, stopped, rows = tf.while_loop(
            lambda step, stopped, rows: tf.logical_and(step < count, tf.logical_not(stopped)),
            take,
            (tf.constant(0), tf.constant(False), rows),
            parallel_iterations=1,
        )
        return rows.stack(), steps, stopped

    def _reset(self, initial: InitialState, rates: np.ndarray) -> None:
        self._beginning.put_back(initial.weights, initial.noise_seed)
        if self._nearest is None and self.model.tracker.sample is not None:
            self._nearest = NearestWeights(self.model.network, self.model.tracker.operator)
        if self._nearest is not None:
            self._nearest.reset(initial.sample_scale)
        self.model.optimizer.learning_rate = float(rates[0])

    def _expect(self, weights: list[np.ndarray], noise_seed: int, first_batch: np.ndarray | None) -> float:
        """Put a preconditioned model before training, with the P of its first step.

        Returns:
            The share of weights at its floor; NaN without P (nothing is done then) and where no batch is given.
        """
        if self.model.preconditioner is None:
            return float("nan")
        self._beginning.put_back(weights, noise_seed)
        gradient = None if first_batch is None else self._gradient(tf.constant(first_batch))
        self.model.network.set_weights(weights)  # training moves the statistics of batch normalisation
        return self._beginning.expect(gradient)

    def _at_floor(self) -> Scalar | float:
        """Share of the weights whose preconditioner, of the last step, is epsilon's; NaN without one."""
        live = self.model.preconditioner
        return float("nan") if live is None else live.of_last_step().at_floor

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


def _ends(steps: int, cut: int | None) -> list[int]:
    """Where ranges of steps that are taken at once end; one of them at `cut`."""
    return sorted({*range(_STEPS_AT_ONCE, steps, _STEPS_AT_ONCE), steps, *([cut] if cut and cut < steps else [])})


def _if_finite(found: EigenResult) -> Vector:
    """The eigenvector, or zero if the eigenvalue is not finite."""
    vector = found.eigenvector
    return tf.cond(tf.math.is_finite(found.eigenvalue), lambda: vector, lambda: tf.zeros_like(vector))


def _whole_numbers(products: np.ndarray) -> np.ndarray:
    """Products as int64, rounded so that the sum up to any step is right to one half."""
    return np.diff(np.rint(np.cumsum(products)), prepend=0).astype(np.int64)

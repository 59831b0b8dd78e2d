"""A callback that measures the sharpness while any Keras model trains."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, TypeAlias

import keras

from sharpness_phases.curvature.operator import Solver
from sharpness_phases.training.measurement_set import Examples
from sharpness_phases.training.optimizers import rule_of
from sharpness_phases.training.right_derivatives import BatchNorm, require_batch_norm
from sharpness_phases.training.sharpness_model import SharpnessModel

logger = logging.getLogger(__name__)

UNITS = ("epochs", "steps")

Logs: TypeAlias = dict[str, float]
"""What Keras hands to callbacks, and keeps in the history of `fit`: values by name."""


class Measured(NamedTuple):
    """One measurement.

    Attributes:
        step: Optimizer steps taken before it.
        loss: Loss on the measurement set.
        sharpness: Largest eigenvalue of the loss Hessian there.
        learning_rate: The optimizer's learning rate eta at that step.
        threshold: The optimizer's stability edge at that rate (`sharpness_phases.runs.edge.sgd_edge`; 2/eta for plain
            gradient descent): training is stable on a quadratic loss of a sharpness below it. None where the edge of
            such an optimizer is not known.
    """

    step: int
    loss: float
    sharpness: float
    learning_rate: float
    threshold: float | None


class SharpnessCallback(keras.callbacks.Callback):
    """Measures the sharpness of the compiled loss while a model trains that is not wrapped in a `SharpnessModel`.

    A measurement set that does not fit the model is refused with a `ValueError` when training begins.

    Loss and sharpness are measured at the weights between two steps, not read from batch logs, which are means over
    the epoch so far. What stands still while measuring, and what is refused, is told by `SharpnessModel`.

    The logs of every epoch get `sharpness`, the last one measured, and, with `keras.optimizers.SGD`, whatever its
    momentum and schedule, `sharpness/threshold`: the stability edge at the rate of that step. Of other optimizers the
    edge is not known; none is logged, and a warning says so once. The history of `fit` holds the logs, and callbacks
    later in the list see them: put this one before `TensorBoard` or `CSVLogger`.

    Args:
        measurement: Pair (x, y) of inputs (M, ...) and targets (M, ...) to measure on.
        every: Measure after every k-th epoch or step, and once before training.
        unit: "epochs" or "steps" (of the optimizer; with `steps_per_execution`, after the execution they fall into).
        solver: Eigenvalue solver; `Lanczos()` by default.
        chunk_size: Number of measurement examples differentiated at once, to bound memory; None for all.
        verify: Check the model's second derivatives before training, as `SharpnessModel` does.
        batch_norm: Whether batch normalisation that trains uses the statistics of the measurement set ("batch"), as
            training uses those of its batch, or its moving ones ("inference"); see `SharpnessModel`.

    Attributes:
        history: The measurements of the last `fit`, as `Measured` tuples; `pandas.DataFrame(callback.history)` has a
            row for each.

    Raises:
        ValueError: If `every` is below 1, or `unit` or `batch_norm` unknown.

    Example:
        >>> x, y = keras.random.normal((64, 8), seed=0), keras.random.normal((64, 2), seed=1)
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        >>> callback = SharpnessCallback(measurement=(x[:32], y[:32]), every=2, unit="steps")
        >>> history = model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        >>> [at.step for at in callback.history]
        [0, 2, 4, 6, 8]
        >>> sorted(history.history)
        ['loss', 'sharpness', 'sharpness/threshold']
    """

    def __init__(
        self,
        measurement: tuple[Examples, Examples],
        every: int = 1,
        unit: str = "epochs",
        solver: Solver | None = None,
        chunk_size: int | None = None,
        verify: bool = True,
        batch_norm: BatchNorm = "batch",
    ) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"`every` must be an integer of at least 1. Received: {every!r}.")
        if unit not in UNITS:
            raise ValueError(f"`unit` must be one of {', '.join(map(repr, UNITS))}. Received: {unit!r}.")
        self.history: list[Measured] = []
        self._every = every
        self._unit = unit
        self._settings: dict[str, Any] = {
            "measurement": measurement,
            "solver": solver,
            "chunk_size": chunk_size,
            "verify": verify,
            "batch_norm": require_batch_norm(batch_norm),
        }
        self._measuring: SharpnessModel | None = None
        self._said_unknown = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Measure before the first step."""
        self.history = []
        # A wrapper of its own, and new for every `fit`: the model may have been compiled anew.
        self._measuring = SharpnessModel(self.model, every=0, **self._settings)
        self._measuring.compile(optimizer=keras.optimizers.SGD(), jit_compile=bool(self.model.jit_compile))
        self._measure()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Measure, if a step is due."""
        # With `steps_per_execution`, several steps lie between two calls.
        if self._unit == "steps" and self._steps() // self._every > self.history[-1].step // self._every:
            self._measure()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Measure, if the epoch is due, and tell the logs."""
        if self._unit == "epochs" and (epoch + 1) % self._every == 0:
            self._measure()
        if logs is not None:
            logs["sharpness"] = self.history[-1].sharpness
            if (threshold := self.history[-1].threshold) is not None:
                logs["sharpness/threshold"] = threshold

    def _steps(self) -> int:
        return int(self.model.optimizer.iterations)

    def _measure(self) -> None:
        assert self._measuring is not None
        found = self._measuring.measure()
        learning_rate = float(self.model.optimizer.learning_rate)
        sharpness, threshold = float(found.sharpness.eigenvalue), self._edge(learning_rate)
        self.history.append(Measured(self._steps(), float(found.loss), sharpness, learning_rate, threshold))

    def _edge(self, learning_rate: float) -> float | None:
        """The edge of the model's optimizer at a rate; None, said once, where it is not known."""
        rule = rule_of(self.model.optimizer)
        if rule is not None:
            return float(rule.edge(learning_rate))
        if not self._said_unknown:
            self._said_unknown = True
            logger.warning(
                "SharpnessCallback: the stability edge of %s is not known, so that no `sharpness/threshold` is logged; "
                "it is known of keras.optimizers.SGD.",
                type(self.model.optimizer).__name__,
            )
        return None

"""A callback that measures the sharpness while any Keras model trains."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from sharpness_phases.training.sharpness_model import SharpnessModel

UNITS = ("epochs", "steps")


class Measured(NamedTuple):
    """One measurement.

    Attributes:
        step: Optimizer steps taken before it.
        loss: Loss on the measurement set.
        sharpness: Largest eigenvalue of the loss Hessian there.
        learning_rate: The optimizer's learning rate eta at that step.
    """

    step: int
    loss: float
    sharpness: float
    learning_rate: float

    @property
    def threshold(self) -> float:
        """2/eta: plain gradient descent is stable on a quadratic loss of a sharpness below it."""
        return 2 / self.learning_rate if self.learning_rate else float("inf")


class SharpnessCallback(keras.callbacks.Callback):
    """Measures the sharpness of the compiled loss while a model trains that is not wrapped in a `SharpnessModel`.

    Loss and sharpness are measured at the weights between two steps, not read from batch logs, which are means over
    the epoch so far. What stands still while measuring, and what is refused, is told by `SharpnessModel`.

    The logs of every epoch get `sharpness`, the last one measured, and `sharpness/threshold`, 2/eta. The history of
    `fit` holds them, and callbacks later in the list see them: put this one before `TensorBoard` or `CSVLogger`.

    Args:
        measurement: Pair (x, y) of inputs (M, ...) and targets (M, ...) to measure on.
        every: Measure after every k-th epoch or step, and once before training.
        unit: "epochs" or "steps" (of the optimizer; with `steps_per_execution`, after the execution they fall into).
        solver: Eigenvalue solver; `Lanczos()` by default.
        chunk_size: Number of measurement examples differentiated at once, to bound memory; None for all.
        verify: Check the model's second derivatives before training, as `SharpnessModel` does.

    Attributes:
        history: The measurements of the last `fit`, as `Measured` tuples; `pandas.DataFrame(callback.history)` has a
            row for each.

    Raises:
        ValueError: If `every` is below 1 or `unit` unknown; when training begins, if the measurement set does not fit.

    Example:
        >>> callback = SharpnessCallback(measurement=(x[:1024], y[:1024]), every=10, unit="steps")
        >>> history = model.fit(x, y, epochs=5, callbacks=[callback])
        >>> history.history["sharpness"]
    """

    def __init__(
        self,
        measurement: tuple[Any, Any],
        every: int = 1,
        unit: str = "epochs",
        solver: Any = None,
        chunk_size: int | None = None,
        verify: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"`every` must be an integer of at least 1. Received: {every!r}.")
        if unit not in UNITS:
            raise ValueError(f"`unit` must be one of {', '.join(map(repr, UNITS))}. Received: {unit!r}.")
        self.history: list[Measured] = []
        self._every = every
        self._unit = unit
        self._settings = {"measurement": measurement, "solver": solver, "chunk_size": chunk_size, "verify": verify}
        self._measuring: SharpnessModel | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Measure before the first step."""
        self.history = []
        # A wrapper of its own, and new for every `fit`: the model may have been compiled anew.
        self._measuring = SharpnessModel(self.model, every=0, **self._settings)
        self._measuring.compile(optimizer=keras.optimizers.SGD(), jit_compile=bool(self.model.jit_compile))
        self._measure()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, if a step is due."""
        # With `steps_per_execution`, several steps lie between two calls.
        if self._unit == "steps" and self._steps() // self._every > self.history[-1].step // self._every:
            self._measure()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, if the epoch is due, and tell the logs."""
        if self._unit == "epochs" and (epoch + 1) % self._every == 0:
            self._measure()
        if logs is not None:
            logs["sharpness"] = self.history[-1].sharpness
            logs["sharpness/threshold"] = self.history[-1].threshold

    def _steps(self) -> int:
        return int(self.model.optimizer.iterations)

    def _measure(self) -> None:
        assert self._measuring is not None
        found = self._measuring.measure(warm_start=bool(self.history))
        learning_rate = float(self.model.optimizer.learning_rate)
        sharpness = float(found.sharpness.eigenvalue)
        self.history.append(Measured(self._steps(), float(found.loss), sharpness, learning_rate))

"""A callback that says, while a model trains, how far its next step may go."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import keras
import pandas as pd

from sharpness_phases.training.batches import Data, one_batch
from sharpness_phases.training.critical import TOLERANCE, CriticalLearningRate, NextStep
from sharpness_phases.training.optimizers import edge_rule, inner_optimizer
from sharpness_phases.training.preconditioners import has_preconditioner
from sharpness_phases.training.schedule import Logs, Schedule

logger = logging.getLogger(__name__)

LOGGED = ("eta_c", "lambda_c", "lambda_dir", "forwards", "island", "censored")
"""What the logs get, under these names."""

_SIDES = {"low": -1.0, "": 0.0, "high": 1.0}


class CriticalLearningRateCallback(keras.callbacks.Callback):
    """Finds the critical learning rate of the model's next step while it trains: see `critical_learning_rate`.

    Training is the same as without it, to the last bit. The first measurement looks for islands below the
    crossing, in some 15 forward passes; each further one starts from the last eta_c and takes 5 to 7 forward passes, a
    gradient, and one Hessian-vector product.

    The logs of every step and epoch get `eta_c`, `lambda_c`, `lambda_dir`, `forwards`, `island` (0 or 1) and `censored`
    (-1 for "low", with eta_c = 0, 1 for "high", with an infinite eta_c, else 0), as last measured. The history of `fit`
    holds those of the epochs, and callbacks later in the list see all: put this one before `TensorBoard` and
    `CSVLogger`.

    A warning tells, once, that the rate has passed eta_c, so that the next step raises the loss; or the stability edge,
    where the logs hold a sharpness (of a `SharpnessModel`, or a `SharpnessCallback` earlier in the list) and the edge
    of the optimizer is known (`sharpness_phases.stability_edge`).

    Args:
        data: The batch that is measured on, the same throughout: as of `critical_learning_rate`.
        every: Measure after every k-th step or epoch, and once before training.
        unit: "steps" (of the optimizer; with `steps_per_execution`, after the execution they fall into) or "epochs".
        examples: Number of examples; None for all of the arrays, or the first batch of a data set.
        against: Data of another task, whose loss is looked at in the place of that of `data`.
        parquet: File for the measurements, a row for each, written after every epoch; None for none.
        tolerance: Relative width of the interval around eta_c, in (0, 1).

    Attributes:
        history: The measurements of the last `fit`, as `CriticalLearningRate` tuples.

    Raises:
        ValueError: If `every` is below 1, or `unit` or `tolerance` is not one of those allowed.

    Example:
        >>> x, y = keras.random.normal((64, 8), seed=0), keras.random.normal((64, 2), seed=1)
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
        >>> callback = CriticalLearningRateCallback((x, y), every=2)
        >>> history = model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        >>> [at.step for at in callback.history]
        [0, 2, 4, 6, 8]
        >>> len(history.history["eta_c"])
        2
    """

    def __init__(
        self,
        data: Data,
        every: int = 1,
        unit: str = "steps",
        examples: int | None = None,
        against: Data | None = None,
        parquet: str | os.PathLike[str] | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        super().__init__()
        self._schedule = Schedule(every, unit)
        if not 0 < tolerance < 1:
            raise ValueError(f"`tolerance` must lie between 0 and 1. Received: {tolerance!r}.")
        self.history: list[CriticalLearningRate] = []
        self._batch = one_batch(data, examples)
        self._against = None if against is None else one_batch(against, examples, "against")
        self._tolerance = tolerance
        self._parquet = None if parquet is None else Path(parquet)
        self._next_step: NextStep | None = None
        self._warned = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Measure before the first step."""
        self.history, self._warned = [], False
        # New for every `fit`: the model may have been compiled anew.
        self._next_step = NextStep(self.model, self._batch, self._against, self._tolerance)
        self._measure(logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Measure, if a step is due, and tell the logs."""
        if self._schedule.is_due_after_steps(int(self.model.optimizer.iterations), self.history[-1].step):
            self._measure(logs)
        self._tell(logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Measure, if the epoch is due, tell the logs, and write the file."""
        if self._schedule.is_due_after_epoch(epoch):
            self._measure(logs)
        self._tell(logs)
        self._write()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Write the file, also of a training of no whole epoch."""
        self._write()

    def _measure(self, logs: Logs | None) -> None:
        assert self._next_step is not None
        last = self.history[-1].eta_c if self.history else math.nan
        found = self._next_step.measure(last if 0 < last < math.inf else None)
        self.history.append(found)
        warning = _warning(found, self._edge(found, logs))
        if warning and not self._warned:
            self._warned = True
            logger.warning("CriticalLearningRateCallback, step %d: %s", found.step, warning)

    def _edge(self, found: CriticalLearningRate, logs: Logs | None) -> float | None:
        """The rate at which the optimizer's stability edge is the sharpness in the logs, if both are known."""
        logs, optimizer = logs or {}, inner_optimizer(self.model.optimizer)
        rule, sharpness = edge_rule(optimizer), logs.get("sharpness", math.nan)
        if rule is None or not sharpness > 0 or not found.learning_rate > 0:
            return None
        if has_preconditioner(optimizer) and "sharpness/threshold" not in logs:
            return None  # the sharpness may be that of H, and the edge is one of P^-1/2 H P^-1/2
        # The edge is in proportion to 1 / eta (but for weight decay, which moves it little).
        return found.learning_rate * float(rule.edge(found.learning_rate)) / sharpness

    def _tell(self, logs: Logs | None) -> None:
        if logs is not None:
            found = self.history[-1]._asdict() | {"censored": _SIDES[self.history[-1].censored]}
            logs.update({name: float(found[name]) for name in LOGGED})

    def _write(self) -> None:
        """Write the measurements; a reader never sees half a file."""
        if self._parquet is not None:
            self._parquet.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._parquet.with_name(f".{self._parquet.name}.{os.getpid()}")
            pd.DataFrame(self.history, columns=CriticalLearningRate._fields).to_parquet(unfinished, index=False)
            unfinished.replace(self._parquet)


def _warning(found: CriticalLearningRate, edge: float | None) -> str | None:
    """What to say of a rate that is too large, and what to do.

    An update that leads uphill says nothing of the rate: with momentum, that is how a loss oscillates.

    Returns:
        The words; None where nothing is wrong.
    """
    rate = found.learning_rate
    if math.isnan(found.eta_c):
        return (
            f"the loss is {found.loss:g}, training has diverged. Start again with a smaller learning rate than "
            f"{rate:.3g}, or clip gradients."
        )
    limits = {"eta_c": found.eta_c if not found.censored else math.inf, "the stability edge": edge or math.inf}
    name, limit = min(limits.items(), key=lambda item: item[1])
    if not rate > limit:
        return None
    means = (
        "the next step raises the loss"
        if name == "eta_c"
        else "steps grow instead of shrinking where the loss is sharpest"
    )
    return (
        f"the learning rate {rate:.3g} is above {name}, {limit:.3g}: {means}. Lower it to at most {limit / 2:.2g}, or "
        "warm it up over more steps, unless such a catapult is what you want."
    )

"""Short runs of a compiled model at several learning rates, all from the same state and on the same batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.training.batches import Batch
from sharpness_phases.training.optimizers import inner_optimizer
from sharpness_phases.training.saved_state import SavedState, optimizer_variables, shared_seeds, state_put_back
from sharpness_phases.training.tracing import traced

GONE = 1e4
"""A loss of so many times the first one ends a run: a catapult that training survives rises by less than 100 times
(Lewkowycz et al. 2020, Fig. 1), and what is beyond grows by a factor in every step."""

MOST_ENDS = 6
"""Runs whose end is kept in memory, weights and optimizer, so that they can be continued: the five rates that a search
compares, and one more. An older one that is asked for again is run anew, with the same losses."""


class ShortRuns:
    """Runs with the very training step that a model was compiled with: its optimizer, clipping, metrics, `train_step`.

    A run can be continued, and all are paired: step k of every run takes batch k, from the same weights, optimizer
    state and random seeds. Make one inside `short_runs`, which puts all of it back.

    Args:
        model: A compiled Keras model; built.
        rate: The variable that its optimizer takes the learning rate from.
        batches: The batches, of as many steps as any run may take.
    """

    def __init__(self, model: keras.Model, rate: keras.Variable, batches: Sequence[Batch]) -> None:
        self._model, self._rate, self._batches = model, rate, batches
        self._variables = [*model.variables, *optimizer_variables(model.optimizer), *shared_seeds()]
        self._start = SavedState(self._variables)
        self._ends: dict[float, SavedState] = {}
        self._losses: dict[float, list[float]] = {}
        self._more = 0
        if model.run_eagerly:
            self._step = self._one_step
        else:
            self._step = traced(self._one_step, jit_compile=bool(model.jit_compile), reduce_retracing=True)

    @property
    def steps(self) -> int:
        """Optimizer steps that all runs took together."""
        return self._more + sum(len(losses) for losses in self._losses.values())

    def losses(self, learning_rate: float, steps: int) -> np.ndarray:
        """The loss of every batch before its step, at a learning rate; what was run before is continued.

        Args:
            learning_rate: eta, above 0.
            steps: Number of steps.

        Returns:
            Losses as Keras logs them, float64, shape (steps,); infinite from where the run is gone, beyond `GONE` times
            its first loss or not finite.
        """
        known = self._losses.setdefault(learning_rate, [])
        if len(known) < steps and not _is_gone(known):
            end = self._ends.pop(learning_rate, None)
            if end is None:
                self._more += len(known)  # what is run anew
                known.clear()
            (end or self._start).put_back()
            self._rate.assign(learning_rate)
            while len(known) < steps and not _is_gone(known):
                known.append(self._loss_and_step(len(known)))
            self._ends[learning_rate] = SavedState(self._variables)
            while len(self._ends) > MOST_ENDS:
                self._ends.pop(next(iter(self._ends)))
        return _as_array(known, steps)

    def along(self, rates: Sequence[float] | np.ndarray) -> np.ndarray:
        """The loss of every batch before its step, in a run whose learning rate changes.

        Args:
            rates: eta of each step, shape (steps,).

        Returns:
            Losses as Keras logs them, float64, shape (steps,); infinite from where the run is gone, as of `losses`.
        """
        self._start.put_back()
        found: list[float] = []
        for rate in rates[: len(self._batches)]:
            self._rate.assign(rate)
            found.append(self._loss_and_step(len(found)))
            if _is_gone(found):
                break
        self._more += len(found)
        return _as_array(found, len(rates))

    def forget(self, learning_rate: float) -> None:
        """Free the memory of a run that is not continued."""
        self._ends.pop(learning_rate, None)

    def _loss_and_step(self, number: int) -> float:
        """The loss of a batch, and the step that it makes."""
        return float(self._step(self._batches[number]))

    def _one_step(self, batch: Batch) -> tf.Tensor:
        """A step of training, and the loss before it."""
        self._model.reset_metrics()  # Keras logs the mean since then
        return self._model.train_step(tuple(batch))["loss"]


def _is_gone(losses: list[float]) -> bool:
    """Whether a run ends with its last loss."""
    return bool(losses) and not (math.isfinite(losses[-1]) and abs(losses[-1]) <= GONE * abs(losses[0]))


def _as_array(losses: list[float], steps: int) -> np.ndarray:
    """The losses of some steps; infinite from where a run is gone."""
    found = np.full(steps, np.inf)
    there = len(losses) - _is_gone(losses)
    found[:there] = losses[: min(there, steps)]
    return found


@contextmanager
def short_runs(model: keras.Model, batches: Sequence[Batch]) -> Iterator[ShortRuns]:
    """Short runs of a model, which is as before at the end: weights, optimizer, seeds, statistics, metrics, rate.

    A learning rate that is a schedule gives way to constant ones meanwhile.

    Args:
        model: A compiled Keras model; it is built if need be, as `fit` would.
        batches: The batches, of as many steps as any run may take.

    Yields:
        The runs.
    """
    model._symbolic_build(data_batch=tuple(batches[0]))
    optimizer = inner_optimizer(model.optimizer)
    with state_put_back(model):
        kept = vars(optimizer)["_learning_rate"]
        try:
            if not isinstance(kept, keras.Variable):
                vars(optimizer)["_learning_rate"] = keras.Variable(1.0, trainable=False, dtype="float32")
            yield ShortRuns(model, vars(optimizer)["_learning_rate"], batches)
        finally:
            vars(optimizer)["_learning_rate"] = kept

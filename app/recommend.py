"""A learning rate for a user's own model, from its sharpness and a few short runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from sharpness_phases.analysis.advice import GRID, LearningRateAdvice, suggestion
from sharpness_phases.data.preprocessing import batch_indices, measurement_indices
from sharpness_phases.errors import UserError
from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.runs.trajectory import DIVERGENCE_LOSS, Trajectory, has_diverged
from sharpness_phases.sweep.dialogue import Dialogue
from sharpness_phases.sweep.search import edge_of
from sharpness_phases.training.startup import import_tensorflow

if TYPE_CHECKING:
    import keras

    from sharpness_phases.curvature.operator import Solver
    from sharpness_phases.training.beginning import InitialState
    from sharpness_phases.training.right_derivatives import BatchNorm
    from sharpness_phases.training.runner import TrajectoryRunner


class _Settings(TypedDict):
    """How the sharpness is measured; see `recommend_learning_rate`."""

    solver: Solver | None
    chunk_size: int | None
    verify: bool
    seed: int
    batch_norm: BatchNorm


def recommend_learning_rate(
    model: keras.Model,
    data: tuple[ArrayLike, ArrayLike],
    batch_size: int = 32,
    steps: int = 10,
    examples: int = 1024,
    solver: Solver | None = None,
    chunk_size: int | None = None,
    verify: bool = True,
    seed: int = 0,
    batch_norm: BatchNorm = "batch",
) -> LearningRateAdvice:
    """Find a learning rate for a compiled model from its present weights.

    The sharpness lambda_0 sets the scale, c = eta lambda_0. Short runs of plain SGD, all from the present weights and
    on the same batches, then find c_loss, from which the loss rises before it falls (a catapult), and c_max, beyond
    which training diverges (Kalra & Barkeshli 2023, Sec. 2.1). Below c_loss lies the quiet phase. Between c_loss and
    c_max training survives a catapult and often ends in a flatter place, but how near c_max is differs from one
    initialisation to the next. So the suggestion is the largest quiet c of a grid in steps of 7 %, and never more than
    half of c_max.

    The weights and all other state of the model are put back, also after an error; the compiled optimizer is not used.
    A model whose second derivatives are wrong in TensorFlow ends with `SecondDerivativeError`, unless `verify` is off;
    one that is not compiled or not built, data that do not fit, and a loss or sharpness that is no use (not finite, not
    positive, too large) with `UserError`.

    Args:
        model: A Keras model, compiled with the loss that is to be trained; one input and one output array.
        data: Training data (x, y), shapes (N, ...).
        batch_size: Examples in a batch, as in `fit`; at most N.
        steps: Steps of a run.
        examples: Number of training examples, drawn at random, on which loss and sharpness are measured; at most N.
        solver: Eigenvalue solver; `Lanczos()` by default.
        chunk_size: Number of them differentiated at once, to bound memory; None for all.
        verify: Check the model's second derivatives first, as `SharpnessModel` does.
        seed: Fixes the measurement set and the batches.
        batch_norm: Whether batch normalisation that trains uses the statistics of the measurement set ("batch") or its
            moving ones ("inference"); see `SharpnessModel`.

    Returns:
        The advice.

    Raises:
        UserError: If `batch_size`, `steps` or `examples` is no positive integer, or training diverges at every c.

    Example:
        On a quadratic loss the quiet rates end at 2 / lambda_0:

        >>> import keras
        >>> x, y = np.eye(8, dtype="float32")[:4], np.ones((4, 1), "float32")
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(), "mse")
        >>> advice = recommend_learning_rate(model, (x, y), batch_size=4)
        >>> model.optimizer.learning_rate = advice.learning_rate
        >>> round(advice.lambda_0, 3), 1 < advice.c <= 2
        (0.5, True)
    """
    import_tensorflow()
    x, y = _checked(model, data)
    for name, value in {"batch_size": batch_size, "steps": steps, "examples": examples}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be an integer of at least 1; got {value!r}")
    count, batch_size = len(x), min(batch_size, len(x))
    measured = measurement_indices(count, min(examples, count), seed)
    settings: _Settings = {
        "solver": solver,
        "chunk_size": chunk_size,
        "verify": verify,
        "seed": seed,
        "batch_norm": batch_norm,
    }
    with _state_put_back(model):
        runner = _runner(model, x, y, measured, settings)
        initial = _usable(runner.initial_state(model.get_weights()))
        runs = _ShortRuns(runner, initial, batch_indices(count, batch_size, steps, seed), Criteria(steps))
        c_loss, c_max = runs.critical_constants()
    c, reason = suggestion(c_loss, c_max, steps)
    rate, caution = c / initial.sharpness, _caution(model.optimizer, c / initial.sharpness)
    return LearningRateAdvice(rate, reason, initial.sharpness, c_loss, c_max, steps, batch_size, runs.count, caution)


class _ShortRuns:
    """Short runs from one state at any c of `GRID`, and what they say.

    Args:
        runner: Carries them out.
        initial: Where they start.
        batches: Indices into the training data, shape (steps, batch_size).
        criteria: What counts as rising.
    """

    def __init__(
        self, runner: TrajectoryRunner, initial: InitialState, batches: np.ndarray, criteria: Criteria
    ) -> None:
        self._runner, self._initial, self._batches, self._criteria = runner, initial, batches, criteria
        self._dialogue = Dialogue(self._run_at, criteria)

    @property
    def count(self) -> int:
        """Number of runs so far."""
        return sum(len(runs) for runs in self._dialogue.runs.values())

    def critical_constants(self) -> tuple[float | None, float | None]:
        """c_loss and c_max; None where the grid ends before."""
        last = len(GRID) - 1
        diverging = edge_of(Question.DIVERGENCE, GRID, last, self._dialogue)
        if diverging == 0:
            raise UserError(
                f"Training diverges within {self._criteria.steps} steps even at c = {GRID[0]:g}, a learning rate of "
                f"{GRID[0] / self._initial.sharpness:.3g}: some examples may hold NaN, or be far larger than those "
                "that the sharpness was measured on. Standardise inputs and targets, or measure on more examples"
            )
        end = last if diverging is None else diverging
        rising = edge_of(Question.LOSS, GRID, end, self._dialogue)
        return None if rising is None else GRID[rising], None if diverging is None else GRID[diverging - 1]

    def _run_at(self, index: int, question: Question) -> Trajectory:
        """A run to its end, or to where the loss answers."""
        limit = self._criteria.loss_threshold(self._initial.loss) if question is Question.LOSS else math.inf
        never = np.zeros(len(self._batches), bool)
        rate = GRID[index] / self._initial.sharpness
        return self._runner.run(self._initial, rate, self._batches, measure=never, loss_limit=limit)


def _checked(model: keras.Model, data: object) -> tuple[np.ndarray, np.ndarray]:
    """Data as arrays, of a model that is compiled with a loss."""
    import keras

    from sharpness_phases.training.measurement_set import require_one_array

    own_loss = type(model).compute_loss is not keras.Model.compute_loss
    if not model.compiled or not (model.loss or own_loss):
        raise UserError(
            "recommend_learning_rate needs a model compiled with a loss, as that is analysed: call "
            "model.compile(optimizer=..., loss=...) first"
        )
    if not model.built:
        raise UserError(
            f"{model.name} has no weights yet: build it first, such as by calling it on an example, model(x[:1])"
        )
    try:
        require_one_array(model)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UserError(f"data must be a pair of arrays (x, y); got {type(data).__name__}")
    x, y = (np.asarray(part) for part in data)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise UserError(f"data needs equally many inputs and targets, at least one; got shapes {x.shape} and {y.shape}")
    return x, y


@contextmanager
def _state_put_back(model: keras.Model) -> Iterator[None]:
    """Restore weights, moving statistics and random states at the end."""
    saved = [(variable, variable.numpy()) for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in saved:
            variable.assign(value)


def _runner(
    model: keras.Model, x: np.ndarray, y: np.ndarray, measured: np.ndarray, settings: _Settings
) -> TrajectoryRunner:

    from sharpness_phases.training.device import uses_xla
    from sharpness_phases.training.optimizers import PLAIN
    from sharpness_phases.training.runner import TrajectoryRunner
    from sharpness_phases.training.sharpness_model import SharpnessModel

    wrapped = SharpnessModel(model, measurement=(x[measured], y[measured]), every=0, **settings)
    wrapped.compile(optimizer=PLAIN.build(), jit_compile=uses_xla("auto"))  # with the model's own loss
    return TrajectoryRunner(wrapped, x, y)


def _usable(initial: InitialState) -> InitialState:
    """The state, if a learning rate can be found from it."""
    if has_diverged(initial.loss):
        raise UserError(
            f"The loss at the present weights is {initial.loss:g}; it must be finite and at most {DIVERGENCE_LOSS:g}. "
            "Look for NaN in the data, and standardise inputs and targets"
        )
    if initial.loss == 0:
        raise UserError("The loss at the present weights is 0: there is nothing left to train")
    if not initial.sharpness > 0:
        raise UserError(
            f"The sharpness at the present weights is {initial.sharpness:g}; c = eta lambda_0 needs a positive one. "
            "The network may be dead (all outputs constant), or the weights not finite: initialise it anew"
        )
    return initial


def _caution(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> str:
    """What to say of an optimizer other than plain SGD."""
    name, momentum = type(optimizer).__name__, getattr(optimizer, "momentum", 0)
    if name != "SGD":
        return f"Caution: the model is compiled with {name}; this rate is for plain SGD and does not carry over."
    if momentum:
        return (
            f"Caution: this is for plain SGD; with momentum {momentum:g} steps add up, so start from about "
            f"(1 - {momentum:g}) times as much, {(1 - momentum) * learning_rate:.2g}."
        )
    return ""

"""Critical and directional sharpness: how far the compiled optimizer's next step may go before the loss rises."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import NamedTuple, TypeVar

import keras
import tensorflow as tf

from sharpness_phases.training.batches import Batch, Data, one_batch
from sharpness_phases.training.data_faults import NO_LOSS
from sharpness_phases.training.first_rise import FirstRise, first_rise
from sharpness_phases.training.health import fault_of
from sharpness_phases.training.next_update import Gradients, next_update
from sharpness_phases.training.own_methods import has_own_loss
from sharpness_phases.training.saved_state import SavedState, raw, shared_seeds, state_put_back
from sharpness_phases.training.tracing import traced

TOLERANCE = 1 / 16
"""Relative width of the last interval around eta_c, as its authors have it: five bisections of a factor of two."""

NEARNESS = 1 / 1024
"""Half the distance of the two slopes that a second difference is made of, as a share of eta_c: the slope changes by
about 0.4% between them, above the 1e-6 of float32, and few kinks lie between."""

_WRONG_SECOND_DERIVATIVES = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)
"""Layers whose second derivatives TensorFlow computes wrongly without an error; their first ones are right."""

_NO_PRODUCT = (
    LookupError,
    ValueError,
    NotImplementedError,
    tf.errors.UnimplementedError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
)
"""What TensorFlow raises for an operation that can be differentiated once only, in graphs and under XLA."""

_Function = TypeVar("_Function", bound=Callable[..., object])


class CriticalLearningRate(NamedTuple):
    """How far the next step may go.

    Attributes:
        step: Optimizer steps taken before.
        loss: Loss L(w) on the batch that L is of, in training mode.
        learning_rate: The optimizer's present rate eta.
        eta_c: The smallest rate at which the next step raises L; 0 where `censored` is "low", infinity where "high".
        lambda_c: Critical sharpness 2 / eta_c, in units of the sharpness of the preconditioned Hessian.
        lambda_dir: Directional sharpness D.HD / D.g; NaN where D.g is 0.
        forwards: Forward passes that the search took.
        island: Whether the loss was seen to rise and to fall below L(w) again at rates below one at which it rises.
        censored: "" if eta_c is known; "low" if the update leads uphill, so that no rate is safe; "high" if the loss
            does not rise at any rate looked at.
    """

    step: int
    loss: float
    learning_rate: float
    eta_c: float
    lambda_c: float
    lambda_dir: float
    forwards: int
    island: bool
    censored: str

    def __str__(self) -> str:
        """The answer in a sentence."""
        if math.isnan(self.eta_c):
            return f"The loss is {self.loss:g}: no step can be judged."
        if self.censored == "low":
            return "The next update leads uphill: the loss rises at every learning rate."
        if self.censored == "high":
            return "The loss does not rise at any learning rate that was looked at."
        island = ", and rises and falls again at some rates below" if self.island else ""
        return (
            f"The next step raises the loss from a learning rate of {self.eta_c:.3g} on (now {self.learning_rate:.3g})"
            f"{island}; critical sharpness {self.lambda_c:.3g}, directional sharpness {self.lambda_dir:.3g}, "
            f"{self.forwards} forward passes."
        )


def critical_learning_rate(
    model: keras.Model,
    data: Data,
    examples: int | None = None,
    against: Data | None = None,
    tolerance: float = TOLERANCE,
) -> CriticalLearningRate:
    """Find the learning rate from which the next step of a compiled model raises its loss.

    With D the update that the compiled optimizer would make next, per unit of its rate - momentum, moments, bias
    correction, clipping and weight decay included -

        eta_c = min{eta > 0 : L(w - eta D) > L(w)},   lambda_c = 2 / eta_c,   lambda_dir = D.HD / D.g

    (Kalra et al. 2026, arXiv 2601.16979). D and L are of the same batch, every rate starts from the same weights with
    the same dropout mask, and normalisation uses the batch's statistics, as in training. D is the whole next update at
    the present rate eta, divided by eta: what is scaled is the step as it would be made, its weight decay and its
    velocity with it; where the rate is 0 (a warm-up), the update at rate 1.

    eta_c says how far *one* step is safe. It is no sharpness: away from the edge of stability lambda_c is 5 to 1800
    times smaller, so that training may be unstable over many steps at a rate below eta_c. Choose a rate by the smaller
    of eta_c and the edge (`SharpnessModel`, `SharpnessCallback`).

    Weights, the optimizer's state, moving statistics, seeds and metrics are as before, to the last bit, also after an
    exception. A model and an optimizer that have no variables yet are built, as `fit` would.

    Args:
        model: A Keras model, compiled with the loss and the optimizer that are to be trained with.
        data: The batch: (x, y) or (x, y, sample_weight) of arrays, nested as the model takes them, or a
            `tf.data.Dataset` or `keras.utils.PyDataset`, whose first batch it is.
        examples: Number of examples; None for all of the arrays or the first batch.
        against: Data of another task: D is of `data` and L of these, which tells how far a step of fine-tuning may go
            before the old task suffers.
        tolerance: Relative width of the interval around eta_c, in (0, 1).

    Returns:
        eta_c and what was found with it.

    Raises:
        ValueError: If the model is not compiled with a loss, `tolerance` is out of range, or the loss is not finite or
            cannot be computed; what is known to be wrong with the examples is said.

    Example:
        On a quadratic loss eta_c = 2 g.g / g.Hg for gradient descent, here with H = 1/2 in the direction of g:

        >>> import numpy as np
        >>> x, y = np.eye(4, dtype="float32"), np.ones((4, 1), "float32")
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(0.1), "mse")
        >>> found = critical_learning_rate(model, (x, y))
        >>> round(found.eta_c, 2), round(found.lambda_dir, 3), int(model.optimizer.iterations)
        (4.0, 0.5, 0)
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"`tolerance` must lie between 0 and 1. Received: {tolerance!r}.")
    batch = one_batch(data, examples)
    other = None if against is None else one_batch(against, examples, "against")
    found = _measured(model, batch, other, tolerance)
    if not math.isfinite(found.loss):
        words = _fault(model, batch, other) or "look for NaN in the data, and standardise inputs and targets."
        raise ValueError(f"The loss at the present weights is {found.loss:g}; it must be finite: {words}")
    return found


def _measured(model: keras.Model, batch: Batch, other: Batch | None, tolerance: float) -> CriticalLearningRate:
    """The next step; what is known to be wrong with examples that have no loss is said."""
    try:
        return NextStep(model, batch, other, tolerance).measure()
    except NO_LOSS as error:
        if (words := _fault(model, batch, other)) is not None:
            raise ValueError(f"The loss cannot be computed: {words}") from error
        raise


def _fault(model: keras.Model, batch: Batch, other: Batch | None) -> str | None:
    """What is wrong with the examples, if the model is built and it is known."""
    if not (model.built and has_loss(model)):
        return None
    return fault_of(model, batch) or (None if other is None else fault_of(model, other))


def has_loss(model: keras.Model) -> bool:
    """Whether a model is compiled with a loss, or computes one of its own."""
    return bool(model.compiled and (model.loss or has_own_loss(model)))


class NextStep:
    """The next step of a compiled model on one batch, measured whenever asked; its functions are traced once.

    Args:
        model: A Keras model, compiled with a loss.
        batch: The examples of D, and of L if there is no `against`.
        against: The examples of L.
        tolerance: Relative width of the interval around eta_c.

    Raises:
        ValueError: If the model is not compiled with a loss.
    """

    def __init__(
        self, model: keras.Model, batch: Batch, against: Batch | None = None, tolerance: float = TOLERANCE
    ) -> None:
        if not has_loss(model):
            raise ValueError(
                "The critical learning rate is of a model compiled with a loss and an optimizer: call "
                f"model.compile(optimizer=..., loss=...) first. Received: {model.name}, which is not."
            )
        self._model, self._batch, self._against, self._tolerance = model, batch, against or batch, tolerance
        # What is built already stays; variables cannot be made in graphs.
        model._symbolic_build(data_batch=tuple(batch))
        if not model.trainable_variables:
            raise ValueError(f"{model.name} has no trainable weights: no step changes its loss.")
        self._gradients = self._compiled(self._gradients_of)
        self._apply = self._compiled(self._step_with)
        self._loss = self._compiled(self._loss_along)
        self._slope = self._compiled(self._slope_along)
        self._derivatives = self._compiled(self._derivatives_along)
        self._by_differences = _needs_differences(model)

    def on(self, batch: Batch) -> NextStep:
        """The next step on another batch, which D and L are then of; what was traced is used again.

        Args:
            batch: Examples of the same shapes.

        Returns:
            What measures it.
        """
        other = copy(self)
        other._batch = other._against = batch
        return other

    def measure(self, start: float | None = None) -> CriticalLearningRate:
        """Find eta_c at the present weights and state.

        Args:
            start: Where the search begins, such as the last eta_c; then no islands are looked for below the crossing.
                None: at the eta_c of a quadratic loss with these derivatives.

        Returns:
            What was found; all state is as before.
        """
        with state_put_back(self._model):
            optimizer, weights = self._model.optimizer, self._model.trainable_variables
            self._rest = SavedState([*self._model.non_trainable_variables, *shared_seeds()])
            gradients = self._gradients(self._batch)
            direction, rate = next_update(optimizer, weights, gradients, self._apply)
            values = [tf.identity(weight.value) for weight in weights]
            slope, curvature = self._derivatives_here(values, direction)
            begin = start or _guess(values, direction, slope, curvature, rate)
            found = self._search(values, direction, slope, begin, scan=start is None)
            if curvature is None:
                curvature = self._curvature_by_differences(values, direction, found.eta or rate)
            steps = int(optimizer.iterations)
        eta_c, lambda_dir = found.eta, curvature / slope if slope else math.nan
        lambda_c = math.inf if eta_c == 0 else 2 / eta_c
        return CriticalLearningRate(
            steps, found.loss, rate, eta_c, lambda_c, lambda_dir, found.forwards, found.island, found.censored
        )

    def _search(
        self, values: list[tf.Tensor], direction: list[tf.Tensor], slope: float, start: float, scan: bool
    ) -> FirstRise:
        """eta_c along D; where D leads uphill, or nowhere, there is nothing to search."""

        def loss_at(eta: float) -> tf.Tensor:
            return self._along(self._loss, values, direction, eta)

        loss = loss_at(0.0)
        if math.isfinite(loss) and not slope > 0:
            moves = any(bool(tf.reduce_any(part != 0)) for part in direction)
            return FirstRise(0.0 if moves else math.inf, "low" if moves else "high", False, 1, float(loss))
        return first_rise(
            lambda eta: float(loss_at(eta) if eta else loss), start, self._tolerance, scan, loss.dtype.name
        )

    def _derivatives_here(self, values: list[tf.Tensor], direction: list[tf.Tensor]) -> tuple[float, float | None]:
        """D.g and D.HD at w; None where TensorFlow's second derivatives are wrong or missing."""
        if not self._by_differences:
            try:
                slope, curvature = self._along(self._derivatives, values, direction, 0.0)
                return float(slope), float(curvature)
            except _NO_PRODUCT:
                self._by_differences = True
        return float(self._along(self._slope, values, direction, 0.0)), None

    def _curvature_by_differences(self, values: list[tf.Tensor], direction: list[tf.Tensor], near: float) -> float:
        """D.HD from the change of the slope D.g around w, on the scale of a rate."""
        step = NEARNESS * (near if 0 < near < math.inf else 1.0)
        behind, ahead = (float(self._along(self._slope, values, direction, eta)) for eta in (-step, step))
        return (behind - ahead) / (2 * step)

    def _along(
        self,
        function: tf.types.experimental.GenericFunction,
        values: list[tf.Tensor],
        direction: list[tf.Tensor],
        eta: float,
    ) -> tf.Tensor:
        """Call a function of w - eta D, with the random states and moving statistics of the next training step."""
        self._rest.put_back()
        return function(self._against, values, direction, tf.constant(eta, tf.float64))

    def _compiled(self, function: _Function) -> _Function:
        """A function traced once, as the model's own training step is."""
        model = self._model
        if model.run_eagerly:
            return function
        return traced(function, jit_compile=bool(model.jit_compile))

    def _variables(self) -> list[tf.Variable]:
        return [raw(weight) for weight in self._model.trainable_variables]

    def _loss_of(self, batch: Batch) -> tf.Tensor:
        """The compiled loss at the variables' values, in training mode."""
        model = self._model
        outputs = model(batch.x, training=True) if model._call_has_training_arg else model(batch.x)
        return model._compute_loss(
            x=batch.x, y=batch.y, y_pred=outputs, sample_weight=batch.sample_weight, training=True
        )

    def _gradients_of(self, batch: Batch) -> Gradients:
        """The gradient that the optimizer gets."""
        with tf.GradientTape() as tape:
            loss = self._model.optimizer.scale_loss(self._loss_of(batch))
        return tape.gradient(loss, self._variables())

    def _step_with(self, gradients: Gradients) -> None:
        """The optimizer's step."""
        self._model.optimizer.apply(gradients, self._model.trainable_variables)

    def _loss_along(
        self, batch: Batch, values: list[tf.Tensor], direction: list[tf.Tensor], eta: tf.Tensor
    ) -> tf.Tensor:
        """L(w - eta D)."""
        self._move(values, direction, eta)
        return self._loss_of(batch)

    def _slope_along(
        self, batch: Batch, values: list[tf.Tensor], direction: list[tf.Tensor], eta: tf.Tensor
    ) -> tf.Tensor:
        """D.g(w - eta D), summed in float64."""
        self._move(values, direction, eta)
        with tf.GradientTape() as tape:
            loss = self._loss_of(batch)
        return _dot(tape.gradient(loss, self._variables()), direction)

    def _derivatives_along(
        self, batch: Batch, values: list[tf.Tensor], direction: list[tf.Tensor], eta: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """D.g and D.HD at w - eta D, with H D the gradient of D.g (Pearlmutter 1994)."""
        self._move(values, direction, eta)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = self._loss_of(batch)
            slope = _dot(inner.gradient(loss, self._variables()), direction)
        return slope, _dot(outer.gradient(slope, self._variables()), direction)

    def _move(self, values: list[tf.Tensor], direction: list[tf.Tensor], eta: tf.Tensor) -> None:
        """Set the weights to w - eta D, rounded once."""
        for weight, value, part in zip(self._variables(), values, direction, strict=True):
            moved = tf.cast(value, tf.float64) - eta * tf.cast(part, tf.float64)
            weight.assign(tf.cast(moved, weight.dtype))


def _dot(gradients: Gradients, direction: list[tf.Tensor]) -> tf.Tensor:
    """The product of a gradient and a direction in all weights, in float64; no gradient counts as zero."""
    parts = [
        tf.reduce_sum(tf.cast(tf.convert_to_tensor(gradient), tf.float64) * tf.cast(part, tf.float64))
        for gradient, part in zip(gradients, direction, strict=True)
        if gradient is not None
    ]
    return tf.add_n(parts) if parts else tf.constant(0.0, tf.float64)


def _guess(
    values: list[tf.Tensor], direction: list[tf.Tensor], slope: float, curvature: float | None, rate: float
) -> float:
    """Where to begin.

    Returns:
        The eta_c of a quadratic loss; without a curvature, or with a negative one, the present rate. A rate that would
        move the weights by more than their own size is cut to that: from 1e30 no crossing would be found by halving.
    """
    if curvature is not None and curvature > 0 and slope > 0 and math.isfinite(slope / curvature):
        return 2 * slope / curvature
    size = math.sqrt(float(_dot(values, values)) / (float(_dot(direction, direction)) or 1.0))
    return min(rate or math.inf, size) if 0 < size < math.inf else rate or 1.0


def _needs_differences(model: keras.Model) -> bool:
    """Whether a layer has second derivatives that are wrong or missing in TensorFlow: normalisation, resizing."""
    layers = model._flatten_layers(include_self=False)
    return any(
        isinstance(layer, _WRONG_SECOND_DERIVATIVES) or getattr(layer, "interpolation", None) is not None
        for layer in layers
    )

"""The diagonal preconditioners of Keras' optimizers, read from their live state.

An optimizer that divides its step by a diagonal P descends like gradient descent on the coordinates P^1/2 w, whose
Hessian is P^-1/2 H P^-1/2. P is what the update rules of Keras divide by, constant factors of bias correction included
(Kalra & Barkeshli 2024, Sec. 2): with it the stability edge depends on the learning rate alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from sharpness_phases.curvature.operator import Scalar, Vector
from sharpness_phases.training.gi_adam import GIAdam

NEAR_FLOOR = 10.0
"""A coordinate is *at the floor* where the root of its second moment is less than so many times the floor that epsilon
sets: there P says more about epsilon than about the gradients. Chosen so."""

_NADAM_DECAY = 0.96
"""Of Nadam's schedule of momenta, u_t = beta_1 (1 - 0.96^t / 2), as Keras has it (Dozat 2016)."""


class Diagonal(NamedTuple):
    """A preconditioner at one state.

    Attributes:
        values: P, shape (n,).
        at_floor: Share of the coordinates whose second moment is near the floor (`NEAR_FLOOR`), in [0, 1].
    """

    values: Vector
    at_floor: Scalar


class Moments(NamedTuple):
    """What P is computed from.

    Attributes:
        second: The moving average of squared gradients, shape (n,).
        divisor: v: the same, or its running maximum where AMSGrad keeps one, shape (n,).
        first: The moving average of gradients, of a centered RMSprop; zeros otherwise.
        updates: Number k of updates that the averages hold.
        momenta: Product u_1 ... u_k of Nadam's momenta; 1 otherwise.
    """

    second: Vector
    divisor: Vector
    first: Vector
    updates: Scalar
    momenta: Scalar


class Preconditioner:
    """P of a live optimizer, at the state it has whenever it is asked; callable inside a `tf.function`.

    Args:
        optimizer: Adam, AdamW, Nadam or RMSprop of Keras, or `GIAdam`; it is built if it is not.
        variables: The variables whose coordinates P has, in this order; they must be among those it trains.

    Raises:
        ValueError: If the optimizer does not train one of the variables.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
        optimizer.build(list(variables))  # does nothing where it is built
        known = {optimizer._var_key(variable): at for at, variable in enumerate(optimizer._trainable_variables)}
        keys = [optimizer._var_key(variable) for variable in variables]
        missing = [variable.name for key, variable in zip(keys, variables, strict=True) if key not in known]
        if missing:
            raise ValueError(
                f"The preconditioner of {type(optimizer).__name__} is known of the variables it was built with only. "
                f"Received others: {', '.join(missing)}. Compile again after freezing or unfreezing layers."
            )
        self._optimizer = optimizer
        self._places = [known[key] for key in keys]
        size = sum(math.prod(variable.shape) for variable in variables)
        self._first = tf.Variable(tf.zeros([size], variables[0].dtype), trainable=False)
        self._first_squared = tf.Variable(tf.zeros([size], variables[0].dtype), trainable=False)
        self._expects_first = tf.Variable(False, trainable=False)
        self._rule = _RULES[type(optimizer)]

    def of_last_step(self) -> Diagonal:
        """P of the update that was made last; NaN before the first."""
        return self._rule(self._optimizer, self._moments())

    def of_next_step(self, gradient: Vector, squared: Vector | None = None) -> Diagonal:
        """P of the update to come: the second moment already holds its gradient.

        Args:
            gradient: The gradient that it will be made by, shape (n,).
            squared: What Keras has for its squares, shape (n,), which of an embedding are others (`squares`); the
                squares if None.

        Returns:
            P, and the share of coordinates at the floor.
        """
        before = self._moments()
        gradient = tf.cast(gradient, before.second.dtype)
        squared = tf.square(gradient) if squared is None else tf.cast(squared, before.second.dtype)
        return self._rule(self._optimizer, _updated(self._optimizer, before, gradient, squared))

    def expect(self, gradient: Vector | None, squared: Vector | None = None) -> None:
        """Say what gradient the first update is made by.

        Args:
            gradient: That of the first batch, shape (n,); None for not known.
            squared: As for `of_next_step`.
        """
        self._expects_first.assign(gradient is not None)
        if gradient is not None:
            self._first.assign(gradient)
            self._first_squared.assign(tf.square(gradient) if squared is None else squared)

    def __call__(self, gradient: Vector) -> Diagonal:
        """P of the last update; before the first, of one by the expected gradient, or else by this one, (n,)."""
        fresh = tf.equal(tf.convert_to_tensor(self._optimizer.iterations), 0)
        gradient = tf.cast(gradient, self._first.dtype)
        first = tf.where(self._expects_first, self._first, gradient)
        squared = tf.where(self._expects_first, self._first_squared, tf.square(gradient))
        return tf.cond(fresh, lambda: self.of_next_step(first, squared), self.of_last_step)

    def _moments(self) -> Moments:
        optimizer = self._optimizer
        second = self._flat(optimizer._velocities)
        divisor = self._flat(optimizer._velocity_hats) if getattr(optimizer, "amsgrad", False) else second
        centered = getattr(optimizer, "centered", False)
        first = self._flat(optimizer._average_gradients) if centered else tf.zeros_like(second)
        updates = tf.cast(tf.convert_to_tensor(optimizer.iterations), second.dtype)
        momenta = tf.cast(tf.convert_to_tensor(getattr(optimizer, "_u_product", 1.0)), second.dtype)
        return Moments(second, divisor, first, updates, momenta)

    def _flat(self, state: Sequence[keras.Variable]) -> Vector:
        return tf.concat([tf.reshape(tf.convert_to_tensor(state[at]), [-1]) for at in self._places], axis=0)


def has_preconditioner(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer's preconditioner is known; that of subclasses, whose rule may differ, is not."""
    return type(optimizer) in _RULES


def squares(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    """What Keras' optimizers have for the squares of a gradient's coordinates.

    Args:
        gradient: Of one variable, as a tape gives it.

    Returns:
        The squares. Of the rows of an embedding, whose gradient comes in parts, a part for each time that a row was
        looked up, the sum of the squares of the parts, not the square of their sum.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.square(gradient)
    return tf.convert_to_tensor(tf.IndexedSlices(tf.square(gradient.values), gradient.indices, gradient.dense_shape))


def reset_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Put an optimizer's state back to that before the first step; its learning rate, if it is a variable, to 0.

    Args:
        optimizer: Any Keras optimizer that begins with zeros, but for Nadam's product of momenta, which is 1.
    """
    for variable in optimizer.variables:
        variable.assign(tf.zeros_like(variable.value))
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(inner, keras.optimizers.Nadam) and inner.built:
        inner._u_product.assign(tf.ones_like(inner._u_product.value))


def _updated(optimizer: keras.optimizers.Optimizer, before: Moments, gradient: Vector, squared: Vector) -> Moments:
    """The moments after one more update by a gradient and its `squares`, as Keras computes them."""
    kept = optimizer.rho if isinstance(optimizer, keras.optimizers.RMSprop) else optimizer.beta_2
    second = before.second
    if isinstance(optimizer, GIAdam):
        squared = tf.square(gradient)  # which it takes of the whole
        second = tf.where(tf.equal(before.updates, 0), squared, second)
    second = second + (squared - second) * (1 - kept)
    divisor = tf.maximum(before.divisor, second) if getattr(optimizer, "amsgrad", False) else second
    first = before.first
    if getattr(optimizer, "centered", False):
        first = first + (gradient - first) * (1 - kept)
    updates = before.updates + 1
    nadam = isinstance(optimizer, keras.optimizers.Nadam)
    momenta = before.momenta * _nadam_momentum(optimizer, updates) if nadam else before.momenta
    return Moments(second, divisor, first, updates, momenta)


def _of_rmsprop(optimizer: keras.optimizers.RMSprop, moments: Moments) -> Diagonal:
    """P = sqrt(v + epsilon), with v minus the squared mean of gradients where it is centered."""
    variance = moments.divisor - tf.square(moments.first)
    return _diagonal(tf.sqrt(variance + optimizer.epsilon), tf.sqrt(variance), optimizer.epsilon**0.5)


def _of_adam(optimizer: keras.optimizers.Adam, moments: Moments) -> Diagonal:
    """P = (1 - beta_1^k) (sqrt(v) + epsilon) / sqrt(1 - beta_2^k)."""
    root, dtype = tf.sqrt(moments.divisor), moments.divisor.dtype
    first, second = (1 - tf.cast(beta, dtype) ** moments.updates for beta in (optimizer.beta_1, optimizer.beta_2))
    return _diagonal((root + optimizer.epsilon) * first / tf.sqrt(second), root, optimizer.epsilon)


def _of_nadam(optimizer: keras.optimizers.Nadam, moments: Moments) -> Diagonal:
    """P = (sqrt(v / (1 - beta_2^k)) + epsilon) s_infinity / s_k."""
    # The step descends a m + b g, with a = u_(k+1) / (1 - u_1 ... u_(k+1)) and b = (1 - u_k) / (1 - u_1 ... u_k), which
    # go to beta_1 and 1 - beta_1. At the edge m = (1 - beta_1) / (1 + beta_1) g, and s_k = a m / g + b.
    beta, dtype = optimizer.beta_1, moments.divisor.dtype
    now, coming = (_nadam_momentum(optimizer, moments.updates + ahead) for ahead in (0.0, 1.0))
    at_edge = (1 - beta) / (1 + beta)
    step = coming / (1 - moments.momenta * coming) * at_edge + (1 - now) / (1 - moments.momenta)
    final = beta * at_edge + 1 - beta
    root = tf.sqrt(moments.divisor / (1 - tf.cast(optimizer.beta_2, dtype) ** moments.updates))
    return _diagonal((root + optimizer.epsilon) * final / step, root, optimizer.epsilon)


def _nadam_momentum(optimizer: keras.optimizers.Nadam, update: Scalar) -> Scalar:
    """u_k of the k-th update, counted from 1."""
    return optimizer.beta_1 * (1 - 0.5 * tf.cast(_NADAM_DECAY, update.dtype) ** update)


def _diagonal(values: Vector, root: Vector, floor: float) -> Diagonal:
    """P, with the share of coordinates whose root of the second moment is near the floor."""
    return Diagonal(values, tf.reduce_mean(tf.cast(root < NEAR_FLOOR * floor, values.dtype)))


_RULES: dict[type, Callable[[keras.optimizers.Optimizer, Moments], Diagonal]] = {
    keras.optimizers.RMSprop: _of_rmsprop,
    keras.optimizers.Adam: _of_adam,
    keras.optimizers.AdamW: _of_adam,
    GIAdam: _of_adam,
    keras.optimizers.Nadam: _of_nadam,
}

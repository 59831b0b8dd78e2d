"""The update that a compiled optimizer would make next, without making it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.training.saved_state import SavedState, optimizer_variables, raw

Gradients: TypeAlias = Sequence["tf.Tensor | tf.IndexedSlices | None"]
"""One gradient for each variable, as a tape gives it."""

Apply: TypeAlias = Callable[[Gradients], None]
"""An optimizer's step on its weights."""

SAME = 4
"""Units in the last place by which an update read from the weights may differ from the exact one: the weights are
rounded once by each of decay and update, and the difference that the update is read from once more."""


class NextUpdate(NamedTuple):
    """The next update of an optimizer, per unit of its rate.

    Attributes:
        direction: D = (w - w') / eta with w' the weights after the next step, a tensor for each weight.
        learning_rate: eta, the rate of that step; 0 if the optimizer's is 0 now.
    """

    direction: list[tf.Tensor]
    learning_rate: float


def next_update(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    gradients: Gradients,
    apply: Apply | None = None,
) -> NextUpdate:
    """What a compiled optimizer would do with these gradients.

    Its own rule is run on the weights, from its present state, and all is put back: momentum, moments, bias correction,
    clipping, weight decay, schedules, constraints and loss scale are those of the next step. The update at the present
    rate eta is read and divided by eta, so that it is the *whole* step that D scales, also its parts that are not
    proportional to the rate: a velocity that holds earlier rates, as of SGD with momentum, counts in units of eta.
    With a rate of 0 the update at rate 1 is read. An optimizer that accumulates gradients is asked for the update
    that this gradient would make as the mean of its steps.

    Read from the difference of weights, an update would lose the digits by which it is smaller than the weights. So it
    is read from weights of zero, weight decay added, wherever that is the same but for rounding.

    Args:
        optimizer: A built optimizer.
        variables: The weights, trainable variables of the model.
        gradients: A gradient for each, of the loss as `optimizer.scale_loss` scales it.
        apply: `optimizer.apply` for these variables, traced for speed; not used where the rate is 0.

    Returns:
        The update per unit of the rate.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    learning_rate = float(optimizer.learning_rate)
    if apply is None or learning_rate == 0:  # a trace would keep its rate
        apply = partial(optimizer.apply, trainable_variables=variables)
    weights = [raw(variable) for variable in variables]
    saved = SavedState([*weights, *optimizer_variables(optimizer)])
    before = [tf.identity(weight) for weight in weights]
    try:
        with _rate(inner, learning_rate or 1.0):
            _fill_accumulators(inner, gradients)
            filled = SavedState(optimizer_variables(optimizer))
            apply(gradients)
            read = [value - weight for value, weight in zip(before, weights, strict=True)]
            filled.put_back()
            for weight in weights:
                weight.assign(tf.zeros_like(weight))
            apply(gradients)
        exact = [
            _decay(inner, weight, value, learning_rate or 1.0) - weight
            for weight, value in zip(weights, before, strict=True)
        ]
    finally:
        saved.put_back()
    updates = [
        sharp if _same(rough, sharp, value) else rough for rough, sharp, value in zip(read, exact, before, strict=True)
    ]
    return NextUpdate([update / (learning_rate or 1.0) for update in updates], learning_rate)


@contextmanager
def _rate(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> Iterator[None]:
    """Give an optimizer whose rate is 0, by a schedule or not, another; leave others as they are."""
    if float(optimizer.learning_rate) != 0:
        yield
        return
    kept = vars(optimizer)["_learning_rate"]
    vars(optimizer)["_learning_rate"] = learning_rate  # past Keras' setter, which refuses to replace a schedule
    try:
        yield
    finally:
        vars(optimizer)["_learning_rate"] = kept


def _fill_accumulators(optimizer: keras.optimizers.Optimizer, gradients: Gradients) -> None:
    """Let an optimizer that accumulates gradients make its update next, with these as the mean of its steps."""
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    if not steps:
        return
    for accumulator, gradient in zip(optimizer._accumulated_gradients, gradients, strict=True):
        if gradient is not None:
            accumulator.assign((steps - 1) * tf.convert_to_tensor(gradient))
    done = int(optimizer._iterations)
    optimizer._iterations.assign(done - done % steps + steps - 1)


def _decay(
    optimizer: keras.optimizers.Optimizer, weight: tf.Variable, value: tf.Tensor, learning_rate: float
) -> tf.Tensor:
    """What decoupled weight decay takes from a weight of this value."""
    gamma = getattr(optimizer, "weight_decay", None)
    if not gamma or not optimizer._use_weight_decay(weight):
        return tf.zeros_like(value)
    return tf.cast(learning_rate * gamma, value.dtype) * value


def _same(rough: tf.Tensor, sharp: tf.Tensor, value: tf.Tensor) -> bool:
    """Whether two readings of an update agree but for the rounding of the weights."""
    if value.dtype not in (tf.float32, tf.float64):
        return False
    size = tf.abs(value) + tf.abs(sharp)
    bound = SAME * float(np.finfo(value.dtype.as_numpy_dtype).eps) * size
    return bool(tf.reduce_all(tf.abs(rough - sharp) <= bound))

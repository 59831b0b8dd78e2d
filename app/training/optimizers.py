"""The optimizers of training runs: how one is built, and its stability edge with its preconditioner.

On a quadratic loss, gradient descent w -= eta g is stable in a direction of curvature lambda iff lambda < 2 / eta: the
*edge* (Cohen et al. 2021, Sec. 2), which momentum and weight decay move (`sharpness_phases.runs.edge`). Where an
optimizer divides the gradient by a diagonal P, the curvature that counts is the top eigenvalue of P^-1/2 H P^-1/2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.operator import Scalar, Vector
from sharpness_phases.runs.edge import EdgeRule
from sharpness_phases.training.preconditioners import Preconditioner, has_preconditioner, squares

HESSIAN, PRECONDITIONED = "H", "P^-1/2 H P^-1/2"
"""The operators whose largest eigenvalue an edge is held against."""


BY_NAME: dict[str, type[keras.optimizers.Optimizer]] = {
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
}
"""The optimizers of which the edge is known, as configs name them."""


class OptimizerRule(NamedTuple):
    """What is known of an optimizer of the family of stochastic gradient descent.

    Attributes:
        momentum: Share of the last velocity that is kept, in [0, 1).
        nesterov: Whether the velocity is Nesterov's.
        weight_decay: Decoupled weight decay gamma; 0 for none.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def build(self, learning_rate: float = 0.0) -> keras.optimizers.Optimizer:
        """A Keras optimizer.

        Args:
            learning_rate: Its rate eta; runs set their own.

        Returns:
            The optimizer, with a state of zeros.
        """
        return keras.optimizers.SGD(
            learning_rate, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay or None
        )


PLAIN = OptimizerRule()
"""Plain gradient descent."""


class StabilityEdge(NamedTuple):
    """The edge of an optimizer as it stands.

    Attributes:
        edge: The eigenvalue of `operator` at which training becomes unstable on a quadratic loss, full batch; infinite
            at a learning rate of 0. None where it is not known.
        preconditioner: P, by which the gradient is divided, float, shape (n,): the optimizer's variables one after the
            other. None for 1, as of gradient descent, and before the first step, where no gradient was given.
        words: The formula of the edge, for a picture, such as "2(1 + m)/η"; where there is none, why.
        operator: The operator whose largest eigenvalue the edge is held against: "H", or "P^-1/2 H P^-1/2".
        at_floor: Share of the coordinates of P that epsilon decides rather than gradients
            (`sharpness_phases.training.preconditioners.NEAR_FLOOR`); NaN without P.
    """

    edge: float | None
    preconditioner: np.ndarray | None
    words: str
    operator: str = HESSIAN
    at_floor: float = float("nan")


def stability_edge(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor | tf.IndexedSlices | np.ndarray] | None = None,
) -> StabilityEdge:
    """The sharpness at which a Keras optimizer, as it stands, becomes unstable.

    Known of `SGD`, `RMSprop`, `Adam`, `AdamW` and `Nadam` of `keras.optimizers`, and `GIAdam`, whatever their momenta,
    decoupled weight decay and schedule, AMSGrad and a centered RMSprop included: the formulas, of Kalra & Barkeshli
    2024 and Cohen et al. 2022, are those of `sharpness_phases.runs.edge.EdgeRule`. The rate is that of the coming step.
    Clipping leaves the edge where it is, as near a minimum nothing is clipped. Where some variables are excluded from
    weight decay, the edge is that of the others, the lowest.

    Args:
        optimizer: As a model is compiled with; of a `LossScaleOptimizer` the one inside counts.
        gradients: Gradients of the step to come, one for each variable, as a tape gives them: P then holds them, as it
            will when the step is made. None: P of the last step.

    Returns:
        Edge, preconditioner and words. The edge is None, and the words say why, for other optimizers, subclasses
        included, and where `use_ema` writes averages over the weights.

    Raises:
        ValueError: If `gradients` are given to an optimizer that is not built.

    Example:
        >>> found = stability_edge(keras.optimizers.SGD(0.5, momentum=0.9))
        >>> round(found.edge, 6), found.words
        (7.6, '2(1 + m)/η')
    """
    inner = inner_optimizer(optimizer)
    rule = edge_rule(inner)
    if rule is None:
        return StabilityEdge(None, None, _why_not_known(inner))
    edge = float(rule.edge(float(inner.learning_rate)))
    if not has_preconditioner(inner):
        return StabilityEdge(edge, None, rule.in_words)
    unknown = StabilityEdge(edge, None, rule.in_words, PRECONDITIONED)
    if not inner.built:
        if gradients is not None:
            raise ValueError(f"{type(inner).__name__} is not built: call `optimizer.build(variables)` first.")
        return unknown
    preconditioner = Preconditioner(inner, inner._trainable_variables)
    if gradients is not None:
        given = [part if isinstance(part, tf.IndexedSlices) else tf.convert_to_tensor(part) for part in gradients]
        clipped = inner._clip_gradients(given)  # as the step will have them
        found = preconditioner.of_next_step(_flat(map(tf.convert_to_tensor, clipped)), _flat(map(squares, clipped)))
    elif int(inner.iterations) > 0:
        found = preconditioner.of_last_step()
    else:
        return unknown
    return unknown._replace(preconditioner=found.values.numpy(), at_floor=float(found.at_floor))


def _flat(parts: Iterable[tf.Tensor]) -> Vector:
    return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)


def inner_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer itself, or the one inside a `LossScaleOptimizer`."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def edge_now(optimizer: keras.optimizers.Optimizer) -> Scalar | None:
    """The edge at the rate of the coming step; callable inside a `tf.function`.

    Args:
        optimizer: Any Keras optimizer.

    Returns:
        A scalar tensor of float32, as `EdgeRule.edge` has it; None where the edge is not known.
    """
    inner = inner_optimizer(optimizer)
    rule = edge_rule(inner)
    if rule is None:
        return None
    rate = tf.cast(tf.convert_to_tensor(inner.learning_rate), tf.float32)
    return tf.maximum(rule.factor * (2 / rate - rule.weight_decay), 0.0)


def edge_rule(optimizer: keras.optimizers.Optimizer) -> EdgeRule | None:
    """What decides an optimizer's edge, beside its rate; None where that is not known.

    Args:
        optimizer: Any Keras optimizer, not one that scales the loss.

    Returns:
        The rule.
    """
    decay = float(optimizer.weight_decay or 0.0)
    if optimizer.use_ema and optimizer.ema_overwrite_frequency:
        return None
    kind = type(optimizer)
    if kind is keras.optimizers.SGD:
        return EdgeRule(float(optimizer.momentum), bool(optimizer.nesterov), weight_decay=decay)
    if kind is keras.optimizers.RMSprop:
        return EdgeRule(float(optimizer.momentum), weight_decay=decay)
    if has_preconditioner(optimizer):
        return EdgeRule(float(optimizer.beta_1), kind is keras.optimizers.Nadam, averages=True, weight_decay=decay)
    return None


def _why_not_known(optimizer: keras.optimizers.Optimizer) -> str:
    name = type(optimizer).__name__
    if optimizer.use_ema and optimizer.ema_overwrite_frequency:
        return f"the stability edge of {name} is not known where `use_ema` writes averages over the weights"
    return (
        f"the stability edge of {name} is not known; it is known of SGD, RMSprop, Adam, AdamW and Nadam of "
        "keras.optimizers, and not of their subclasses but GIAdam"
    )

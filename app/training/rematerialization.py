"""Gradient checkpointing whose gradient has a gradient.

`keras.RematScope`, `keras.remat` and `tf.recompute_grad` keep of a part of a network its inputs alone, and compute it
again when its gradient is asked for (Chen et al. 2016, arXiv:1604.06174). TensorFlow's refuses a second derivative, and
computes again after whatever stood in for the first computation has gone. Here the gradient is such a part itself, and
so is its gradient: a product with the Hessian keeps the inputs of each part, and computes it three times.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from tensorflow.python.ops import custom_gradient

from sharpness_phases.training.substitution import AnyFunction, Substitution, substituted

Surroundings: TypeAlias = Callable[[], AbstractContextManager[Any]]
"""What a part is computed in."""

_Tensors: TypeAlias = tuple[tf.Tensor, ...]
_OfTensors: TypeAlias = Callable[..., _Tensors]

_DECORATORS = {name: getattr(custom_gradient, name) for name in ("_graph_mode_decorator", "_eager_mode_decorator")}
_RECOMPUTED = "recompute_grad.<locals>.inner"
"""What `tf.recompute_grad` makes of a function, and gives to one of these."""


@contextmanager
def rematerialized(surroundings: Surroundings) -> Iterator[None]:
    """Let this thread differentiate twice through parts that are computed again.

    Args:
        surroundings: Entered whenever a part is computed again.

    Yields:
        Nothing.
    """
    with substituted([Substitution(custom_gradient, name, _instead_of(name, surroundings)) for name in _DECORATORS]):
        yield


def _instead_of(name: str, surroundings: Surroundings) -> AnyFunction:
    def decorated(f: AnyFunction, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if getattr(f, "__qualname__", None) != _RECOMPUTED:
            return _DECORATORS[name](f, args, kwargs)
        return _computed_again(inspect.getclosurevars(f).nonlocals["f"], surroundings, args, kwargs)

    return decorated


def _computed_again(part: AnyFunction, surroundings: Surroundings, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a part of a network; derivatives flow to the real tensors among its arguments and to its variables."""
    flat = keras.tree.flatten((args, kwargs))
    real = [i for i, each in enumerate(flat) if tf.is_tensor(each) and each.dtype.is_floating]
    result: Any = None

    def of_tensors(*tensors: tf.Tensor) -> _Tensors:
        nonlocal result
        given = list(flat)
        for i, tensor in zip(real, tensors, strict=True):
            given[i] = tensor
        given_args, given_kwargs = keras.tree.pack_sequence_as((args, kwargs), given)
        with surroundings():
            result = part(*given_args, **given_kwargs)
        return tuple(tf.convert_to_tensor(each) for each in keras.tree.flatten(result))

    flat_result = _checkpoint(of_tensors)(*(flat[i] for i in real))
    return keras.tree.pack_sequence_as(result, flat_result)


def _checkpoint(function: _OfTensors) -> _OfTensors:
    """A function of tensors and variables of which only the inputs are kept, and of its derivatives likewise."""

    @tf.custom_gradient
    def checkpoint(*x: tf.Tensor) -> tuple[_Tensors, Any]:
        def backward(
            *upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()
        ) -> tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]] | Sequence[tf.Tensor]:
            def vjp(*both: tf.Tensor) -> _Tensors:
                return _vjp(function, both[: len(x)], both[len(x) :], variables)

            found = list(_checkpoint(vjp)(*x, *upstream))
            return (found[: len(x)], found[len(x) :]) if variables else found

        return function(*x), backward

    return checkpoint


def _vjp(
    function: _OfTensors, x: Sequence[tf.Tensor], upstream: Sequence[tf.Tensor], variables: Sequence[tf.Variable]
) -> _Tensors:
    """The derivatives of u.f(x, theta) in x and in the variables theta."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        x = [_after(each, upstream) for each in x]
        tape.watch([*x, *variables])
        outputs = function(*x)
    found = tape.gradient(outputs, [*x, *variables], upstream, tf.UnconnectedGradients.ZERO)
    return tuple(tf.convert_to_tensor(each) for each in found)


def _after(x: tf.Tensor, others: Sequence[tf.Tensor]) -> tf.Tensor:
    """The same tensor, but not known before another one, so that what is made of it is not taken for what was made."""
    if tf.executing_eagerly():
        return x
    first = tf.reduce_max(tf.reshape(tf.stop_gradient(others[0]), [-1])[:1])
    nothing = tf.where(tf.equal(tf.cast(first, tf.bool), tf.cast(first, tf.bool)), 0.0, float("nan"))
    return x + tf.cast(nothing, x.dtype)

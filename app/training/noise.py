"""Finds what draws random numbers where a network should be a function of its weights."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.training.layer_calls import CallArguments, LayerCall, calls_of

_SAME = 1e-4
"""Relative difference of two evaluations up to which they are the same: sums in another order, as on a GPU, differ by
1e-6, and noise that is of any use by more."""


def require_no_noise(network: keras.Model, run: Callable[[], object]) -> None:
    """Refuse a network that draws random numbers in inference, such as a variational autoencoder.

    Args:
        network: A Keras model that is built.
        run: Calls it on some examples, in inference mode.

    Raises:
        ValueError: If a layer, or the model itself, gives different outputs for the same inputs; it is named.
    """
    layers = network._flatten_layers()
    once = calls_of(layers, run)  # one that holds others comes after these
    again = {id(call.layer): call for call in calls_of(layers, run)}
    pairs = [(call, again[id(call.layer)]) for call in once if id(call.layer) in again]
    given = [_difference(_inputs(call), _inputs(other)) for call, other in pairs]
    for (call, other), of_inputs in zip(pairs, given, strict=True):
        if of_inputs <= _SAME < (difference := _difference(call.outputs, other.outputs)):
            raise ValueError(_words(f"{_called(call)} draws random numbers in inference, too", difference))
    for (call, _), difference in zip(pairs, given, strict=True):
        if difference > _SAME:  # by what a model computes between its layers, and a later one hides
            raise ValueError(_words(f"Random numbers are drawn in inference, too, before {_called(call)}", difference))


def _called(call: LayerCall) -> str:
    return f"layer {call.layer.name!r} ({type(call.layer).__name__})"


def _words(what: str, difference: float) -> str:
    return (
        f"{what[0].upper()}{what[1:]}: two evaluations of the same examples differ by {difference:.1%}. The loss is "
        "then no function of the weights and has no Hessian. Draw only where `training` is true, and give the mean "
        "otherwise."
    )


def _inputs(call: LayerCall) -> tuple[CallArguments, ...]:
    return call.arguments, call.keywords


def _difference(one: CallArguments, other: CallArguments) -> float:
    """The largest relative difference of two structures of arrays; 0 where nothing can be compared."""
    pairs = zip(_arrays(one), _arrays(other), strict=False)
    return max((_relative(a, b) for a, b in pairs if a.shape == b.shape), default=0.0)


def _arrays(nested: CallArguments) -> list[np.ndarray]:
    """Real numbers, but for those of a graph, which have no values."""
    leaves = [leaf for leaf in tf.nest.flatten(nested) if tf.is_tensor(leaf) and hasattr(leaf, "numpy")]
    return [np.asarray(leaf.numpy(), np.float64) for leaf in leaves if leaf.dtype.is_floating or leaf.dtype.is_integer]


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    size = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / size) if 0 < size < np.inf else 0.0

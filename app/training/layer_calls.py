"""With what the layers of a network are called, found out by one call of the network."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from sharpness_phases.training.substitution import Substitution, substituted

CallArguments: TypeAlias = Any
"""What a layer is called with: tensors in nested lists, tuples and dicts, and plain values."""


class LayerCall(NamedTuple):
    """The first call of a layer.

    Attributes:
        layer: The layer.
        arguments: Its positional arguments.
        keywords: Its keyword arguments.
        outputs: What it gave.
    """

    layer: keras.layers.Layer
    arguments: tuple[CallArguments, ...]
    keywords: dict[str, CallArguments]
    outputs: CallArguments = None


def calls_of(layers: Collection[keras.layers.Layer], run: Callable[[], object]) -> list[LayerCall]:
    """The first call of each of some layers.

    Args:
        layers: The layers that are looked at.
        run: Calls a network.

    Returns:
        Calls in the order in which they ended, so that a layer comes before one that holds it; layers that were not
        called are left out.
    """
    wanted, found = {id(layer) for layer in layers}, dict[int, LayerCall]()
    call = keras.layers.Layer.__call__

    @tf.autograph.experimental.do_not_convert
    def recorded(layer: keras.layers.Layer, *arguments: CallArguments, **keywords: CallArguments) -> CallArguments:
        outputs = call(layer, *arguments, **keywords)
        if id(layer) in wanted and id(layer) not in found:
            found[id(layer)] = LayerCall(layer, _values(arguments), _values(keywords), outputs)
        return outputs

    with substituted([Substitution(keras.layers.Layer, "__call__", recorded)]):
        run()
    return list(found.values())


def _values(nested: CallArguments) -> CallArguments:
    """The same with the values of weights, which a model may hand to its layers."""
    return tf.nest.map_structure(
        lambda leaf: tf.convert_to_tensor(leaf) if isinstance(leaf, keras.Variable) else leaf, nested
    )

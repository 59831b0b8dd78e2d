"""Measuring in the precision of the weights, whatever the layers compute in while they train.

In float16 and bfloat16 products with the Hessian overflow, vanish or keep two digits. Mixed precision has its weights
in float32 (the master weights), of which the loss is a function that can be computed in float32, too: that function is
what the rounded steps of training descend, and what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

_TOO_FEW_DIGITS = ("float16", "bfloat16")


@contextmanager
def in_precision_of_weights(network: keras.layers.Layer) -> Iterator[None]:
    """Let every layer compute in the dtype of its weights.

    Args:
        network: A layer or model; another thread must not call it meanwhile.

    Yields:
        Nothing.
    """
    mixed = [layer for layer in network._flatten_layers() if layer.compute_dtype != layer.variable_dtype]
    policies = [layer._dtype_policy for layer in mixed]
    try:
        for layer in mixed:
            layer._dtype_policy = keras.DTypePolicy(layer.variable_dtype)
        yield
    finally:
        for layer, policy in zip(mixed, policies, strict=True):
            layer._dtype_policy = policy


def require_digits(network: keras.Model) -> None:
    """Refuse weights that are themselves of float16 or bfloat16.

    Args:
        network: A Keras model that is built.

    Raises:
        ValueError: If it trains weights of such a dtype.
    """
    for weight in network.trainable_variables:
        if weight.dtype in _TOO_FEW_DIGITS:
            raise ValueError(
                "The sharpness is measured in the precision of the weights, which must be float32 or float64. "
                f"Received: weight {weight.path!r} in {weight.dtype}. Train with the dtype policy "
                f"'mixed_{weight.dtype}', which computes in it and keeps the weights in float32."
            )

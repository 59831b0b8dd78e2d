"""Networks whose output is zero before training."""

from __future__ import annotations

import keras


def subtract_initial_output(network: keras.Model, copy: keras.Model) -> keras.Model:
    """f(x; theta) - f(x; theta_0): the network less a frozen copy of itself (Kalra & Barkeshli 2023, Sec. 4).

    Args:
        network: The network, with its initial weights theta_0.
        copy: Another network of the same architecture; it takes over theta_0 and is frozen.

    Returns:
        A model with the trainable weights of `network` whose output is zero at first.
    """
    copy.set_weights(network.get_weights())
    copy.trainable = False
    copy.name = f"{network.name}_initial"
    inputs = keras.Input(shape=network.input_shape[1:], dtype=network.input.dtype)
    outputs = keras.layers.Subtract(dtype=network.dtype_policy)([network(inputs), copy(inputs)])
    return keras.Model(inputs, outputs, name=f"{network.name}_less_initial")

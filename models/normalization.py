"""Normalisation layers by the name that a config says."""

from __future__ import annotations

import keras

from sharpness_phases.models.layers import LayerNorm

_FEWEST_IN_A_GROUP = 16
"""Channels of a group at least, as in Wu & He 2018, Table 3: with a fixed number of groups those of a narrow network
would be single channels, and of a vector nothing but signs would be left."""


def normalization_layer(normalization: str, channels: int, dtype: str) -> keras.layers.Layer:
    """A normalisation with a gain gamma (ones at first) and, but for "rms", an offset beta (zeros at first).

    x has the shape (B, ..., channels), and all means are over examples or axes of one example as told below:

    - `batch`: over the examples and all axes but the last, of the batch in training (Ioffe & Szegedy 2015).
    - `layer`: over the last axis (Ba et al. 2016).
    - `group`: over all axes, for each group of neighbouring channels on its own (Wu & He 2018).
    - `rms`: x / sqrt(mean x^2 + epsilon) over the last axis, with no mean subtracted (Zhang & Sennrich 2019).

    Args:
        normalization: "batch", "layer", "group" or "rms".
        channels: Length of the last axis.
        dtype: Keras dtype (policy) of the layer.

    Returns:
        The layer.

    Raises:
        ValueError: If there is no such normalisation.
    """
    if normalization == "batch":
        return keras.layers.BatchNormalization(dtype=dtype)
    if normalization == "layer":
        return LayerNorm(dtype=dtype)
    if normalization == "group":
        return keras.layers.GroupNormalization(groups_of(channels), dtype=dtype)
    if normalization == "rms":
        return keras.layers.RMSNormalization(dtype=dtype)
    raise ValueError(f"Unknown normalization {normalization!r}; allowed: batch, layer, group, rms.")


def groups_of(channels: int) -> int:
    """The largest number of equal groups of at least 16 channels; 1 where there is none.

    Args:
        channels: Number of channels.

    Returns:
        The number of groups.

    Example:
        >>> [groups_of(channels) for channels in (8, 16, 64, 72, 97)]
        [1, 1, 4, 4, 1]
    """
    return next((n for n in range(channels // _FEWEST_IN_A_GROUP, 0, -1) if channels % n == 0), 1)

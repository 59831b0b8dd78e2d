"""Residual networks."""

from __future__ import annotations

from typing import Unpack

import keras

from sharpness_phases.models.factory import ModelFactory, _LayerSeeds
from sharpness_phases.models.families import Settings, Tokens
from sharpness_phases.models.layers import Tensor
from sharpness_phases.models.parameterization import Role

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Depth to the number of blocks of each stage."""


class ResNet(ModelFactory):
    """ResNet-18 or -34 for small images: 3x3 stem, four stages of w, 2w, 4w, 8w channels, average pool, output layer.

    He et al. 2016, without normalisation as used by Kalra & Barkeshli 2023, App. A; a stage after the first halves the
    image with strides, and a 1x1 convolution carries the shortcut where the shape changes.

    Args:
        width: Number of channels w of the first stage.
        depth: 18 or 34, the weight layers without those of shortcuts.
        normalization: "none", or "batch", "layer", "group" or "rms" behind every convolution.
        **settings: The other settings of `ModelFactory`.

    Raises:
        ValueError: If an argument is not allowed.
    """

    name = "resnet"

    def __init__(self, width: int, depth: int, normalization: str = "none", **settings: Unpack[Settings]) -> None:
        super().__init__(width, depth, normalization=normalization, **settings)

    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds, tokens: Tokens | None) -> Tensor:
        x = self._activate(self._convolution(inputs, self.width, "input", seeds))
        for stage, blocks in enumerate(BLOCKS[self.depth]):
            for block in range(blocks):
                x = self._block(x, self.width * 2**stage, 2 if stage > 0 and block == 0 else 1, seeds)
        x = keras.layers.GlobalAveragePooling2D(dtype=self.dtype)(x)
        return self._dense(x, classes, "output", seeds)

    def _block(self, x: Tensor, channels: int, strides: int, seeds: _LayerSeeds) -> Tensor:
        inner = self._activate(self._convolution(x, channels, "hidden", seeds, strides=strides))
        inner = self._convolution(inner, channels, "hidden", seeds)
        if strides != 1 or x.shape[-1] != channels:
            x = self._convolution(x, channels, "hidden", seeds, size=1, strides=strides)
        return self._activate(keras.layers.Add(dtype=self.dtype)([x, inner]))

    def _convolution(self, x: Tensor, channels: int, role: Role, seeds: _LayerSeeds, **shape: int) -> Tensor:
        return self._normalize(self._conv(x, channels, role, seeds, **shape))

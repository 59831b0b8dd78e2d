"""Vision transformers."""

from __future__ import annotations

from typing import Unpack

import keras

from sharpness_phases.models.factory import _at_least_one, _LayerSeeds
from sharpness_phases.models.families import Settings, Tokens
from sharpness_phases.models.layers import Tensor
from sharpness_phases.models.transformer import EMBEDDING_GAIN, AttentionNetwork


class ViT(AttentionNetwork):
    """Vision transformer: patches of an image, d blocks in which all attend to all, their mean, an output layer.

    Dosovitskiy et al. 2021, with the mean over patches in the place of a class token (their App. D.3).

    Args:
        width: Width w of the model, a multiple of `heads`.
        depth: Number of blocks d.
        patch_size: Side of a patch; it divides height and width of the images.
        normalization: "layer", "rms" or "none".
        heads: Number of heads.
        norm_position: "pre" or "post" (see `AttentionNetwork`).
        **settings: The other settings of `ModelFactory`.

    Raises:
        ValueError: If an argument is not allowed.

    Example:
        >>> ViT(width=16, depth=2, patch_size=7).build(input_shape=(28, 28, 1), classes=10, seed=0).output_shape
        (None, 10)
    """

    name = "vit"

    def __init__(
        self,
        width: int,
        depth: int,
        patch_size: int = 4,
        normalization: str = "layer",
        heads: int = 4,
        norm_position: str = "pre",
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(width, depth, normalization, heads, norm_position, **settings)
        _at_least_one("patch_size", patch_size)
        self.patch_size = patch_size

    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds, tokens: Tokens | None) -> Tensor:
        sides = inputs.shape[1:3]
        if any(side % self.patch_size for side in sides):
            raise ValueError(f"`patch_size` must divide the sides of images {sides}. Received: {self.patch_size!r}.")
        size = self.patch_size
        x = self._conv(inputs, self.width, "input", seeds, size=size, strides=size, gain=EMBEDDING_GAIN)
        x = keras.layers.Reshape((-1, self.width), dtype=self.dtype)(x)
        x = self._blocks(self._with_positions(x, seeds), seeds, causal=False)
        return self._dense(keras.layers.GlobalAveragePooling1D(dtype=self.dtype)(x), classes, "output", seeds)

"""Myrtle CNNs."""

from __future__ import annotations

import keras

from sharpness_phases.models.factory import ModelFactory, _LayerSeeds
from sharpness_phases.models.families import Tokens
from sharpness_phases.models.layers import Tensor

POOLS = {5: (1, 2, 3), 7: (1, 3, 5), 10: (2, 5, 8)}
"""Depth to the convolutions, counted from 0, that a 2x2 average pool follows."""

_LAST_POOLS = 2
"""2x2 pools before the output layer, each only where the image is at least 2x2: of 28x28 at depth 5 one is left."""


class MyrtleCNN(ModelFactory):
    """Myrtle CNN: d - 1 convolutions of 3x3 with w channels, average pools, a dense output layer.

    Architecture of Shankar et al. 2020 as used by Kalra & Barkeshli 2023, App. A: without normalisation, unless
    `normalization` asks for one behind every convolution. On 28x28 images the last pool is left out.

    Example:
        >>> MyrtleCNN(width=32, depth=5).build(input_shape=(32, 32, 3), classes=10, seed=0).count_params()
        28832
    """

    name = "myrtle"

    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds, tokens: Tokens | None) -> Tensor:
        x = inputs
        for layer in range(self.depth - 1):
            x = self._conv(x, self.width, "input" if layer == 0 else "hidden", seeds)
            x = self._activate(self._normalize(x))
            if layer in POOLS[self.depth]:
                x = self._pool(x)
        for _ in range(_LAST_POOLS):
            if min(x.shape[1:3]) >= 2:
                x = self._pool(x)
        return self._dense(keras.layers.Flatten(dtype=self.dtype)(x), classes, "output", seeds)

    def _pool(self, x: Tensor) -> Tensor:
        return keras.layers.AveragePooling2D(2, dtype=self.dtype)(x)

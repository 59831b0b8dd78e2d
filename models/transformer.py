"""Transformers: decoders of tokens, and what they have in common with those of image patches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias, Unpack

import keras

from sharpness_phases.models.attention import DotProductAttention, PositionEmbedding
from sharpness_phases.models.factory import ModelFactory, _at_least_one, _LayerSeeds, _one_of
from sharpness_phases.models.families import NORM_POSITIONS, Settings, Tokens
from sharpness_phases.models.layers import LayerNorm, RMSNorm, Tensor
from sharpness_phases.models.parameterization import GAINS

Branch: TypeAlias = Callable[[Tensor], Tensor]
"""What stands beside an identity."""

_HIDDEN = 4
"""Units of the perceptron of a block for each of the width (Vaswani et al. 2017)."""

EMBEDDING_GAIN = 0.5
"""Variance of each of the two parts, content and place, of which the first block's inputs are the sum: their variance
is 1, as that of standardised images."""


class AttentionNetwork(ModelFactory):
    """Blocks of attention and of a perceptron with 4w units, each beside an identity (Vaswani et al. 2017).

    With N as the normalisation, a block computes x + f(N(x)) before and behind which nothing is normalised but the last
    outputs ("pre", Xiong et al. 2020), or N(x + f(x)) ("post"), for f the attention and then the perceptron. Depth
    counts blocks. Weights have variances of their fan-in as in other families, those of the two matrices of a block
    that end on the identity 1/(2d) of it, so that at any depth the sum keeps its size (Radford et al. 2019, Sec. 2.3).

    The attention's scale is 1/sqrt(w/h), and in muP 1/(w/h); in muP the gain and offset of a normalisation, and the
    embeddings, have the multiplier sqrt(w) of input weights (Yang et al. 2022, Table 8 and App. B).

    Args:
        width: Width w of the model, a multiple of `heads`.
        depth: Number of blocks d.
        normalization: "layer", "rms" or "none".
        heads: Number of heads h.
        norm_position: "pre" or "post".
        **settings: The other settings of `ModelFactory`.

    Raises:
        ValueError: If an argument is not allowed.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        normalization: str = "layer",
        heads: int = 4,
        norm_position: str = "pre",
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(width, depth, normalization=normalization, **settings)
        _at_least_one("heads", heads)
        _one_of("norm_position", norm_position, NORM_POSITIONS)
        if width % heads:
            raise ValueError(f"`width` must be a multiple of the {heads} heads. Received: {width!r}.")
        self.heads = heads
        self.norm_position = norm_position

    def _blocks(self, x: Tensor, seeds: _LayerSeeds, causal: bool) -> Tensor:
        """All blocks, and behind those that normalise first the last normalisation."""
        for _ in range(self.depth):
            x = self._beside_identity(x, lambda x: self._attention(x, seeds, causal))
            x = self._beside_identity(x, lambda x: self._perceptron(x, seeds))
        return self._normalize(x) if self.norm_position == "pre" else x

    def _beside_identity(self, x: Tensor, branch: Branch) -> Tensor:
        add = keras.layers.Add(dtype=self.dtype)
        if self.norm_position == "pre":
            return add([x, branch(self._normalize(x))])
        return self._normalize(add([x, branch(x)]))

    def _attention(self, x: Tensor, seeds: _LayerSeeds, causal: bool) -> Tensor:
        queries, keys, values = (self._linear(x, self.width, "hidden", seeds, gain=1.0) for _ in range(3))
        size = self.width // self.heads
        scale = 1 / size if self.parameterization == "mup" else 1 / math.sqrt(size)
        mixed = DotProductAttention(self.heads, scale, causal, dtype=self.dtype)(queries, keys, values)
        return self._onto_identity(mixed, seeds)

    def _perceptron(self, x: Tensor, seeds: _LayerSeeds) -> Tensor:
        hidden = self._linear(x, _HIDDEN * self.width, "hidden", seeds, gain=GAINS[self.activation])
        return self._onto_identity(self._activate(hidden), seeds)

    def _onto_identity(self, x: Tensor, seeds: _LayerSeeds) -> Tensor:
        return self._linear(x, self.width, "hidden", seeds, gain=1 / (2 * self.depth))

    def _normalize(self, x: Tensor) -> Tensor:
        if self.normalization == "none":
            return x
        multiplier = math.sqrt(self.width) if self.parameterization == "mup" else 1.0
        kind = LayerNorm if self.normalization == "layer" else RMSNorm
        return kind(multiplier=multiplier, dtype=self.dtype)(x)

    def _with_positions(self, x: Tensor, seeds: _LayerSeeds) -> Tensor:
        """Add what is learned of each place."""
        scale = self._scale_of(1, "input", EMBEDDING_GAIN)
        initializer = keras.initializers.RandomNormal(stddev=scale.stddev, seed=seeds.next())
        return PositionEmbedding(initializer, scale.multiplier, dtype=self.dtype)(x)


class Transformer(AttentionNetwork):
    """Decoder of tokens: embeddings of tokens and places, d causal blocks of width w, logits of the next token.

    Where an example has one class, that is read at its last token. Otherwise as `AttentionNetwork`, which tells the
    arguments.

    Example:
        >>> network = Transformer(width=16, depth=2).build(input_shape=(8,), classes=5, seed=0)
        >>> network.output_shape
        (None, 8, 5)
    """

    name = "transformer"

    def _network(self, inputs: Tensor, classes: int, seeds: _LayerSeeds, tokens: Tokens | None) -> Tensor:
        vocabulary, everywhere = tokens or Tokens(classes)
        x = self._with_positions(self._embedded(inputs, vocabulary, seeds), seeds)
        x = self._blocks(x, seeds, causal=True)
        return self._dense(x if everywhere else x[:, -1], classes, "output", seeds)

    def _embedded(self, inputs: Tensor, vocabulary: int, seeds: _LayerSeeds) -> Tensor:
        """The learned vector of each token, its fan-in being the one 1 of a one-hot input."""
        scale = self._scale_of(1, "input", EMBEDDING_GAIN)
        initializer = keras.initializers.RandomNormal(stddev=scale.stddev, seed=seeds.next())
        x = keras.layers.Embedding(vocabulary, self.width, embeddings_initializer=initializer, dtype=self.dtype)(inputs)
        return x if scale.multiplier == 1.0 else keras.layers.Rescaling(scale.multiplier, dtype=self.dtype)(x)

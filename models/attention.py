"""The layers of a transformer that hold no dense matrix."""

from __future__ import annotations

from typing import Any

import keras

from sharpness_phases.models.layers import LayerSetting, Tensor

_MASKED = -1e9
"""Added to a weight's logarithm in the place of minus infinity, whose derivatives are no numbers: exp(-1e9) is 0."""


@keras.saving.register_keras_serializable(package="sharpness_phases")
class DotProductAttention(keras.layers.Layer):
    """Attention of several heads, softmax(s Q K^T) V for each, without weights (Vaswani et al. 2017, Sec. 3.2).

    Args:
        heads: Number of heads h, a divisor of the width w.
        scale: s, such as 1/sqrt(w/h).
        causal: Whether a token attends to itself and those before it only.
        **kwargs: As for every Keras layer.
    """

    def __init__(self, heads: int, scale: float, causal: bool, **kwargs: LayerSetting) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.scale = scale
        self.causal = causal

    def call(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend.

        Args:
            queries: Of shape (batch, length, w).
            keys: Of the same shape.
            values: Of the same shape.

        Returns:
            The heads' outputs side by side, of the same shape.
        """
        length, width = queries.shape[1:]
        q, k, v = (
            keras.ops.reshape(part, (-1, length, self.heads, width // self.heads)) for part in (queries, keys, values)
        )
        logits = self.scale * keras.ops.einsum("bthd,bshd->bhts", q, k)
        if self.causal:
            places = keras.ops.arange(length)
            later = keras.ops.cast(places[None, :] > places[:, None], logits.dtype)
            logits = logits + _MASKED * later
        mixed = keras.ops.einsum("bhts,bshd->bthd", keras.ops.softmax(logits, axis=-1), v)
        return keras.ops.reshape(mixed, (-1, length, width))

    def compute_output_shape(self, queries_shape: tuple[int | None, ...], *others: object) -> tuple[int | None, ...]:
        """The shape of the queries."""
        return queries_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments, for saving."""
        return super().get_config() | {"heads": self.heads, "scale": self.scale, "causal": self.causal}


@keras.saving.register_keras_serializable(package="sharpness_phases")
class PositionEmbedding(keras.layers.Layer):
    """x + m P with a weight P of shape (length, w): what is learned of each place in a sequence.

    Args:
        initializer: Of P.
        multiplier: m.
        **kwargs: As for every Keras layer.
    """

    def __init__(
        self, initializer: keras.Initializer | str = "zeros", multiplier: float = 1.0, **kwargs: LayerSetting
    ) -> None:
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)
        self.multiplier = multiplier

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create P for inputs (batch, length, w)."""
        self.positions = self.add_weight(shape=input_shape[1:], initializer=self.initializer, name="positions")

    def call(self, inputs: Tensor) -> Tensor:
        """Add the positions to inputs (batch, length, w)."""
        return inputs + self.multiplier * self.positions

    def get_config(self) -> dict[str, Any]:
        """Arguments, for saving."""
        initializer = keras.initializers.serialize(self.initializer)
        return super().get_config() | {"initializer": initializer, "multiplier": self.multiplier}

"""Decoders of today, written out: rotary places, gated perceptrons, shared keys, low-rank updates."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, labels, logits_loss, own
from keras import layers, ops


@own
class RootMeanSquare(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * ops.rsqrt(ops.mean(ops.power(x, 2), axis=-1, keepdims=True) + 1e-6) * self.scale


def rotated(x):
    """Rotary embedding of (B, T, heads, d)."""
    length, half = x.shape[1], x.shape[-1] // 2
    angles = np.arange(length)[:, None] * 100.0 ** (-np.arange(half) / half)
    cos, sin = (ops.convert_to_tensor(f(angles)[:, None], dtype=x.dtype) for f in (np.cos, np.sin))
    a, b = x[..., :half], x[..., half:]
    return ops.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


@own
class RotaryAttention(layers.Layer):
    """Heads in groups share their keys and values."""

    def __init__(self, heads=4, groups=2, width=4, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.groups, self.width = heads, groups, width
        self.q, self.k, self.v = (layers.Dense(n * width, use_bias=False) for n in (heads, groups, groups))

    def build(self, shape):
        self.out = layers.Dense(shape[-1], use_bias=False)
        for layer in (self.q, self.k, self.v):
            layer.build(shape)
        self.out.build((None, None, self.heads * self.width))

    def call(self, x):
        length = x.shape[1]
        q, k, v = (
            ops.reshape(layer(x), (-1, length, n, self.width))
            for layer, n in ((self.q, self.heads), (self.k, self.groups), (self.v, self.groups))
        )
        k, v = (ops.repeat(each, self.heads // self.groups, axis=2) for each in (rotated(k), v))
        scores = ops.einsum("bqhd,bkhd->bhqk", rotated(q), k) / np.sqrt(self.width)
        mask = ops.tril(ops.ones((length, length), dtype="bool"))
        weights = ops.softmax(ops.where(mask, scores, ops.cast(-1e9, scores.dtype)), axis=-1)
        return self.out(ops.reshape(ops.einsum("bhqk,bkhd->bqhd", weights, v), (-1, length, self.heads * self.width)))

    def get_config(self):
        return super().get_config() | {"heads": self.heads, "groups": self.groups, "width": self.width}


@architecture()
def llama_written_out():
    inputs = keras.Input((8,), dtype="int32")
    embedding = layers.Embedding(20, 8)
    x = embedding(inputs)
    for _ in range(2):
        x = x + RotaryAttention()(RootMeanSquare()(x))
        y = RootMeanSquare()(x)
        gated = layers.Dense(12, activation="silu", use_bias=False)(y) * layers.Dense(12, use_bias=False)(y)
        x = x + layers.Dense(8, use_bias=False)(gated)
    outputs = layers.Dense(20, use_bias=False)(layers.RMSNormalization()(x))
    return Problem(keras.Model(inputs, outputs), labels(20, 8), labels(20, 8, seed=3), logits_loss())


@own
class TiedDecoder(keras.Model):
    """The logits come from the transposed embedding; attention has a slope for each head in the place of positions."""

    def __init__(self, vocabulary=20, width=8, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary, self.width = vocabulary, width
        self.embed = (
            keras.layers.ReversibleEmbedding(vocabulary, width) if hasattr(layers, "ReversibleEmbedding") else None
        )
        self.table = layers.Embedding(vocabulary, width)
        self.norm1, self.norm2 = layers.LayerNormalization(), layers.LayerNormalization()
        self.qkv, self.out, self.up, self.down = (layers.Dense(n) for n in (24, 8, 16, 8))

    def call(self, tokens):
        length = tokens.shape[1]
        x = self.table(tokens)
        parts = ops.transpose(ops.reshape(self.qkv(self.norm1(x)), (-1, length, 3, 2, 4)), (2, 0, 3, 1, 4))
        q, k, v = parts[0], parts[1], parts[2]
        apart = np.arange(length)[None] - np.arange(length)[:, None]
        bias = np.where(apart > 0, -1e9, apart)[None] * np.array([0.5, 0.25])[:, None, None]
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * 0.5 + ops.convert_to_tensor(bias, dtype=x.dtype)
        mixed = ops.transpose(ops.matmul(ops.softmax(scores), v), (0, 2, 1, 3))
        x = x + self.out(ops.reshape(mixed, (-1, length, 8)))
        x = x + self.down(ops.gelu(self.up(self.norm2(x)), approximate=False))
        return ops.matmul(x, ops.transpose(ops.convert_to_tensor(self.table.embeddings)))


@architecture()
def decoder_with_tied_embedding_and_slopes():
    return Problem(TiedDecoder(), labels(20, 8), labels(20, 8, seed=3), logits_loss())


@architecture(in_double=False)
def low_rank_adaptation():
    inputs = keras.Input((8,), dtype="int32")
    embedding = layers.Embedding(20, 8)
    x = embedding(inputs)
    dense = [layers.Dense(16, activation="gelu"), layers.Dense(8)]
    x = layers.LayerNormalization()(x + dense[1](dense[0](x)))
    head = layers.Dense(20)
    network = keras.Model(inputs, head(x))
    for layer in network.layers:
        layer.trainable = False
    for layer in (embedding, *dense):
        layer.enable_lora(2)
        layer.trainable = True
    return Problem(network, labels(20, 8), labels(20, 8, seed=3), logits_loss())


@own
class LinearAttention(layers.Layer):
    """Causal attention with a feature map in the place of the softmax, by sums over the past."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.q, self.k, self.v = (layers.Dense(width) for _ in range(3))

    def call(self, x):
        q, k, v = ops.elu(self.q(x)) + 1, ops.elu(self.k(x)) + 1, self.v(x)
        past = ops.cumsum(ops.einsum("btd,bte->btde", k, v), axis=1)
        return ops.einsum("btd,btde->bte", q, past) / (ops.sum(q * ops.cumsum(k, axis=1), -1, keepdims=True) + 1e-6)

    def get_config(self):
        return super().get_config() | {"width": self.width}


@architecture()
def linear_attention():
    inputs = keras.Input((8,), dtype="int32")
    x = layers.Embedding(20, 8)(inputs)
    for _ in range(2):
        x = layers.LayerNormalization()(x + LinearAttention(8)(x))
        x = layers.LayerNormalization()(x + layers.Dense(8)(layers.Dense(16, activation="gelu")(x)))
    return Problem(keras.Model(inputs, layers.Dense(20)(x)), labels(20, 8), labels(20, 8, seed=3), logits_loss())


@own
class RelativePositionBias(layers.Layer):
    """T5's: distances in buckets that grow with the logarithm."""

    def build(self, shape):
        self.table = self.add_weight(shape=(8, 2), initializer="random_normal")
        distance = np.abs(np.arange(8)[:, None] - np.arange(8))
        far = 2 + (np.log(np.maximum(distance, 1) / 2) / np.log(4) * 2).astype(int)
        self.buckets = np.minimum(np.where(distance < 2, distance, far), 3) + 4 * (np.arange(8)[:, None] < np.arange(8))

    def call(self, scores):
        return scores + ops.transpose(ops.take(self.table, self.buckets, axis=0), (2, 0, 1))[None]


@architecture()
def encoder_with_relative_position_buckets():
    inputs = keras.Input((8,), dtype="int32")
    x = layers.Embedding(20, 8)(inputs)
    y = layers.RMSNormalization()(x)
    q, k, v = (layers.EinsumDense("btd,dhk->bhtk", output_shape=(2, None, 4))(y) for _ in range(3))
    scores = RelativePositionBias()(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))))
    mixed = ops.matmul(layers.Softmax()(scores), v)
    x = x + layers.EinsumDense("bhtk,hkd->btd", output_shape=(None, 8))(mixed)
    outputs = layers.Dense(3)(ops.max(layers.RMSNormalization()(x), axis=1))
    return Problem(keras.Model(inputs, outputs), labels(20, 8), labels(3), logits_loss())

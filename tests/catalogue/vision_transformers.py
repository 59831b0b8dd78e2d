"""Image classifiers that attend."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, images, labels, logits_loss, one_hot, own
from catalogue.vision_patches import Patches, embedded_patches, perceptron
from keras import layers, ops


@architecture()
def vision_transformer():
    inputs = keras.Input((12, 12, 3))
    x = embedded_patches(inputs, 12, 4, 12)
    for _ in range(2):
        x1 = layers.LayerNormalization(epsilon=1e-6)(x)
        x2 = layers.Add()([layers.MultiHeadAttention(2, 12, dropout=0.1)(x1, x1), x])
        x = layers.Add()([perceptron(layers.LayerNormalization(epsilon=1e-6)(x2), (24, 12)), x2])
    x = layers.Dropout(0.5)(layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x)))
    return Problem(keras.Model(inputs, layers.Dense(5)(perceptron(x, (16,)))), images(12), labels(5), logits_loss())


@own
class ClassToken(layers.Layer):
    def build(self, input_shape):
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="cls")

    def call(self, inputs):
        token = ops.broadcast_to(self.token, (ops.shape(inputs)[0], 1, inputs.shape[-1]))
        return ops.concatenate([ops.cast(token, inputs.dtype), inputs], axis=1)


@own
class LayerScale(layers.Layer):
    def build(self, input_shape):
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer=keras.initializers.Constant(1e-4))

    def call(self, x):
        return x * self.gamma


@own
class StochasticDepth(layers.Layer):
    def __init__(self, drop_prob=0.1, **kwargs):
        super().__init__(**kwargs)
        self.drop_prob = drop_prob
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, x, training=None):
        if not training:
            return x
        keep = 1 - self.drop_prob
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        return (x / keep) * ops.floor(keep + keras.random.uniform(shape, 0, 1, seed=self.seed_generator))

    def get_config(self):
        return super().get_config() | {"drop_prob": self.drop_prob}


@architecture()
def deit_with_class_token_and_layer_scale():
    inputs = keras.Input((12, 12, 3))
    x = layers.Reshape((9, 12))(layers.Conv2D(12, 4, strides=4)(inputs))
    x = ClassToken()(x)
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + StochasticDepth()(LayerScale()(layers.MultiHeadAttention(3, 4)(normed, normed)))
        hidden = layers.Dense(24, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + StochasticDepth()(LayerScale()(layers.Dense(12)(hidden)))
    outputs = layers.Dense(5)(layers.LayerNormalization(epsilon=1e-6)(x)[:, 0])
    return Problem(keras.Model(inputs, outputs), images(12), labels(5), logits_loss())


def window_mask(side, window, shift):
    """Zero where two pixels of a window were neighbours before the roll, -100 elsewhere."""
    regions = np.zeros((side, side))
    slices = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for count, (rows, columns) in enumerate((r, c) for r in slices for c in slices):
        regions[rows, columns] = count
    windows = regions.reshape(side // window, window, side // window, window).transpose(0, 2, 1, 3)
    windows = windows.reshape(-1, window * window)
    return np.where(windows[:, None] != windows[:, :, None], -100.0, 0.0).astype("float32")


@own
class SwinBlock(layers.Layer):
    """Attention in windows that are shifted, with a learnt bias for each relative position."""

    def __init__(self, width, heads, side, window, shift, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads, self.side, self.window, self.shift = width, heads, side, window, shift
        self.norm1, self.norm2 = (layers.LayerNormalization(epsilon=1e-5) for _ in range(2))
        self.qkv, self.proj = layers.Dense(3 * width), layers.Dense(width)
        self.mlp = keras.Sequential([layers.Dense(2 * width, activation="gelu"), layers.Dense(width)])
        places = np.stack(np.meshgrid(range(window), range(window), indexing="ij")).reshape(2, -1)
        apart = (places[:, :, None] - places[:, None]) + window - 1
        self.index = (apart[0] * (2 * window - 1) + apart[1]).reshape(-1)
        self.mask = window_mask(side, window, shift) if shift else None

    def build(self, input_shape):
        self.table = self.add_weight(shape=((2 * self.window - 1) ** 2, self.heads), initializer="zeros", name="bias")
        for layer in (self.norm1, self.norm2, self.qkv, self.mlp):
            layer.build((*input_shape[:-1], self.width))
        self.proj.build((*input_shape[:-1], self.width))

    def attend(self, x):
        tokens = self.window**2
        parts = ops.reshape(self.qkv(x), (-1, tokens, 3, self.heads, self.width // self.heads))
        q, k, v = ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)))
        scores = ops.matmul(q * (self.width // self.heads) ** -0.5, ops.transpose(k, (0, 1, 3, 2)))
        bias = ops.reshape(ops.take(self.table, self.index, axis=0), (tokens, tokens, self.heads))
        scores = scores + ops.expand_dims(ops.transpose(bias, (2, 0, 1)), 0)
        if self.mask is not None:
            windows = self.mask.shape[0]
            mask = ops.cast(ops.expand_dims(ops.expand_dims(self.mask, 1), 0), scores.dtype)
            scores = ops.reshape(scores, (-1, windows, self.heads, tokens, tokens)) + mask
            scores = ops.reshape(scores, (-1, self.heads, tokens, tokens))
        mixed = ops.transpose(ops.matmul(keras.activations.softmax(scores), v), (0, 2, 1, 3))
        return self.proj(ops.reshape(mixed, (-1, tokens, self.width)))

    def call(self, x):
        side, w, parts = self.side, self.window, self.side // self.window
        image = ops.reshape(self.norm1(x), (-1, side, side, self.width))
        image = ops.roll(image, (-self.shift, -self.shift), axis=(1, 2))
        windows = ops.transpose(ops.reshape(image, (-1, parts, w, parts, w, self.width)), (0, 1, 3, 2, 4, 5))
        windows = self.attend(ops.reshape(windows, (-1, w * w, self.width)))
        image = ops.transpose(ops.reshape(windows, (-1, parts, parts, w, w, self.width)), (0, 1, 3, 2, 4, 5))
        image = ops.roll(ops.reshape(image, (-1, side, side, self.width)), (self.shift, self.shift), axis=(1, 2))
        x = x + ops.reshape(image, (-1, side * side, self.width))
        return x + self.mlp(self.norm2(x))

    def get_config(self):
        names = ("width", "heads", "side", "window", "shift")
        return super().get_config() | {name: getattr(self, name) for name in names}


@architecture()
def swin_transformer():
    inputs = keras.Input((8, 8, 3))
    x = layers.Dense(8)(Patches(2)(inputs))
    x = SwinBlock(8, 2, 4, 2, 1)(SwinBlock(8, 2, 4, 2, 0)(x))
    merged = ops.reshape(ops.transpose(ops.reshape(x, (-1, 2, 2, 2, 2, 8)), (0, 1, 3, 2, 4, 5)), (-1, 4, 32))
    x = layers.GlobalAveragePooling1D()(layers.Dense(16, use_bias=False)(merged))
    return Problem(
        keras.Model(inputs, layers.Dense(5, activation="softmax")(x)), images(8), one_hot(5), "categorical_crossentropy"
    )


@own
class SequencePooling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.Dense(1)

    def call(self, x):
        weights = ops.transpose(ops.softmax(self.attention(x), axis=1), (0, 2, 1))
        return ops.squeeze(ops.matmul(weights, x), -2)


@architecture()
def compact_convolutional_transformer():
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(scale=0.5)(inputs)
    for width in (6, 12):
        x = layers.Conv2D(width, 3, padding="valid", use_bias=False, activation="relu", kernel_initializer="he_normal")(
            x
        )
        x = layers.MaxPooling2D(3, 2, padding="same")(layers.ZeroPadding2D(1)(x))
    x = layers.Reshape((-1, 12))(x)
    for rate in (0.0, 0.1):
        x1 = layers.LayerNormalization(epsilon=1e-5)(x)
        x2 = layers.Add()([StochasticDepth(rate)(layers.MultiHeadAttention(2, 12, dropout=0.1)(x1, x1)), x])
        x = layers.Add()([StochasticDepth(rate)(perceptron(layers.LayerNormalization(epsilon=1e-5)(x2), (12, 12))), x2])
    pooled = SequencePooling()(layers.LayerNormalization(epsilon=1e-5)(x))
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    return Problem(keras.Model(inputs, layers.Dense(5)(pooled)), images(16), one_hot(5), smoothed)


@own
class Perceiver(keras.Model):
    """A latent array that attends to patches, subclassed as in the example."""

    def __init__(self, latents=6, width=8, **kwargs):
        super().__init__(**kwargs)
        self.latents, self.width = latents, width
        self.patches = layers.Conv2D(width, 4, strides=4)
        self.cross = layers.Attention(use_scale=True, dropout=0.1)
        self.query, self.key_, self.value = (layers.Dense(width) for _ in range(3))
        self.norm, self.norm_latent, self.norm_out = (layers.LayerNormalization(epsilon=1e-6) for _ in range(3))
        self.transformer = layers.MultiHeadAttention(2, 4)
        self.ffn = keras.Sequential([layers.Dense(8, activation="gelu"), layers.Dense(8)])
        self.head = layers.Dense(5)

    def build(self, input_shape):
        self.latent_array = self.add_weight(shape=(self.latents, self.width), initializer="random_normal")

    def call(self, inputs):
        data = ops.reshape(self.patches(inputs), (ops.shape(inputs)[0], -1, self.width))
        data = self.norm(data)
        latent = ops.expand_dims(self.latent_array, 0)
        for _ in range(2):  # the same weights at each turn
            query = self.query(self.norm_latent(latent))
            query = ops.broadcast_to(query, (ops.shape(data)[0], self.latents, self.width))
            latent = self.ffn(self.norm_out(self.cross([query, self.value(data), self.key_(data)]) + latent)) + latent
            latent = latent + self.transformer(latent, latent)
        return self.head(ops.mean(latent, axis=1))

    def get_config(self):
        return super().get_config() | {"latents": self.latents, "width": self.width}


@architecture()
def perceiver():
    return Problem(Perceiver(), images(12), labels(5), logits_loss())


@own
class LocalityAttention(layers.MultiHeadAttention):
    """Attention with a learnt temperature and without its diagonal."""

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self.tau = self.add_weight(shape=(), initializer=keras.initializers.Constant(self._key_dim**0.5), name="tau")

    def _compute_attention(self, query, key, value, attention_mask=None, training=None, *_):
        scores = ops.einsum(self._dot_product_equation, ops.multiply(query, 1.0 / self.tau), key)
        scores = self._masked_softmax(scores, attention_mask)
        return ops.einsum(self._combine_equation, self._dropout_layer(scores, training=training), value), scores


@architecture()
def vit_for_small_datasets():
    inputs = keras.Input((12, 12, 3))
    shifted = [layers.ZeroPadding2D(((2, 0), (2, 0)))(layers.Cropping2D(((0, 2), (0, 2)))(inputs))]
    shifted += [layers.ZeroPadding2D(((0, 2), (0, 2)))(layers.Cropping2D(((2, 0), (2, 0)))(inputs))]
    patches = layers.Reshape((9, 144))(ops.image.extract_patches(layers.Concatenate()([inputs, *shifted]), 4))
    x = layers.Dense(12)(layers.LayerNormalization(epsilon=1e-6)(patches))
    mask = 1 - np.eye(9, dtype="int8")
    for _ in range(2):
        x1 = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([LocalityAttention(2, 6, dropout=0.1)(x1, x1, attention_mask=mask[None]), x])
        x = layers.Add()([perceptron(layers.LayerNormalization(epsilon=1e-6)(x), (24, 12)), x])
    outputs = layers.Dense(5)(layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x)))
    return Problem(keras.Model(inputs, outputs), images(12), labels(5), logits_loss())


@architecture()
def mobile_vit():
    def convolved(x, filters, strides=1, size=3):
        return layers.Conv2D(filters, size, strides=strides, padding="same", activation="swish")(x)

    inputs = keras.Input((16, 16, 3))
    x = convolved(layers.Rescaling(0.5)(inputs), 8, 2)
    inverted = layers.Activation("swish")(layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(x)))
    inverted = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(inverted)
    inverted = layers.Activation("swish")(layers.BatchNormalization()(inverted))
    x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(inverted))])
    local = convolved(convolved(x, 12), 12, size=1)
    unfolded = layers.Reshape((4, 16, 12))(local)
    normed = layers.LayerNormalization(epsilon=1e-6)(unfolded)
    unfolded = layers.Add()([layers.MultiHeadAttention(2, 12, attention_axes=None)(normed, normed), unfolded])
    hidden = layers.Dense(12, activation="swish")(layers.LayerNormalization(epsilon=1e-6)(unfolded))
    folded = layers.Reshape((8, 8, 12))(layers.Add()([hidden, unfolded]))
    fused = convolved(layers.Concatenate()([x, convolved(folded, 8, size=1)]), 12)
    outputs = layers.Dense(5, activation="softmax")(layers.GlobalAvgPool2D()(fused))
    return Problem(keras.Model(inputs, outputs), images(16), labels(5), "sparse_categorical_crossentropy")

"""Convolutional tokens, latent arrays, gates: more image classifiers."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, binary_loss, images, labels, logits_loss, numbers, one_hot
from catalogue.vision import StochasticDepth, embedded_patches, own, perceptron
from keras import layers, ops


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
class Involution(layers.Layer):
    def __init__(self, channels, kernel_size=3, reduction_ratio=2, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.kernel_size, self.reduction_ratio = channels, kernel_size, reduction_ratio

    def build(self, input_shape):
        _, self.height, self.width_, _ = input_shape
        self.kernel_gen = keras.Sequential(
            [
                layers.Conv2D(self.channels // self.reduction_ratio, 1),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(self.kernel_size**2, 1),
            ]
        )
        self.kernel_gen.build(input_shape)

    def call(self, x):
        k, channels = self.kernel_size, self.channels
        kernel = ops.reshape(self.kernel_gen(x), (-1, self.height, self.width_, k * k, 1))
        patches = ops.image.extract_patches(x, size=(k, k), strides=(1, 1), padding="same")
        patches = ops.reshape(patches, (-1, self.height, self.width_, k * k, channels))
        return ops.sum(kernel * patches, axis=3)

    def get_config(self):
        names = ("channels", "kernel_size", "reduction_ratio")
        return super().get_config() | {name: getattr(self, name) for name in names}


@architecture()
def involutional_network():
    inputs = keras.Input((12, 12, 3))
    x = layers.ReLU()(Involution(3, reduction_ratio=1)(inputs))
    x = layers.MaxPooling2D(2)(x)
    x = layers.ReLU()(Involution(3, reduction_ratio=1)(x))
    outputs = layers.Dense(5)(layers.Dense(8, activation="relu")(layers.Flatten()(x)))
    return Problem(keras.Model(inputs, outputs), images(12), labels(5), logits_loss())


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


@architecture()
def resnet_with_squeeze_and_excite_and_weight_decay():
    decay = keras.regularizers.L2(1e-2)

    def block(x, width, strides):
        y = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False, kernel_regularizer=decay)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(
            layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_regularizer=decay)(y)
        )
        gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(y))
        y = layers.Multiply()([y, layers.Dense(width, activation="sigmoid")(gate)])
        if strides > 1:
            x = layers.BatchNormalization()(
                layers.Conv2D(width, 1, strides=strides, use_bias=False, kernel_regularizer=decay)(x)
            )
        return layers.ReLU()(layers.Add()([x, y]))

    inputs = keras.Input((12, 12, 3))
    x = block(block(layers.Conv2D(8, 3, padding="same")(inputs), 8, 1), 12, 2)
    return Problem(
        keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x))), images(12), labels(5), logits_loss()
    )


@own
class StandardizedConv2D(layers.Conv2D):
    """Weight standardisation, as of BiT."""

    def call(self, inputs):
        kernel = self.kernel
        mean, variance = ops.moments(kernel, axes=[0, 1, 2], keepdims=True)
        kernel = (kernel - mean) / ops.sqrt(variance + 1e-8)
        return ops.conv(inputs, kernel, strides=self.strides, padding=self.padding) + self.bias


@architecture()
def big_transfer_group_norm_weight_standardisation():
    inputs = keras.Input((12, 12, 3))
    x = StandardizedConv2D(8, 3, padding="same")(inputs)
    for _ in range(2):
        y = layers.Activation("relu")(layers.GroupNormalization(groups=4)(x))
        y = StandardizedConv2D(8, 3, padding="same")(y)
        y = layers.Activation("relu")(layers.GroupNormalization(groups=4)(y))
        x = layers.Add()([x, StandardizedConv2D(8, 3, padding="same")(y)])
    return Problem(
        keras.Model(inputs, layers.Dense(5)(layers.GlobalMaxPooling2D()(x))), images(12), labels(5), logits_loss()
    )


@own
class TokenLearner(layers.Layer):
    def __init__(self, tokens, **kwargs):
        super().__init__(**kwargs)
        self.tokens = tokens
        self.maps = [layers.Conv2D(tokens, 3, padding="same", activation="gelu", use_bias=False) for _ in range(2)]

    def call(self, x):
        maps = x
        for layer in self.maps:
            maps = layer(maps)
        weights = ops.sigmoid(ops.reshape(maps, (-1, x.shape[1] * x.shape[2], self.tokens)))
        return ops.einsum("bnt,bnc->btc", weights, ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3])))

    def get_config(self):
        return super().get_config() | {"tokens": self.tokens}


@architecture()
def token_learner():
    inputs = keras.Input((12, 12, 3))
    x = embedded_patches(inputs, 12, 3, 8)
    x = layers.Reshape((4, 4, 8))(layers.LayerNormalization()(x))
    x = TokenLearner(3)(x)
    x = x + layers.MultiHeadAttention(2, 4)(layers.LayerNormalization()(x), layers.LayerNormalization()(x))
    return Problem(
        keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(x))), images(12), labels(5), logits_loss()
    )


@own
class Squash(layers.Layer):
    """Votes of capsules, routed by three rounds of agreement."""

    def __init__(self, capsules, width, **kwargs):
        super().__init__(**kwargs)
        self.capsules, self.width = capsules, width

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[1], self.capsules, shape[2], self.width), initializer="glorot_uniform"
        )

    def squash(self, s):
        size = ops.sum(ops.square(s), axis=-1, keepdims=True)
        return s * size / (1 + size) / ops.sqrt(size + 1e-7)

    def call(self, u):
        votes = ops.einsum("bic,ijcd->bijd", u, self.kernel)
        logits = ops.zeros_like(votes[..., 0])
        for _ in range(3):
            v = self.squash(ops.sum(ops.expand_dims(ops.softmax(logits, axis=2), -1) * votes, axis=1))
            logits = logits + ops.einsum("bijd,bjd->bij", votes, v)
        return ops.sqrt(ops.sum(ops.square(v), axis=-1) + 1e-7)

    def get_config(self):
        return super().get_config() | {"capsules": self.capsules, "width": self.width}


def margin_loss(y_true, y_pred):
    present = y_true * ops.square(ops.maximum(0.0, 0.9 - y_pred))
    return ops.sum(present + 0.5 * (1 - y_true) * ops.square(ops.maximum(0.0, y_pred - 0.1)), axis=-1)


@architecture()
def capsule_network():
    inputs = keras.Input((10, 10, 1))
    x = layers.Conv2D(8, 5, strides=2, activation="relu")(inputs)
    outputs = Squash(4, 6)(layers.Reshape((18, 4))(x))
    return Problem(keras.Model(inputs, outputs), images(10, 1), one_hot(4), margin_loss)


@architecture()
def learnable_resizer():
    inputs = keras.Input((14, 14, 3))
    naive = layers.Resizing(8, 8, interpolation="bilinear")(inputs)
    x = layers.LeakyReLU(0.2)(layers.Conv2D(6, 7, padding="same")(inputs))
    x = layers.BatchNormalization()(layers.LeakyReLU(0.2)(layers.Conv2D(6, 1, padding="same")(x)))
    x = ops.image.resize(x, (8, 8), interpolation="bilinear")
    y = layers.LeakyReLU(0.2)(layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False)(x)))
    x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False)(y))])
    x = layers.Add()([naive, layers.Conv2D(3, 7, padding="same")(x)])
    outputs = layers.Dense(2, activation="softmax")(
        layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    )
    return Problem(keras.Model(inputs, outputs), images(14), one_hot(2), "categorical_crossentropy")


@architecture(in_double=False)
def three_dimensional_cnn():
    inputs = keras.Input((10, 10, 8, 1))
    x = inputs
    for filters in (4, 6):
        x = layers.Conv3D(filters, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(layers.MaxPool3D(2)(x))
    x = layers.Dropout(0.3)(layers.Dense(8, activation="relu")(layers.GlobalAveragePooling3D()(x)))
    network = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    return Problem(network, numbers(6, 10, 10, 8, 1), labels(2, 1), "binary_crossentropy")


@architecture()
def alexnet_with_local_response_normalisation():
    network = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Lambda(
                lambda x: x / ops.power(2 + 1e-1 * ops.average_pool(ops.square(x), 3, 1, "same"), 0.75),
                output_shape=lambda s: s,
            ),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(8, 3, groups=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(12, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1),
        ]
    )
    return Problem(network, images(12), labels(2, 1), binary_loss())

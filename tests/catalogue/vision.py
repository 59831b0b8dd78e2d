"""Image classifiers of the keras.io examples and of the papers behind them, small."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, images, labels, logits_loss, one_hot
from keras import layers, ops

own = keras.saving.register_keras_serializable("catalogue")


@architecture()
def mnist_convnet():
    network = keras.Sequential(
        [
            keras.Input((14, 14, 1)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return Problem(network, images(14, 1), one_hot(10), "categorical_crossentropy")


@architecture()
def small_xception_with_augmentation():
    inputs = keras.Input((16, 16, 3))
    x = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(inputs))
    x = layers.Rescaling(1.0 / 2)(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(x)))
    before = x
    for size in (12, 16):
        for _ in range(2):
            x = layers.SeparableConv2D(size, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        before = x = layers.add([x, layers.Conv2D(size, 1, strides=2, padding="same")(before)])
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.SeparableConv2D(16, 3, padding="same")(x)))
    outputs = layers.Dense(1)(layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x)))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Problem(keras.Model(inputs, outputs), images(16), labels(2, 1), loss)


@own
class Patches(layers.Layer):
    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, images):
        patches = ops.image.extract_patches(images, size=self.patch_size)
        shape = ops.shape(patches)
        return ops.reshape(patches, (shape[0], shape[1] * shape[2], shape[3]))

    def get_config(self):
        return super().get_config() | {"patch_size": self.patch_size}


@own
class PatchEncoder(layers.Layer):
    def __init__(self, num_patches, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_patches, self.projection_dim = num_patches, projection_dim
        self.projection = layers.Dense(projection_dim)
        self.position_embedding = layers.Embedding(num_patches, projection_dim)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(0, self.num_patches, 1), axis=0)
        return self.projection(patch) + self.position_embedding(positions)

    def get_config(self):
        return super().get_config() | {"num_patches": self.num_patches, "projection_dim": self.projection_dim}


def embedded_patches(inputs, side, patch, width):
    return PatchEncoder((side // patch) ** 2, width)(Patches(patch)(inputs))


def perceptron(x, hidden, rate=0.1):
    for units in hidden:
        x = layers.Dropout(rate)(layers.Dense(units, activation=keras.activations.gelu)(x))
    return x


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


@own
class MLPMixerLayer(layers.Layer):
    def __init__(self, num_patches, hidden_units, **kwargs):
        super().__init__(**kwargs)
        self.num_patches, self.hidden_units = num_patches, hidden_units
        self.mlp1 = keras.Sequential([layers.Dense(num_patches, activation="gelu"), layers.Dense(num_patches)])
        self.mlp2 = keras.Sequential([layers.Dense(num_patches, activation="gelu"), layers.Dense(hidden_units)])
        self.normalize = layers.LayerNormalization(epsilon=1e-6)

    def call(self, inputs):
        channels = ops.transpose(self.normalize(inputs), axes=(0, 2, 1))
        x = ops.transpose(self.mlp1(channels), axes=(0, 2, 1)) + inputs
        return x + self.mlp2(self.normalize(x))

    def get_config(self):
        return super().get_config() | {"num_patches": self.num_patches, "hidden_units": self.hidden_units}


@architecture()
def mlp_mixer():
    inputs = keras.Input((12, 12, 3))
    x = layers.Dense(12)(Patches(4)(inputs))
    for _ in range(2):
        x = MLPMixerLayer(9, 12)(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    return Problem(
        keras.Model(inputs, layers.Dense(5, activation="softmax")(x)),
        images(12),
        labels(5),
        "sparse_categorical_crossentropy",
    )


@own
class FNetLayer(layers.Layer):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.ffn = keras.Sequential([layers.Dense(width, activation="gelu"), layers.Dropout(0.1), layers.Dense(width)])
        self.normalize1 = layers.LayerNormalization(epsilon=1e-6)
        self.normalize2 = layers.LayerNormalization(epsilon=1e-6)

    def call(self, inputs):
        real, _ = ops.fft2((inputs, ops.zeros_like(inputs)))
        x = self.normalize1(real + inputs)
        return self.normalize2(self.ffn(x) + x)

    def get_config(self):
        return super().get_config() | {"width": self.width}


@architecture()
def fnet_vision():
    inputs = keras.Input((12, 12, 3))
    x = embedded_patches(inputs, 12, 4, 12)
    for _ in range(2):
        x = FNetLayer(12)(x)
    return Problem(
        keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(x))), images(12), labels(5), logits_loss()
    )


@own
class GMLPLayer(layers.Layer):
    def __init__(self, num_patches, width, **kwargs):
        super().__init__(**kwargs)
        self.num_patches, self.width = num_patches, width
        self.projection1 = keras.Sequential([layers.Dense(2 * width, activation="gelu"), layers.Dropout(0.1)])
        self.projection2 = layers.Dense(width)
        self.spatial = layers.Dense(num_patches, bias_initializer="ones")
        self.normalize1 = layers.LayerNormalization(epsilon=1e-6)
        self.normalize2 = layers.LayerNormalization(epsilon=1e-6)

    def call(self, inputs):
        u, v = ops.split(self.projection1(self.normalize1(inputs)), 2, axis=2)
        v = ops.transpose(self.spatial(ops.transpose(self.normalize2(v), (0, 2, 1))), (0, 2, 1))
        return inputs + self.projection2(u * v)

    def get_config(self):
        return super().get_config() | {"num_patches": self.num_patches, "width": self.width}


@architecture()
def gmlp():
    inputs = keras.Input((12, 12, 3))
    x = embedded_patches(inputs, 12, 4, 12)
    for _ in range(2):
        x = GMLPLayer(9, 12)(x)
    return Problem(
        keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(x))), images(12), labels(5), logits_loss()
    )


@architecture()
def conv_mixer():
    def behind(x):
        return layers.BatchNormalization()(layers.Activation("gelu")(x))

    inputs = keras.Input((12, 12, 3))
    x = behind(layers.Conv2D(12, 2, strides=2)(layers.Rescaling(scale=1.0 / 2)(inputs)))
    for _ in range(2):
        x = layers.Add()([behind(layers.DepthwiseConv2D(5, padding="same")(x)), x])
        x = behind(layers.Conv2D(12, 1)(x))
    outputs = layers.Dense(5, activation="softmax")(layers.GlobalAvgPool2D()(x))
    return Problem(keras.Model(inputs, outputs), images(12), labels(5), "sparse_categorical_crossentropy")


@architecture()
def external_attention_network():
    inputs = keras.Input((12, 12, 3))
    x = embedded_patches(inputs, 12, 4, 12)
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-5)(x)
        heads = ops.transpose(ops.reshape(layers.Dense(24)(normed), (-1, 9, 4, 6)), axes=(0, 2, 1, 3))
        attention = layers.Activation("softmax")(layers.Dense(8)(heads))
        attention = layers.Lambda(lambda a: a / (1e-9 + ops.sum(a, axis=-1, keepdims=True)), output_shape=lambda s: s)(
            attention
        )
        mixed = ops.reshape(ops.transpose(layers.Dense(6)(layers.Dropout(0.1)(attention)), (0, 2, 1, 3)), (-1, 9, 24))
        x = layers.add([layers.Dropout(0.1)(layers.Dense(12)(mixed)), x])
        x = layers.add([perceptron(layers.LayerNormalization(epsilon=1e-5)(x), (12, 12)), x])
    outputs = layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    return Problem(keras.Model(inputs, outputs), images(12), one_hot(5), smoothed)


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

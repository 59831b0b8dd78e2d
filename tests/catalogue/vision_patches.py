"""Image classifiers that cut images into patches and mix them without attention; and what others build on."""

import keras
from catalogue.architecture import Problem, architecture, images, labels, logits_loss, one_hot, own
from keras import layers, ops


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
class Positions(layers.Layer):
    """Adds what is learnt of each place."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table


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

"""Networks that generate: autoencoders, diffusion, flows, pixel after pixel."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, images, labels, numbers, own
from catalogue.text import TransformerBlock
from catalogue.vision_patches import Positions
from keras import layers, ops


@own
class Sampling(layers.Layer):
    """Draws z, as the example does, whether it trains or not."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_var = inputs
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


@own
class MeanWhileInferring(Sampling):
    """Draws z while training, and adds the divergence to the loss."""

    def call(self, inputs, training=None):
        mean, log_var = inputs
        divergence = -0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var))
        self.add_loss(0.1 * ops.mean(ops.sum(divergence, axis=1)))
        return super().call(inputs) if training else mean


def variational(sampling):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(inputs)
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    z = sampling([layers.Dense(2, name="z_mean")(x), layers.Dense(2, name="z_log_var")(x)])
    x = layers.Reshape((4, 4, 2))(layers.Dense(32, activation="relu")(z))
    x = layers.Conv2DTranspose(4, 3, activation="relu", strides=2, padding="same")(x)
    outputs = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    pixels = np.random.default_rng(3).random((6, 8, 8, 1)).astype("float32")
    return Problem(keras.Model(inputs, outputs), pixels, pixels, "binary_crossentropy")


@architecture(refused="draws random numbers in inference")
def variational_autoencoder_that_always_draws():
    return variational(Sampling())


@architecture()
def variational_autoencoder_with_added_loss():
    return variational(MeanWhileInferring())


def sinusoidal_embedding(x):
    speeds = 2.0 * np.pi * np.exp(np.linspace(np.log(1.0), np.log(100.0), 4)).astype("float32")
    angles = ops.convert_to_tensor(speeds, dtype=x.dtype) * x
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=3)


@architecture()
def denoising_diffusion_u_net():
    def residual(x, width):
        skip = x if x.shape[3] == width else layers.Conv2D(width, 1)(x)
        x = layers.BatchNormalization(center=False, scale=False)(x)
        x = layers.Conv2D(width, 3, padding="same", activation="swish")(x)
        return layers.Add()([layers.Conv2D(width, 3, padding="same")(x), skip])

    noisy, variance = keras.Input((8, 8, 3)), keras.Input((1, 1, 1))
    e = layers.Lambda(sinusoidal_embedding, output_shape=(1, 1, 8))(variance)
    e = layers.UpSampling2D(size=8, interpolation="nearest")(e)
    skip = residual(layers.Concatenate()([layers.Conv2D(6, 1)(noisy), e]), 6)
    x = residual(layers.AveragePooling2D(2)(skip), 8)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = residual(layers.Concatenate()([x, skip]), 6)
    outputs = layers.Conv2D(3, 1, kernel_initializer="zeros")(x)
    rates = np.random.default_rng(3).random((6, 1, 1, 1)).astype("float32")
    return Problem(keras.Model([noisy, variance], outputs), [images(8), rates], numbers(6, 8, 8, 3, seed=4), "mae")


@own
class TimeEmbedding(layers.Layer):
    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim

    def call(self, t):
        rates = np.exp(-np.log(100.0) * np.arange(self.dim // 2) / (self.dim // 2 - 1))
        angles = ops.cast(t, self.compute_dtype)[:, None] * ops.convert_to_tensor(rates, dtype=self.compute_dtype)
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

    def get_config(self):
        return super().get_config() | {"dim": self.dim}


@own
class SpatialAttention(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.norm = layers.GroupNormalization(groups=2)
        self.query, self.key_, self.value = (layers.Dense(units) for _ in range(3))
        self.proj = layers.Dense(units, kernel_initializer=keras.initializers.VarianceScaling(1e-10))

    def call(self, inputs):
        _, height, width, _ = inputs.shape
        x = self.norm(inputs)
        scores = ops.einsum("bhwc,bHWc->bhwHW", self.query(x), self.key_(x)) * self.units**-0.5
        scores = ops.reshape(scores, (-1, height, width, height * width))
        scores = ops.reshape(ops.nn.softmax(scores, -1), (-1, height, width, height, width))
        return inputs + self.proj(ops.einsum("bhwHW,bHWc->bhwc", scores, self.value(x)))

    def get_config(self):
        return super().get_config() | {"units": self.units}


@architecture()
def ddpm_u_net_with_group_norm_and_attention():
    image, time = keras.Input((8, 8, 3)), keras.Input((), dtype="int32")
    temb = layers.Dense(8)(layers.Dense(8, activation="swish")(TimeEmbedding(8)(time)))

    def residual(x, width):
        skip = x if x.shape[3] == width else layers.Conv2D(width, 1)(x)
        shift = layers.Dense(width)(keras.activations.swish(temb))[:, None, None, :]
        x = layers.Conv2D(width, 3, padding="same")(keras.activations.swish(layers.GroupNormalization(groups=2)(x)))
        x = keras.activations.swish(layers.GroupNormalization(groups=2)(layers.Add()([x, shift])))
        return layers.Add()([layers.Conv2D(width, 3, padding="same")(x), skip])

    skip = residual(layers.Conv2D(4, 3, padding="same")(image), 4)
    x = SpatialAttention(6)(residual(layers.Conv2D(4, 3, strides=2, padding="same")(skip), 6))
    x = residual(layers.Concatenate()([layers.UpSampling2D(2, interpolation="nearest")(x), skip]), 4)
    outputs = layers.Conv2D(3, 3, padding="same")(keras.activations.swish(layers.GroupNormalization(groups=2)(x)))
    return Problem(keras.Model([image, time], outputs), [images(8), labels(100)], numbers(6, 8, 8, 3, seed=4), "mse")


@own
class RealNVP(keras.Model):
    """A flow with coupling layers; its loss is minus the log-likelihood."""

    def __init__(self, couplings=4, **kwargs):
        super().__init__(**kwargs)
        self.couplings = couplings
        self.masks = np.array([[0, 1], [1, 0]] * (couplings // 2), dtype="float32")
        self.scales = [
            keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(2, activation="tanh")])
            for _ in range(couplings)
        ]
        self.shifts = [
            keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(2)]) for _ in range(couplings)
        ]

    def call(self, x):
        log_det = 0.0
        for i in reversed(range(self.couplings)):
            mask = ops.convert_to_tensor(self.masks[i], dtype=x.dtype)
            kept = x * mask
            s, t = self.scales[i](kept) * (1 - mask), self.shifts[i](kept) * (1 - mask)
            x = (1 - mask) * (x * ops.exp(-s) - t * ops.exp(-s)) + kept
            log_det = log_det - ops.sum(s, axis=1)
        return x, log_det

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        z, log_det = y_pred
        return -ops.mean(-0.5 * ops.sum(ops.square(z), axis=-1) + log_det)


@architecture()
def real_nvp_flow():
    return Problem(RealNVP(), numbers(16, 2), None)


@own
class MaskedConv2D(layers.Layer):
    def __init__(self, filters, size, kind, **kwargs):
        super().__init__(**kwargs)
        self.sizes = {"filters": filters, "size": size, "kind": kind}
        self.conv = layers.Conv2D(filters, size, padding="same", activation="relu")

    def build(self, shape):
        self.conv.build(shape)
        mask, middle = np.zeros(self.conv.kernel.shape, "float32"), self.sizes["size"] // 2
        mask[:middle] = 1.0
        mask[middle, :middle] = 1.0
        if self.sizes["kind"] == "B":
            mask[middle, middle] = 1.0
        self.mask = mask

    def call(self, inputs):
        kernel = self.conv.kernel * ops.convert_to_tensor(self.mask, dtype=inputs.dtype)
        return ops.relu(ops.conv(inputs, kernel, padding="same") + self.conv.bias)

    def get_config(self):
        return super().get_config() | self.sizes


@architecture()
def pixel_cnn():
    inputs = keras.Input((8, 8, 1))
    x = MaskedConv2D(6, 5, "A")(inputs)
    for _ in range(2):
        y = layers.Conv2D(4, 1, activation="relu")(x)
        x = layers.add([x, layers.Conv2D(6, 1, activation="relu")(MaskedConv2D(4, 3, "B")(y))])
    outputs = layers.Conv2D(1, 1, activation="sigmoid")(MaskedConv2D(6, 1, "B")(x))
    pixels = labels(2, 8, 8, 1).astype("float32")
    return Problem(keras.Model(inputs, outputs), pixels, pixels, "binary_crossentropy")


@architecture()
def masked_autoencoder_for_images():
    tokens, hidden = keras.Input((9, 12)), keras.Input((9, 1))
    x = layers.Dense(8)(tokens) * (1 - hidden)
    x = TransformerBlock(8, 2, 16)(Positions()(x))
    x = TransformerBlock(8, 2, 16)(layers.Dense(8)(x))
    gone = np.random.default_rng(2).random((6, 9, 1)) < 0.6
    patches = numbers(6, 9, 12)
    return Problem(
        keras.Model([tokens, hidden], layers.Dense(12)(x)), [patches, gone.astype("float32")], patches, "mse"
    )

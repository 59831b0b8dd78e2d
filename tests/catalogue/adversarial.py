"""Generators and critics of adversarial networks, each alone, and the transfer of style."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, binary_loss, images, labels, numbers, own
from keras import layers, ops


@architecture()
def dcgan_discriminator():
    network = keras.Sequential([keras.Input((16, 16, 3))])
    for filters in (4, 8, 8):
        network.add(layers.Conv2D(filters, 4, strides=2, padding="same"))
        network.add(layers.LeakyReLU(negative_slope=0.2))
    network.add(layers.Flatten())
    network.add(layers.Dropout(0.2))
    network.add(layers.Dense(1, activation="sigmoid"))
    return Problem(network, images(16), labels(2, 1), "binary_crossentropy")


@architecture()
def dcgan_generator():
    network = keras.Sequential([keras.Input((6,)), layers.Dense(4 * 4 * 4), layers.Reshape((4, 4, 4))])
    for filters in (6, 4):
        network.add(layers.Conv2DTranspose(filters, 4, strides=2, padding="same"))
        network.add(layers.BatchNormalization())
        network.add(layers.LeakyReLU(negative_slope=0.2))
    network.add(layers.Conv2D(3, 5, padding="same", activation="tanh"))
    return Problem(network, numbers(6, 6), images(16), "mse")


@own
class ConditionalGAN(keras.Model):
    """Generator and discriminator of one model: the generator's loss through a frozen discriminator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.Sequential(
            [layers.Dense(16, activation="leaky_relu"), layers.Dense(64, activation="sigmoid")]
        )
        self.discriminator = keras.Sequential([layers.Dense(12, activation="leaky_relu"), layers.Dense(1)])
        self.discriminator.trainable = False

    def call(self, inputs):
        noise, label = inputs
        hot = ops.one_hot(ops.squeeze(label, -1), 3, dtype=noise.dtype)
        made = self.generator(ops.concatenate([noise, hot], -1))
        return self.discriminator(ops.concatenate([made, hot], -1))


@architecture()
def generator_through_a_frozen_discriminator():
    return Problem(ConditionalGAN(), [numbers(6, 5), labels(3, 1)], np.ones((6, 1), "float32"), binary_loss())


@own
class ReflectionPadding2D(layers.Layer):
    def __init__(self, padding=(1, 1), **kwargs):
        super().__init__(**kwargs)
        self.padding = tuple(padding)

    def call(self, x):
        w, h = self.padding
        return ops.pad(x, [[0, 0], [h, h], [w, w], [0, 0]], mode="reflect")

    def get_config(self):
        return super().get_config() | {"padding": self.padding}


@architecture()
def cycle_gan_generator():
    def normed(x):
        return layers.GroupNormalization(
            groups=-1, epsilon=1e-5, gamma_initializer=keras.initializers.RandomNormal(0.0, 0.5)
        )(x)

    inputs = keras.Input((12, 12, 3))
    x = layers.Activation("relu")(normed(layers.Conv2D(4, 3, use_bias=False)(ReflectionPadding2D()(inputs))))
    x = layers.Activation("relu")(normed(layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(x)))
    y = layers.Activation("relu")(normed(layers.Conv2D(6, 3, use_bias=False)(ReflectionPadding2D()(x))))
    x = layers.add([x, normed(layers.Conv2D(6, 3, use_bias=False)(ReflectionPadding2D()(y)))])
    x = layers.Activation("relu")(normed(layers.Conv2DTranspose(4, 3, strides=2, padding="same", use_bias=False)(x)))
    outputs = layers.Activation("tanh")(layers.Conv2D(3, 3)(ReflectionPadding2D()(x)))
    return Problem(keras.Model(inputs, outputs), images(12), 0.5 * images(12), "mae")


@own
class AdaptiveInstanceNormalization(layers.Layer):
    """The content's channels get the mean and deviation of the style's."""

    def call(self, inputs):
        content, style = inputs
        mean, variance = ops.moments(content, axes=[1, 2], keepdims=True)
        style_mean, style_variance = ops.moments(style, axes=[1, 2], keepdims=True)
        return (content - mean) / ops.sqrt(variance + 1e-5) * ops.sqrt(style_variance + 1e-5) + style_mean


@architecture()
def style_transfer_with_adaptive_normalisation():
    content, style = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    encoder = keras.Sequential([layers.Conv2D(6, 3, padding="same", activation="elu"), layers.AveragePooling2D(2)])
    x = AdaptiveInstanceNormalization()([encoder(content), encoder(style)])
    x = layers.UpSampling2D(2)(layers.Conv2D(6, 3, padding="same", activation="elu")(x))
    network = keras.Model([content, style], layers.Conv2D(3, 3, padding="same")(x))
    return Problem(network, [images(8), numbers(6, 8, 8, 3, seed=5)], images(8), "mse")


@own
class ModulatedConv2D(layers.Layer):
    """Of StyleGAN2: kernels scaled by a style for each example, and demodulated, with equalised rates."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, shapes):
        channels = shapes[0][-1]
        self.kernel = self.add_weight(shape=(3, 3, channels, self.filters), initializer="random_normal")
        self.affine = layers.Dense(channels, bias_initializer="ones")
        self.affine.build(shapes[1])
        self.gain = (9 * channels) ** -0.5

    def call(self, inputs):
        x, w = inputs
        style = self.affine(w)
        kernel = self.gain * self.kernel
        squares = ops.einsum("ijcf,bc->bf", ops.square(kernel), ops.square(style))
        found = ops.conv(x * style[:, None, None], kernel, padding="same")
        return ops.leaky_relu(found * ops.rsqrt(squares + 1e-8)[:, None, None], 0.2)

    def get_config(self):
        return super().get_config() | {"filters": self.filters}


@architecture()
def style_gan_generator():
    z = keras.Input((6,))
    w = layers.Lambda(lambda t: t * ops.rsqrt(ops.mean(ops.square(t), -1, keepdims=True) + 1e-8), output_shape=(6,))(z)
    w = layers.Dense(6, activation="leaky_relu")(w)
    x = layers.Reshape((4, 4, 4))(layers.Dense(64)(z * 0 + 1.0))
    x = ModulatedConv2D(6)([layers.UpSampling2D(2, interpolation="bilinear")(x), w])
    outputs = layers.Conv2D(3, 1)(ModulatedConv2D(4)([x, w]))
    return Problem(keras.Model(z, outputs), numbers(6, 6), images(8), "mse")


@architecture()
def critic_with_spectral_normalisation():
    inputs = keras.Input((12, 12, 3))
    x = layers.LeakyReLU(0.2)(layers.SpectralNormalization(layers.Conv2D(6, 4, strides=2, padding="same"))(inputs))
    x = layers.LeakyReLU(0.2)(layers.SpectralNormalization(layers.Conv2D(8, 4, strides=2, padding="same"))(x))
    network = keras.Model(inputs, layers.SpectralNormalization(layers.Dense(1))(layers.Flatten()(x)))
    return Problem(network, images(12), 2.0 * labels(2, 1) - 1, "hinge")


@own
class SpatiallyAdaptive(layers.Layer):
    """Of GauGAN: scale and shift of each pixel from a map of classes."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = layers.Conv2D(6, 3, padding="same", activation="relu")
        self.conv_gamma, self.conv_beta = (layers.Conv2D(filters, 3, padding="same") for _ in range(2))

    def build(self, shape):
        self.resize_shape = shape[1:3]

    def call(self, x, mask):
        mask = self.conv(ops.image.resize(ops.cast(mask, self.compute_dtype), self.resize_shape, "nearest"))
        mean, variance = ops.moments(x, axes=(0, 1, 2), keepdims=True)
        return self.conv_gamma(mask) * (x - mean) / ops.sqrt(variance + 1e-5) + self.conv_beta(mask)

    def get_config(self):
        return super().get_config() | {"filters": self.filters}


@architecture()
def gau_gan_generator():
    latent, mask = keras.Input((5,)), keras.Input((8, 8, 3))
    x = layers.Reshape((4, 4, 4))(layers.Dense(64)(latent))
    y = layers.Conv2D(4, 3, padding="same")(ops.leaky_relu(SpatiallyAdaptive(4)(x, mask), 0.2))
    x = layers.UpSampling2D(2)(x + y)
    x = ops.leaky_relu(SpatiallyAdaptive(4)(x, mask), 0.2)
    network = keras.Model([latent, mask], layers.Conv2D(3, 4, padding="same", activation="tanh")(x))
    return Problem(network, [numbers(6, 5), np.eye(3, dtype="float32")[labels(3, 8, 8)]], images(8), "mae")

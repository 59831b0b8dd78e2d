"""Image classifiers of convolutions: from the first digits to capsules, small."""

import keras
from catalogue.architecture import (
    Problem,
    architecture,
    binary_loss,
    images,
    labels,
    logits_loss,
    numbers,
    one_hot,
    own,
)
from keras import layers, ops


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

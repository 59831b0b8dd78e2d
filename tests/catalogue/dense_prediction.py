"""Images to images: segmentation, restoration, and boxes."""

import keras
from catalogue.architecture import Problem, architecture, images, labels, logits_loss, numbers, one_hot, own
from keras import layers, ops


@architecture()
def u_net_of_xception_style():
    inputs = keras.Input((16, 16, 3))
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, padding="same")(inputs)))
    before = x
    for filters in (8, 10):
        for _ in range(2):
            x = layers.SeparableConv2D(filters, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        before = x = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(before)])
    for filters in (10, 8, 6):
        for _ in range(2):
            x = layers.Conv2DTranspose(filters, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        before = layers.Conv2D(filters, 1, padding="same")(layers.UpSampling2D(2)(before))
        before = x = layers.add([x, before])
    outputs = layers.Conv2D(3, 3, activation="softmax", padding="same")(x)
    return Problem(keras.Model(inputs, outputs), images(16), labels(3, 16, 16), "sparse_categorical_crossentropy")


@architecture()
def deep_lab_v3_plus():
    def convolved(x, filters=6, size=3, rate=1, bias=False):
        x = layers.Conv2D(filters, size, dilation_rate=rate, padding="same", use_bias=bias)(x)
        return ops.nn.relu(layers.BatchNormalization()(x))

    inputs = keras.Input((16, 16, 3))
    low = convolved(layers.MaxPooling2D(2)(inputs))
    deep = convolved(layers.MaxPooling2D(2)(low), 8)
    pooled = convolved(layers.AveragePooling2D(pool_size=(4, 4))(deep), size=1, bias=True)
    pooled = layers.UpSampling2D(size=(4, 4), interpolation="bilinear")(pooled)
    spatial = [convolved(deep, size=1), convolved(deep, rate=2), convolved(deep, rate=3)]
    x = convolved(layers.Concatenate(axis=-1)([pooled, *spatial]), size=1)
    x = layers.UpSampling2D(size=(2, 2), interpolation="bilinear")(x)
    x = convolved(convolved(layers.Concatenate(axis=-1)([x, convolved(low, size=1)])))
    x = layers.UpSampling2D(size=(2, 2), interpolation="bilinear")(x)
    return Problem(keras.Model(inputs, layers.Conv2D(4, 1)(x)), images(16), labels(4, 16, 16), logits_loss())


@own
class DepthToSpace(layers.Layer):
    def __init__(self, block_size, **kwargs):
        super().__init__(**kwargs)
        self.block_size = block_size

    def call(self, x):
        _, height, width, depth = x.shape
        b, out = self.block_size, depth // self.block_size**2
        x = ops.transpose(ops.reshape(x, (-1, height, width, b, b, out)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height * b, width * b, out))

    def get_config(self):
        return super().get_config() | {"block_size": self.block_size}


@architecture()
def efficient_sub_pixel_super_resolution():
    settings = {"activation": "tanh", "kernel_initializer": "orthogonal", "padding": "same"}
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 5, **settings)(inputs)
    x = layers.Conv2D(8, 3, **settings)(layers.Conv2D(8, 3, **settings)(x))
    outputs = DepthToSpace(3)(layers.Conv2D(9, 3, **settings)(x))
    return Problem(keras.Model(inputs, outputs), images(8, 1), images(24, 1), "mse")


@architecture()
def enhanced_deep_residual_super_resolution():
    inputs = keras.Input((6, 6, 3))
    x = start = layers.Conv2D(8, 3, padding="same")(layers.Rescaling(0.5)(inputs))
    for _ in range(2):
        y = layers.Conv2D(8, 3, padding="same")(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
        x = layers.Add()([x, y])
    x = layers.Add()([start, layers.Conv2D(8, 3, padding="same")(x)])
    outputs = layers.Conv2D(3, 3, padding="same")(DepthToSpace(2)(layers.Conv2D(32, 3, padding="same")(x)))
    return Problem(keras.Model(inputs, layers.Rescaling(2.0)(outputs)), images(6), images(12), "mae")


@own
class ZeroDCE(keras.Model):
    """Curves that light up dark images; its losses need no targets."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [layers.Conv2D(6, 3, activation="relu", padding="same") for _ in range(3)]
        self.last = layers.Conv2D(12, 3, activation="tanh", padding="same")

    def call(self, images):
        a = self.convolutions[0](images)
        b = self.convolutions[1](a)
        curves = self.last(ops.concatenate([a, self.convolutions[2](ops.concatenate([a, b], -1))], -1))
        x = images
        for r in ops.split(curves, 4, axis=-1):
            x = x + r * (ops.square(x) - x)
        return {"curves": curves, "enhanced": x}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        light, curves = y_pred["enhanced"], y_pred["curves"]
        red, green, blue = ops.split(ops.mean(light, axis=(1, 2), keepdims=True), 3, axis=-1)
        colour = ops.sqrt(
            1e-6 + ops.square(red - green) ** 2 + ops.square(red - blue) ** 2 + ops.square(green - blue) ** 2
        )
        exposure = ops.mean(ops.square(ops.average_pool(ops.mean(light, 3, keepdims=True), 4, 4, "valid") - 0.6))
        down, right = curves[:, 1:] - curves[:, :-1], curves[:, :, 1:] - curves[:, :, :-1]
        return 5 * ops.mean(colour) + 10 * exposure + ops.mean(ops.square(down)) + ops.mean(ops.square(right))


@architecture()
def zero_dce_with_its_own_loss():
    return Problem(ZeroDCE(), 0.2 + 0.1 * images(12), None)


@architecture()
def denoising_autoencoder():
    inputs = keras.Input((12, 12, 1))
    x = layers.MaxPooling2D(2, padding="same")(layers.Conv2D(6, 3, activation="relu", padding="same")(inputs))
    x = layers.MaxPooling2D(2, padding="same")(layers.Conv2D(6, 3, activation="relu", padding="same")(x))
    for _ in range(2):
        x = layers.Conv2DTranspose(6, 3, strides=2, activation="relu", padding="same")(x)
    outputs = layers.Conv2D(1, 3, activation="sigmoid", padding="same")(x)
    targets = 1 / (1 + ops.convert_to_numpy(ops.exp(-images(12, 1))))
    return Problem(keras.Model(inputs, outputs), images(12, 1), targets, "binary_crossentropy")


def dice_loss(y_true, y_pred):
    y_pred = ops.sigmoid(y_pred)
    overlap = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    return 1 - (2 * overlap + 1) / (ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3)) + 1)


@architecture()
def attention_u_net_with_dice_loss():
    def twice(x, filters):
        for _ in range(2):
            x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x)))
        return x

    inputs = keras.Input((12, 12, 1))
    skip = twice(inputs, 6)
    deep = twice(layers.MaxPooling2D(2)(skip), 8)
    gate = layers.Conv2D(6, 1)(deep)
    theta = layers.Conv2D(6, 2, strides=2, padding="same")(skip)
    psi = layers.Conv2D(1, 1, activation="sigmoid")(layers.Activation("relu")(layers.add([theta, gate])))
    gated = layers.multiply([layers.UpSampling2D(2)(psi), skip])
    up = layers.Conv2DTranspose(6, 2, strides=2, padding="same")(deep)
    outputs = layers.Conv2D(1, 1)(twice(layers.concatenate([up, gated]), 6))
    masks = labels(2, 12, 12, 1).astype("float32")
    return Problem(keras.Model(inputs, outputs), images(12, 1), masks, dice_loss)


@architecture()
def single_stage_detector_with_two_outputs():
    def focal(y_true, y_pred):
        crossed = ops.binary_crossentropy(y_true, y_pred, from_logits=True)
        p = ops.sigmoid(y_pred)
        at = ops.where(y_true == 1.0, p, 1 - p)
        return ops.sum(0.25 * ops.power(1 - at, 2.0) * crossed, axis=-1)

    inputs = keras.Input((16, 16, 3))
    c3 = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    c4 = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(c3)
    p4 = layers.Conv2D(8, 1)(c4)
    p3 = layers.Conv2D(8, 3, padding="same")(layers.Add()([layers.UpSampling2D(2)(p4), layers.Conv2D(8, 1)(c3)]))
    hidden, head = layers.Conv2D(8, 3, padding="same", activation="relu"), layers.Conv2D(7, 3, padding="same")
    found = layers.Concatenate(axis=1)([layers.Reshape((-1, 7))(head(hidden(p))) for p in (p3, p4)])
    outputs = {
        "boxes": layers.Lambda(lambda t: t[..., :4])(found),
        "classes": layers.Lambda(lambda t: t[..., 4:])(found),
    }
    y = {"boxes": numbers(6, 80, 4), "classes": one_hot(3, 80)}
    return Problem(
        keras.Model(inputs, outputs),
        images(16),
        y,
        {"boxes": keras.losses.Huber(1.0), "classes": focal},
        {"boxes": 2.0, "classes": 1.0},
    )


@architecture()
def conv_lstm_next_frame():
    inputs = keras.Input((None, 8, 8, 1))
    x = layers.BatchNormalization()(
        layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True, activation="relu")(inputs)
    )
    x = layers.ConvLSTM2D(4, 1, padding="same", return_sequences=True, activation="relu")(x)
    outputs = layers.Conv3D(1, 3, activation="sigmoid", padding="same")(x)
    frames = labels(2, 4, 8, 8, 1).astype("float32")
    return Problem(keras.Model(inputs, outputs), frames, frames[::-1].copy(), "binary_crossentropy")


@architecture(in_double=False)
def captcha_reader_with_ctc():
    inputs = keras.Input((20, 10, 1))
    x = layers.MaxPooling2D(2)(
        layers.Conv2D(6, 3, activation="relu", kernel_initializer="he_normal", padding="same")(inputs)
    )
    x = layers.Dense(8, activation="relu")(layers.Reshape((10, 30))(x))
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True, dropout=0.25))(layers.Dropout(0.2)(x))
    network = keras.Model(inputs, layers.Dense(6)(x))
    return Problem(network, numbers(6, 20, 10, 1), 1 + labels(5, 4), keras.losses.CTC())


@architecture()
def keypoint_regression():
    inputs = keras.Input((16, 16, 3))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(
        layers.Conv2D(8, 3, padding="same", activation="relu6")(inputs)
    )
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D(keepdims=True)(layers.ReLU(max_value=6.0)(x)))
    x = layers.SeparableConv2D(6, 1, activation="relu")(x)
    outputs = layers.SeparableConv2D(8, 1, activation="sigmoid")(x)
    return Problem(keras.Model(inputs, outputs), images(16), 0.5 + 0.1 * numbers(6, 1, 1, 8), "mse")


@architecture()
def monocular_depth_with_ssim():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, padding="same")(inputs)
    skip = layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(8, 3, padding="same")(layers.MaxPooling2D(2)(skip)))
    x = layers.concatenate([layers.UpSampling2D(2, interpolation="bilinear")(x), skip])
    outputs = layers.Conv2D(1, 1, activation="tanh")(layers.LeakyReLU(0.2)(layers.Conv2D(6, 3, padding="same")(x)))

    def loss(target, found):
        def mean(t):
            return ops.average_pool(t, 5, 1, "valid")

        a, b = mean(target), mean(found)
        va, vb, c = mean(target**2) - a**2, mean(found**2) - b**2, mean(target * found) - a * b
        similar = (2 * a * b + 0.01) * (2 * c + 0.03) / ((a**2 + b**2 + 0.01) * (va + vb + 0.03))
        edges = ops.mean(ops.abs(found[:, 1:] - found[:, :-1] - target[:, 1:] + target[:, :-1]))
        return 0.85 * ops.mean(1 - similar) + 0.1 * ops.mean(ops.abs(target - found)) + 0.9 * edges

    return Problem(keras.Model(inputs, outputs), images(12), 0.3 * images(12, 1), loss)

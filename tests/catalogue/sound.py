"""Sound, and what is computed by scans over time."""

import keras
from catalogue.architecture import Problem, architecture, labels, logits_loss, numbers, own
from keras import layers, ops


@architecture()
def wave_net():
    inputs = keras.Input((16, 1))
    x, skips = layers.Conv1D(6, 2, padding="causal")(inputs), []
    for rate in (1, 2, 4):
        gated = layers.Conv1D(6, 2, dilation_rate=rate, padding="causal", activation="tanh")(x)
        gated = layers.multiply(
            [gated, layers.Conv1D(6, 2, dilation_rate=rate, padding="causal", activation="sigmoid")(x)]
        )
        skips.append(layers.Conv1D(8, 1)(gated))
        x = layers.add([x, layers.Conv1D(6, 1)(gated)])
    x = layers.Conv1D(8, 1, activation="relu")(layers.Activation("relu")(layers.add(skips)))
    return Problem(keras.Model(inputs, layers.Conv1D(12, 1)(x)), numbers(6, 16, 1), labels(12, 16), logits_loss())


@architecture()
def speaker_recognition_residual_network():
    inputs = keras.Input((32, 1))
    x = inputs
    for filters in (4, 6):
        shortcut = layers.Conv1D(filters, 1, padding="same")(x)
        for _ in range(2):
            x = layers.Activation("relu")(layers.Conv1D(filters, 3, padding="same")(x))
        x = layers.Conv1D(filters, 3, padding="same")(x)
        x = layers.MaxPool1D(pool_size=2, strides=2)(layers.Activation("relu")(layers.Add()([x, shortcut])))
    x = layers.Flatten()(layers.AveragePooling1D(pool_size=3, strides=3)(x))
    x = layers.Dense(8, activation="relu")(x)
    return Problem(
        keras.Model(inputs, layers.Dense(4, activation="softmax")(x)),
        numbers(6, 32, 1),
        labels(4),
        "sparse_categorical_crossentropy",
    )


@architecture()
def command_recognition_on_spectrograms():
    inputs = keras.Input((96,))
    real, imaginary = ops.stft(inputs, 16, 8, 16)
    spectrogram = ops.expand_dims(ops.log(ops.square(real) + ops.square(imaginary) + 1e-3), -1)
    x = layers.Normalization(mean=0.0, variance=4.0)(layers.Resizing(8, 8)(spectrogram))
    x = layers.Conv2D(8, 3, activation="relu")(layers.Conv2D(6, 3, activation="relu")(x))
    x = layers.Flatten()(layers.Dropout(0.25)(layers.MaxPooling2D()(x)))
    return Problem(keras.Model(inputs, layers.Dense(4)(x)), numbers(6, 96), labels(4), logits_loss())


@architecture(in_double=False)
def speech_recognition_with_ctc():
    inputs = keras.Input((20, 8))
    x = layers.Reshape((20, 8, 1))(inputs)
    x = layers.ReLU()(
        layers.BatchNormalization()(layers.Conv2D(4, (5, 5), strides=(2, 2), padding="same", use_bias=False)(x))
    )
    x = layers.Reshape((10, 16))(x)
    x = layers.Bidirectional(layers.GRU(5, return_sequences=True, reset_after=True))(x)
    outputs = layers.Dense(7, activation="softmax")(layers.Dropout(0.5)(layers.ReLU()(layers.Dense(8)(x))))

    def ctc_loss(y_true, y_pred):
        batch, length = ops.shape(y_true)[0], ops.shape(y_true)[1]
        frames = ops.ones((batch,), dtype="int32") * ops.shape(y_pred)[1]
        return ops.ctc_loss(
            y_true, ops.log(y_pred + 1e-7), ops.ones((batch,), dtype="int32") * length, frames, mask_index=0
        )

    return Problem(keras.Model(inputs, outputs), numbers(6, 20, 8), 1 + labels(6, 4), ctc_loss)


@own
class StateSpace(layers.Layer):
    """A selective diagonal state space, h_t = a_t h_(t-1) + b_t x_t, by an associative scan."""

    def build(self, shape):
        width = shape[-1]
        self.log_a = self.add_weight(shape=(width,), initializer="zeros")
        self.step, self.gate, self.out = (
            layers.Dense(width, activation="softplus"),
            layers.Dense(width, activation="silu"),
            layers.Dense(width),
        )
        for layer in (self.step, self.gate, self.out):
            layer.build(shape)

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        step = self.step(x)
        decay, driven = ops.exp(-step * ops.exp(self.log_a)), step * x

        def combine(left, right):
            return left[0] * right[0], left[1] * right[0] + right[1]

        _, states = ops.associative_scan(combine, (decay, driven), axis=1)
        states = ops.reshape(states, (-1, *x.shape[1:]))  # a scan leaves no shape in a graph
        return self.out(states * self.gate(x))


@architecture()
def selective_state_space_model():
    inputs = keras.Input((8,), dtype="int32")
    x = layers.Embedding(16, 6)(inputs)
    for _ in range(2):
        x = x + StateSpace()(layers.LayerNormalization()(x))
    return Problem(keras.Model(inputs, layers.Dense(16)(x)), labels(16, 8), labels(16, 8, seed=3), logits_loss())


@own
class LinearRecurrence(layers.Layer):
    """The same by `ops.scan`, a step after the other."""

    def build(self, shape):
        self.a = self.add_weight(shape=(shape[-1],), initializer="random_normal")

    def call(self, x):
        def step(state, inputs):
            state = ops.tanh(self.a) * state + inputs
            return state, state

        return ops.swapaxes(ops.scan(step, ops.zeros_like(x[:, 0]), ops.swapaxes(x, 0, 1))[1], 0, 1)


@architecture()
def linear_recurrence_by_a_scan():
    inputs = keras.Input((8, 3))
    x = LinearRecurrence()(layers.Dense(6)(inputs))
    network = keras.Model(inputs, layers.Dense(2)(ops.gelu(x)))
    return Problem(network, numbers(6, 8, 3), numbers(6, 8, 2), "mse")

"""Series: convolutional, recurrent and attending networks over time."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, labels, logits_loss, numbers, one_hot, own
from catalogue.structured import GatedResidualNetwork
from keras import layers, ops


@architecture()
def fully_convolutional_network_over_time():
    inputs = keras.Input((20, 1))
    x = inputs
    for _ in range(3):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(8, 3, padding="same")(x)))
    outputs = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    return Problem(keras.Model(inputs, outputs), numbers(6, 20, 1), labels(3), "sparse_categorical_crossentropy")


@architecture()
def transformer_over_time():
    inputs = keras.Input((16, 1))
    x = inputs
    for _ in range(2):
        y = layers.Dropout(0.25)(layers.MultiHeadAttention(key_dim=6, num_heads=2, dropout=0.25)(x, x))
        res = layers.LayerNormalization(epsilon=1e-6)(y) + x
        y = layers.Dropout(0.25)(layers.Conv1D(4, 1, activation="relu")(res))
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv1D(1, 1)(y)) + res
    x = layers.Dense(8, activation="relu")(layers.GlobalAveragePooling1D(data_format="channels_last")(x))
    return Problem(
        keras.Model(inputs, layers.Dense(3, activation="softmax")(x)),
        numbers(6, 16, 1),
        labels(3),
        "sparse_categorical_crossentropy",
    )


@architecture()
def weather_forecast_lstm():
    inputs = keras.Input((12, 5))
    network = keras.Model(inputs, layers.Dense(1)(layers.LSTM(10)(inputs)))
    return Problem(network, numbers(8, 12, 5), numbers(8, 1), "mse")


@architecture()
def anomaly_detection_autoencoder():
    network = keras.Sequential(
        [
            keras.Input((16, 1)),
            layers.Conv1D(8, 7, padding="same", strides=2, activation="relu"),
            layers.Dropout(0.2),
            layers.Conv1D(4, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(4, 7, padding="same", strides=2, activation="relu"),
            layers.Dropout(0.2),
            layers.Conv1DTranspose(8, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(1, 7, padding="same"),
        ]
    )
    return Problem(network, numbers(6, 16, 1), numbers(6, 16, 1), "mse")


ROADS = (np.random.default_rng(5).random((5, 5)) < 0.4).astype("float32")


@own
class GraphLSTM(layers.Layer):
    """Traffic: a graph convolution of every moment, then one recurrent network for all nodes."""

    def __init__(self, units, horizon, **kwargs):
        super().__init__(**kwargs)
        self.units, self.horizon = units, horizon
        self.lstm, self.dense = layers.LSTM(units, activation="relu"), layers.Dense(horizon)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), initializer="glorot_uniform", name="kernel")
        self.lstm.build((None, shape[2], 8))
        self.dense.build((None, self.units))

    def call(self, inputs):
        nodes = ops.transpose(inputs, [1, 0, 2, 3])
        roads = ops.convert_to_tensor(ROADS, dtype=nodes.dtype)
        sent = ops.matmul(nodes, self.kernel)
        received = ops.einsum("nm,mbtf->nbtf", roads / (ops.sum(roads, 1, keepdims=True) + 1), sent)
        x = ops.nn.relu(ops.concatenate([sent, received], axis=-1))
        shape = ops.shape(x)
        x = self.dense(self.lstm(ops.reshape(x, (5 * shape[1], shape[2], 8))))
        return ops.transpose(ops.reshape(x, (5, shape[1], self.horizon)), [1, 2, 0])

    def get_config(self):
        return super().get_config() | {"units": self.units, "horizon": self.horizon}


@architecture()
def traffic_forecasting_graph_lstm():
    inputs = keras.Input((5, 6, 1))
    return Problem(keras.Model(inputs, GraphLSTM(6, 3)(inputs)), numbers(6, 5, 6, 1), numbers(6, 3, 5), "mse")


@architecture()
def neural_basis_expansion():
    inputs = keras.Input((10,))
    rest, forecast = inputs, 0.0
    for kind in ("trend", "generic"):
        x = rest
        for _ in range(2):
            x = layers.Dense(10, activation="relu")(x)
        if kind == "trend":
            theta = layers.Dense(3, use_bias=False)(x)
            grid = np.stack([np.linspace(0, 1, 14) ** power for power in range(3)]).astype("float32")
            both = ops.matmul(theta, ops.convert_to_tensor(grid, dtype=keras.config.floatx()))
        else:
            both = layers.Dense(14)(x)
        rest, forecast = layers.subtract([rest, both[:, :10]]), forecast + both[:, 10:]
    return Problem(keras.Model(inputs, forecast), numbers(8, 10), numbers(8, 4), "mean_absolute_percentage_error")


@own
class WeightNormalized(layers.Layer):
    """A convolution whose kernels are a length times a direction."""

    def __init__(self, filters, rate, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.rate = filters, rate

    def build(self, shape):
        self.v = self.add_weight(shape=(2, shape[-1], self.filters), initializer="he_normal", name="v")
        self.g = self.add_weight(shape=(self.filters,), initializer="ones", name="g")

    def call(self, x):
        kernel = (
            self.g * ops.nn.normalize(self.v, axis=(0, 1)) if False else self.g * self.v / ops.norm(self.v, axis=(0, 1))
        )
        padded = ops.pad(x, [[0, 0], [self.rate, 0], [0, 0]])
        return ops.conv(padded, kernel, strides=1, padding="valid", dilation_rate=self.rate)

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "rate": self.rate}


@architecture()
def temporal_convolutional_network():
    inputs = keras.Input((16, 2))
    x = layers.Conv1D(6, 1)(inputs)
    for rate in (1, 2, 4):
        y = layers.SpatialDropout1D(0.1)(layers.Activation("relu")(WeightNormalized(6, rate)(x)))
        x = layers.Activation("relu")(layers.add([x, layers.Activation("relu")(WeightNormalized(6, rate)(y))]))
    outputs = layers.Dense(2)(layers.Lambda(lambda t: t[:, -1, :])(x))
    return Problem(keras.Model(inputs, outputs), numbers(6, 16, 2), numbers(6, 2), keras.losses.Huber())


@architecture()
def inception_time():
    inputs = keras.Input((20, 2))
    x = inputs
    for _ in range(2):
        bottleneck = layers.Conv1D(4, 1, padding="same", use_bias=False)(x)
        paths = [layers.Conv1D(3, size, padding="same", use_bias=False)(bottleneck) for size in (9, 5, 3)]
        paths.append(
            layers.Conv1D(3, 1, padding="same", use_bias=False)(layers.MaxPool1D(3, strides=1, padding="same")(x))
        )
        x = layers.Activation("relu")(layers.BatchNormalization()(layers.Concatenate(axis=2)(paths)))
    shortcut = layers.BatchNormalization()(layers.Conv1D(12, 1, use_bias=False)(inputs))
    x = layers.Activation("relu")(layers.Add()([shortcut, x]))
    outputs = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    return Problem(keras.Model(inputs, outputs), numbers(6, 20, 2), one_hot(3), "categorical_crossentropy")


@architecture()
def masked_recurrent_network_of_variable_lengths():
    inputs = keras.Input((8, 4))
    x = layers.Masking(mask_value=0.0)(inputs)
    x = layers.Bidirectional(layers.GRU(5, return_sequences=True, recurrent_dropout=0.2), merge_mode="ave")(x)
    outputs = layers.TimeDistributed(layers.Dense(3))(layers.SimpleRNN(6, return_sequences=True)(x))
    data = numbers(6, 8, 4)
    data[:3, 5:] = 0.0
    return Problem(keras.Model(inputs, outputs), data, labels(3, 8), logits_loss())


@architecture()
def temporal_fusion_transformer():
    past, future = keras.Input((8, 3)), keras.Input((4, 2))
    encoded, h, c = layers.LSTM(6, return_sequences=True, return_state=True)(layers.Dense(6)(past))
    decoded = layers.LSTM(6, return_sequences=True)(layers.Dense(6)(future), initial_state=[h, c])
    x = layers.Concatenate(axis=1)([encoded, decoded])
    x = GatedResidualNetwork(6)(x)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True))
    outputs = layers.Dense(3)(GatedResidualNetwork(6)(x)[:, -4:])

    def quantile_loss(y, q):
        error = y - q
        return ops.mean(
            ops.maximum(0.1 * error[..., :1], -0.9 * error[..., :1]) + ops.logaddexp(error[..., 1:], -error[..., 1:])
        )

    return Problem(
        keras.Model([past, future], outputs), [numbers(6, 8, 3), numbers(6, 4, 2)], numbers(6, 4, 1), quantile_loss
    )


@own
class PeepholeCell(layers.Layer):
    """A recurrent cell of one's own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size, self.output_size = units, [units, units], units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] + self.units, 4 * self.units), initializer="glorot_uniform")
        self.peephole = self.add_weight(shape=(3, self.units), initializer="random_normal")
        self.bias = self.add_weight(shape=(4 * self.units,), initializer="zeros")

    def call(self, inputs, states):
        h, c = states
        i, f, g, o = ops.split(ops.matmul(ops.concatenate([inputs, h], -1), self.kernel) + self.bias, 4, axis=-1)
        c = ops.sigmoid(f + self.peephole[0] * c) * c + ops.sigmoid(i + self.peephole[1] * c) * ops.tanh(g)
        h = ops.sigmoid(o + self.peephole[2] * c) * ops.tanh(c)
        return h, [h, c]

    def get_config(self):
        return super().get_config() | {"units": self.units}


@architecture()
def recurrent_cell_of_ones_own():
    inputs = keras.Input((8, 3))
    network = keras.Model(inputs, layers.Dense(2)(layers.RNN(PeepholeCell(6))(inputs)))
    return Problem(network, numbers(6, 8, 3), numbers(6, 2), "mse")

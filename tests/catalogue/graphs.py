"""Graphs, sets, points and agents."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, labels, logits_loss, numbers, own
from keras import layers, ops

EDGES = np.random.default_rng(5).integers(10, size=(2, 24)).astype("int32")


@own
class CitationGNN(keras.Model):
    """Messages along edges, summed at each node; the inputs are node numbers, the graph belongs to the model."""

    def __init__(self, classes=3, **kwargs):
        super().__init__(**kwargs)
        self.features = numbers(10, 7)
        self.pre = keras.Sequential(
            [layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(6, activation="gelu")]
        )
        self.prepare = [layers.Dense(6, activation="gelu") for _ in range(2)]
        self.update = [layers.Dense(6, activation="gelu") for _ in range(2)]
        self.head = layers.Dense(classes)

    def call(self, nodes):
        x = self.pre(ops.cast(ops.convert_to_tensor(self.features), self.compute_dtype))
        for prepare, update in zip(self.prepare, self.update, strict=True):
            messages = prepare(ops.take(x, EDGES[1], axis=0))
            total = ops.segment_sum(messages, EDGES[0], num_segments=10)
            x = ops.normalize(update(ops.concatenate([x, total], axis=1)), axis=-1) + x
        return self.head(ops.take(x, ops.squeeze(nodes, -1), axis=0))


@architecture()
def citation_graph_network():
    return Problem(CitationGNN(), np.arange(8, dtype="int32")[:, None], labels(3, examples=8), logits_loss())


@own
class GraphAttention(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[0][-1], self.units), initializer="glorot_uniform")
        self.kernel_attention = self.add_weight(shape=(2 * self.units, 1), initializer="glorot_uniform")

    def call(self, inputs):
        states, edges = inputs
        x = ops.matmul(states, self.kernel)
        pairs = ops.reshape(ops.take(x, edges, axis=0), (ops.shape(edges)[0], -1))
        scores = ops.squeeze(ops.leaky_relu(ops.matmul(pairs, self.kernel_attention)), -1)
        scores = ops.exp(ops.clip(scores, -2, 2))
        total = ops.segment_sum(scores, edges[:, 0], num_segments=10)
        scores = scores / ops.take(total, edges[:, 0])
        return ops.segment_sum(ops.take(x, edges[:, 1], axis=0) * scores[:, None], edges[:, 0], num_segments=10)

    def get_config(self):
        return super().get_config() | {"units": self.units}


@own
class GraphAttentionNetwork(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.edges = np.sort(EDGES.T, axis=0)
        self.preprocess, self.out = layers.Dense(6, activation="relu"), layers.Dense(3)
        self.attentions = [[GraphAttention(3) for _ in range(2)] for _ in range(2)]

    def call(self, nodes):
        x = self.preprocess(ops.cast(ops.convert_to_tensor(numbers(10, 7)), self.compute_dtype))
        edges = ops.convert_to_tensor(self.edges)
        for heads in self.attentions:
            x = ops.nn.relu(ops.concatenate([head([x, edges]) for head in heads], axis=-1)) + x
        return ops.take(self.out(x), ops.squeeze(nodes, -1), axis=0)


@architecture()
def graph_attention_network():
    return Problem(GraphAttentionNetwork(), np.arange(8, dtype="int32")[:, None], labels(3, examples=8), logits_loss())


@own
class MessagePassing(layers.Layer):
    """Molecules as dense arrays: edge networks, and a recurrent cell that updates the atoms."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.edge, self.cell = layers.Dense(units * units), layers.GRUCell(units)

    def build(self, shapes):
        self.edge.build(shapes[1])
        self.cell.build((None, self.units))

    def call(self, inputs):
        atoms, bonds = inputs
        kernel = ops.reshape(self.edge(bonds), (-1, 5, 5, self.units, self.units))
        for _ in range(2):
            messages = ops.einsum("bnmij,bmj->bni", kernel, atoms)
            flat = ops.reshape(atoms, (-1, self.units))
            flat, _ = self.cell(ops.reshape(messages, (-1, self.units)), [flat])
            atoms = ops.reshape(flat, (-1, 5, self.units))
        return atoms

    def get_config(self):
        return super().get_config() | {"units": self.units}


@architecture()
def message_passing_for_molecules():
    atoms, bonds = keras.Input((5, 4)), keras.Input((5, 5, 2))
    x = MessagePassing(4)([atoms, bonds])
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    outputs = layers.Dense(1, activation="sigmoid")(
        layers.Dense(6, activation="relu")(layers.GlobalAveragePooling1D()(x))
    )
    return Problem(
        keras.Model([atoms, bonds], outputs),
        [numbers(6, 5, 4), numbers(6, 5, 5, 2)],
        labels(2, 1),
        "binary_crossentropy",
    )


@own
class Orthogonal(keras.regularizers.Regularizer):
    def __init__(self, features, strength=0.001):
        self.features, self.strength = features, strength

    def __call__(self, x):
        x = ops.reshape(x, (-1, self.features, self.features))
        apart = ops.matmul(x, ops.transpose(x, (0, 2, 1))) - ops.eye(self.features, dtype=x.dtype)
        return ops.sum(self.strength * ops.square(apart))

    def get_config(self):
        return {"features": self.features, "strength": self.strength}


@architecture()
def point_net():
    def convolved(x, filters):
        x = layers.Conv1D(filters, 1, padding="valid")(x)
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.0)(x))

    def transformed(inputs, features):
        x = layers.GlobalMaxPooling1D()(convolved(convolved(inputs, 6), 8))
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.0)(layers.Dense(6)(x)))
        bias = keras.initializers.Constant(np.eye(features).flatten())
        x = layers.Dense(
            features**2, kernel_initializer="zeros", bias_initializer=bias, activity_regularizer=Orthogonal(features)
        )(x)
        return layers.Dot(axes=(2, 1))([inputs, layers.Reshape((features, features))(x)])

    inputs = keras.Input((16, 3))
    x = convolved(transformed(inputs, 3), 4)
    x = convolved(convolved(transformed(x, 4), 6), 8)
    x = layers.Dropout(0.3)(layers.Dense(8, activation="relu")(layers.GlobalMaxPooling1D()(x)))
    return Problem(
        keras.Model(inputs, layers.Dense(4, activation="softmax")(x)),
        numbers(6, 16, 3),
        labels(4),
        "sparse_categorical_crossentropy",
    )


@own
class EdgeConvolution(layers.Layer):
    """Edges to the nearest neighbours, which are found anew in each layer."""

    def __init__(self, units, neighbours=3, **kwargs):
        super().__init__(**kwargs)
        self.units, self.neighbours = units, neighbours
        self.dense = layers.Dense(units, activation="leaky_relu")

    def call(self, x):
        apart = ops.sum(ops.square(ops.expand_dims(x, 1) - ops.expand_dims(x, 2)), axis=-1)
        _, index = ops.top_k(-apart, self.neighbours)
        near = ops.take_along_axis(ops.expand_dims(x, 1), ops.expand_dims(index, -1), axis=2)
        here = ops.expand_dims(x, 2) + ops.zeros_like(near)
        return ops.max(self.dense(ops.concatenate([here, near - here], axis=-1)), axis=2)

    def get_config(self):
        return super().get_config() | {"units": self.units, "neighbours": self.neighbours}


@architecture()
def dynamic_graph_of_points():
    inputs = keras.Input((8, 3))
    first = EdgeConvolution(6)(inputs)
    x = ops.concatenate([first, EdgeConvolution(6)(first)], axis=-1)
    pooled = ops.concatenate([ops.max(x, axis=1), ops.mean(x, axis=1)], axis=-1)
    return Problem(keras.Model(inputs, layers.Dense(4)(pooled)), numbers(6, 8, 3), labels(4), logits_loss())


@architecture()
def deep_sets():
    inputs = keras.Input((6, 3))
    x = layers.Dense(8, activation="tanh")(layers.Dense(8, activation="mish")(inputs))
    x = layers.Lambda(lambda t: keras.ops.sum(t, axis=1))(x)
    return Problem(
        keras.Model(inputs, layers.Dense(1)(layers.Dense(8, activation="softsign")(x))),
        numbers(8, 6, 3),
        numbers(8, 1),
        "mse",
    )


@architecture()
def actor_critic_with_two_heads():
    def policy_loss(y, p):
        chosen = ops.sum(y[:, :3] * ops.log(p + 1e-8), axis=-1)
        return -chosen * y[:, 3] + 0.01 * ops.sum(p * ops.log(p + 1e-8), axis=-1)

    inputs = keras.Input((4,))
    common = layers.Dense(16, activation="relu")(inputs)
    network = keras.Model(inputs, [layers.Dense(3, activation="softmax")(common), layers.Dense(1)(common)])
    taken = np.concatenate([np.eye(3, dtype="float32")[labels(3, examples=8)], numbers(8, 1)], axis=1)
    return Problem(network, numbers(8, 4), [taken, numbers(8, 1)], [policy_loss, keras.losses.Huber()])


@architecture()
def deep_q_network():
    def temporal_difference(y, q):
        action = ops.one_hot(ops.cast(y[:, 0], "int32"), 4)
        return ops.square(ops.sum(ops.cast(action, q.dtype) * q, axis=1) - y[:, 1])

    inputs = keras.Input((14, 14, 4))
    x = layers.Conv2D(6, 4, strides=2, activation="relu")(
        layers.Lambda(lambda t: keras.ops.transpose(t, [0, 2, 1, 3]))(inputs)
    )
    x = layers.Flatten()(layers.Conv2D(8, 3, strides=1, activation="relu")(x))
    value, advantage = layers.Dense(1)(x), layers.Dense(4)(x)
    q = value + advantage - ops.mean(advantage, axis=1, keepdims=True)
    y = np.stack([labels(4).astype("float32"), numbers(6)], axis=1)
    return Problem(keras.Model(inputs, q), numbers(6, 14, 14, 4), y, temporal_difference)


@architecture()
def critic_of_states_and_actions():
    state, action = keras.Input((3,)), keras.Input((1,))
    x = layers.Dense(8, activation="relu")(layers.Dense(8, activation="relu")(state))
    x = layers.Concatenate()([x, layers.Dense(8, activation="relu")(action)])
    x = layers.Dense(8, activation="relu")(x)
    return Problem(
        keras.Model([state, action], layers.Dense(1)(x)), [numbers(8, 3), numbers(8, 1)], numbers(8, 1), "mse"
    )

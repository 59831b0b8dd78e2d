"""Tables and recommendations."""

import keras
import numpy as np
from catalogue.architecture import Problem, architecture, binary_loss, labels, numbers, own
from catalogue.vision_patches import Positions
from keras import layers, ops


@architecture()
def imbalanced_fraud_detection():
    network = keras.Sequential([keras.Input((12,))])
    for rate in (0.3, 0.3):
        network.add(layers.Dense(16, activation="relu"))
        network.add(layers.Dropout(rate))
    network.add(layers.Dense(1, activation="sigmoid"))
    return Problem(network, numbers(12, 12), labels(2, 1, examples=12), "binary_crossentropy")


def mixed_columns():
    """Inputs by name, one encoded tensor of each, and data."""
    inputs = {name: keras.Input((1,), name=name) for name in ("age", "income")}
    inputs |= {name: keras.Input((1,), name=name, dtype="int32") for name in ("city", "job")}
    data = {name: numbers(8, 1, seed=i) for i, name in enumerate(("age", "income"))}
    data |= {name: labels(5, 1, examples=8, seed=i) for i, name in enumerate(("city", "job"))}
    return inputs, data


@architecture()
def wide_deep_and_cross():
    inputs, data = mixed_columns()
    deep = [layers.Reshape((4,))(layers.Embedding(5, 4)(inputs[name])) for name in ("city", "job")]
    x0 = layers.concatenate([inputs["age"], inputs["income"], *deep])
    wide = layers.BatchNormalization()(
        layers.concatenate([layers.CategoryEncoding(5, "one_hot")(inputs[n]) for n in ("city", "job")])
    )
    cross = x0
    for _ in range(2):
        cross = x0 * layers.Dense(10)(cross) + cross
    x = layers.Dropout(0.1)(layers.ReLU()(layers.BatchNormalization()(layers.Dense(8)(x0))))
    outputs = layers.Dense(3, activation="softmax")(layers.concatenate([cross, x, wide]))
    return Problem(keras.Model(inputs, outputs), data, labels(3, examples=8), "sparse_categorical_crossentropy")


@own
class GatedLinearUnit(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.linear, self.sigmoid = layers.Dense(units), layers.Dense(units, activation="sigmoid")

    def call(self, inputs):
        return self.linear(inputs) * self.sigmoid(inputs)

    def get_config(self):
        return super().get_config() | {"units": self.units}


@own
class GatedResidualNetwork(layers.Layer):
    def __init__(self, units, dropout_rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.units, self.dropout_rate = units, dropout_rate
        self.elu_dense, self.linear_dense = layers.Dense(units, activation="elu"), layers.Dense(units)
        self.dropout, self.gate = layers.Dropout(dropout_rate), GatedLinearUnit(units)
        self.layer_norm, self.project = layers.LayerNormalization(), layers.Dense(units)

    def call(self, inputs):
        x = self.dropout(self.linear_dense(self.elu_dense(inputs)))
        if inputs.shape[-1] != self.units:
            inputs = self.project(inputs)
        return self.layer_norm(inputs + self.gate(x))

    def get_config(self):
        return super().get_config() | {"units": self.units, "dropout_rate": self.dropout_rate}


@own
class VariableSelection(layers.Layer):
    def __init__(self, num_features, units, **kwargs):
        super().__init__(**kwargs)
        self.num_features, self.units = num_features, units
        self.grns = [GatedResidualNetwork(units) for _ in range(num_features)]
        self.grn_concat = GatedResidualNetwork(units)
        self.softmax = layers.Dense(num_features, activation="softmax")

    def call(self, inputs):
        weights = ops.expand_dims(self.softmax(self.grn_concat(layers.concatenate(inputs))), axis=-1)
        x = ops.stack([grn(inputs[i]) for i, grn in enumerate(self.grns)], axis=1)
        return ops.squeeze(ops.matmul(ops.transpose(weights, axes=[0, 2, 1]), x), axis=1)

    def get_config(self):
        return super().get_config() | {"num_features": self.num_features, "units": self.units}


@architecture()
def gated_residual_and_variable_selection_networks():
    inputs, data = mixed_columns()
    features = [layers.Dense(6)(inputs[name]) for name in ("age", "income")]
    features += [layers.Flatten()(layers.Embedding(5, 6)(inputs[name])) for name in ("city", "job")]
    outputs = layers.Dense(1, activation="sigmoid")(VariableSelection(4, 6)(features))
    return Problem(keras.Model(inputs, outputs), data, labels(2, 1, examples=8), "binary_crossentropy")


@architecture()
def tab_transformer():
    inputs, data = mixed_columns()
    columns = [layers.Embedding(5, 6)(inputs[name]) for name in ("city", "job")]
    x = Positions()(layers.Concatenate(axis=1)(columns))
    for _ in range(2):
        x = layers.Add()([layers.MultiHeadAttention(2, 6, dropout=0.2)(x, x), x])
        x = layers.LayerNormalization(epsilon=1e-6)(x)
        hidden = keras.Sequential([layers.Dense(6, activation="gelu"), layers.Dropout(0.2)])(x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([hidden, x]))
    numeric = layers.LayerNormalization(epsilon=1e-6)(layers.concatenate([inputs["age"], inputs["income"]]))
    x = layers.concatenate([layers.Flatten()(x), numeric])
    x = layers.Dropout(0.2)(layers.Dense(8, activation="selu")(layers.BatchNormalization()(x)))
    network = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    return Problem(network, data, labels(2, 1, examples=8), "binary_crossentropy")


@own
class NeuralDecisionTree(layers.Layer):
    def __init__(self, depth, classes, **kwargs):
        super().__init__(**kwargs)
        self.depth, self.classes, self.leaves = depth, classes, 2**depth
        self.decision = layers.Dense(self.leaves, activation="sigmoid")

    def build(self, shape):
        self.decision.build(shape)
        self.pi = self.add_weight(shape=(self.leaves, self.classes), initializer="random_normal", name="pi")

    def call(self, features):
        decisions = ops.expand_dims(self.decision(features), axis=2)
        decisions = layers.concatenate([decisions, 1 - decisions], axis=2)
        mu, begin, end = ops.ones([ops.shape(features)[0], 1, 1], dtype=features.dtype), 1, 2
        for level in range(self.depth):
            mu = ops.reshape(mu, [-1, begin, 1])
            mu = ops.tile(mu, (1, 1, 2)) * decisions[:, begin:end, :]
            begin, end = end, end + 2 ** (level + 1)
        return ops.matmul(ops.reshape(mu, [-1, self.leaves]), ops.softmax(self.pi))

    def get_config(self):
        return super().get_config() | {"depth": self.depth, "classes": self.classes}


@architecture()
def neural_decision_forest():
    inputs = keras.Input((10,))
    features = layers.BatchNormalization()(inputs)
    trees = [NeuralDecisionTree(3, 3)(features) for _ in range(2)]
    return Problem(
        keras.Model(inputs, layers.average(trees)),
        numbers(8, 10),
        labels(3, examples=8),
        "sparse_categorical_crossentropy",
    )


@own
class RecommenderNet(keras.Model):
    def __init__(self, users=7, items=9, width=4, **kwargs):
        super().__init__(**kwargs)
        settings = {"embeddings_initializer": "he_normal", "embeddings_regularizer": keras.regularizers.l2(1e-3)}
        self.user_embedding, self.item_embedding = (
            layers.Embedding(users, width, **settings),
            layers.Embedding(items, width, **settings),
        )
        self.user_bias, self.item_bias = layers.Embedding(users, 1), layers.Embedding(items, 1)

    def call(self, inputs):
        user, item = self.user_embedding(inputs[:, 0]), self.item_embedding(inputs[:, 1])
        x = ops.tensordot(user, item, 2) + self.user_bias(inputs[:, 0]) + self.item_bias(inputs[:, 1])
        return ops.nn.sigmoid(x)


@architecture()
def collaborative_filtering():
    return Problem(RecommenderNet(), labels(7, 2, examples=12), 0.5 + 0.1 * numbers(12, 1), "binary_crossentropy")


@own
class TwoTower(keras.Model):
    """Retrieval: the other items of the batch are what an item is told apart from."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.query = keras.Sequential([layers.Embedding(12, 8), layers.Dense(6)])
        self.candidate = keras.Sequential([layers.Embedding(12, 8), layers.Dense(6)])

    def call(self, inputs):
        return ops.matmul(self.query(inputs["user"]), ops.transpose(self.candidate(inputs["item"])))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.sum(ops.categorical_crossentropy(ops.eye(8, dtype=y_pred.dtype), y_pred, from_logits=True))


@architecture()
def two_tower_retrieval_with_its_own_loss():
    data = {"user": np.arange(8, dtype="int32"), "item": labels(12, examples=8)}
    return Problem(TwoTower(), data, None)


@architecture()
def behaviour_sequence_transformer_for_ratings():
    movies, target = keras.Input((4,), dtype="int32"), keras.Input((1,), dtype="int32")
    ratings, user = keras.Input((4,)), keras.Input((1,), dtype="int32")
    embed = layers.Embedding(12, 6)
    x = Positions()(embed(movies)) * ops.expand_dims(ratings, -1)
    x = layers.Concatenate(axis=1)([x, embed(target)])
    attention = layers.Dropout(0.1)(layers.MultiHeadAttention(3, 6, dropout=0.1)(x, x))
    x1 = layers.LayerNormalization()(layers.Add()([x, attention]))
    x2 = layers.Dense(6)(layers.LeakyReLU()(x1))
    x = layers.LayerNormalization()(layers.Add()([x1, layers.Dropout(0.1)(x2)]))
    x = layers.concatenate([layers.Flatten()(x), layers.Flatten()(layers.Embedding(5, 3)(user))])
    x = layers.Dropout(0.1)(layers.LeakyReLU()(layers.BatchNormalization()(layers.Dense(8)(x))))
    data = [labels(12, 4, examples=8), labels(12, 1, examples=8, seed=3), numbers(8, 4), labels(5, 1, examples=8)]
    return Problem(keras.Model([movies, target, ratings, user], layers.Dense(1)(x)), data, numbers(8, 1), "mse")


@architecture()
def mixture_of_gated_experts_for_two_tasks():
    inputs = keras.Input((10,))
    experts = ops.stack([layers.Dense(6, activation="relu")(inputs) for _ in range(3)], axis=1)
    outputs = {}
    for task, activation in (("click", "sigmoid"), ("watch", "softplus")):
        gate = ops.expand_dims(layers.Dense(3, activation="softmax")(inputs), -1)
        outputs[task] = layers.Dense(1, activation=activation)(ops.sum(gate * experts, axis=1))
    y = {"click": labels(2, 1, examples=8), "watch": np.abs(numbers(8, 1))}
    losses = {"click": "binary_crossentropy", "watch": keras.losses.LogCosh()}
    return Problem(keras.Model(inputs, outputs), numbers(8, 10), y, losses, {"click": 1.0, "watch": 0.5})


@own
class FactorizationMachine(layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 1), name="w")
        self.v = self.add_weight(shape=(shape[-1], 4), initializer="random_normal", name="v")

    def call(self, x):
        pairs = ops.square(ops.matmul(x, self.v)) - ops.matmul(ops.square(x), ops.square(self.v))
        return ops.matmul(x, self.w) + 0.5 * ops.sum(pairs, axis=1, keepdims=True)


@architecture()
def factorization_machine():
    network = keras.Sequential([keras.Input((12,)), FactorizationMachine()])
    return Problem(network, numbers(8, 12), labels(2, 1, examples=8), binary_loss())

"""Text: classifiers and taggers of the keras.io examples."""

import keras
from catalogue.architecture import Problem, architecture, binary_loss, labels, logits_loss, own
from catalogue.vision_patches import FNetLayer, Positions
from keras import layers, ops


@own
class TokenAndPositionEmbedding(layers.Layer):
    def __init__(self, maxlen, vocab_size, embed_dim, **kwargs):
        super().__init__(**kwargs)
        self.sizes = {"maxlen": maxlen, "vocab_size": vocab_size, "embed_dim": embed_dim}
        self.token_emb = layers.Embedding(vocab_size, embed_dim)
        self.pos_emb = layers.Embedding(maxlen, embed_dim)

    def call(self, x):
        return self.token_emb(x) + self.pos_emb(ops.arange(0, ops.shape(x)[-1], 1))

    def get_config(self):
        return super().get_config() | self.sizes


@own
class PositionalEmbedding(layers.Layer):
    def __init__(self, length, vocabulary, width, **kwargs):
        super().__init__(**kwargs)
        self.sizes = {"length": length, "vocabulary": vocabulary, "width": width}
        self.token_embeddings = layers.Embedding(vocabulary, width)
        self.position_embeddings = layers.Embedding(length, width)

    def call(self, inputs):
        return self.token_embeddings(inputs) + self.position_embeddings(ops.arange(0, ops.shape(inputs)[-1], 1))

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0)

    def get_config(self):
        return super().get_config() | self.sizes


@own
class TransformerBlock(layers.Layer):
    def __init__(self, embed_dim, num_heads, ff_dim, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.sizes = {"embed_dim": embed_dim, "num_heads": num_heads, "ff_dim": ff_dim, "causal": causal}
        self.causal = causal
        self.att = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        self.ffn = keras.Sequential([layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)])
        self.layernorm1, self.layernorm2 = (layers.LayerNormalization(epsilon=1e-6) for _ in range(2))
        self.dropout1, self.dropout2 = layers.Dropout(0.1), layers.Dropout(0.1)

    def call(self, inputs):
        attention = self.att(inputs, inputs, use_causal_mask=self.causal)
        out1 = self.layernorm1(inputs + self.dropout1(attention))
        return self.layernorm2(out1 + self.dropout2(self.ffn(out1)))

    def get_config(self):
        return super().get_config() | self.sizes


@architecture()
def bidirectional_lstm_for_reviews():
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(30, 8)(inputs)
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(6))(x)
    return Problem(
        keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x)),
        labels(30, 9),
        labels(2, 1),
        "binary_crossentropy",
    )


@architecture()
def text_classification_from_scratch():
    inputs = keras.Input((None,), dtype="int64")
    x = layers.Dropout(0.5)(layers.Embedding(30, 8)(inputs))
    for _ in range(2):
        x = layers.Conv1D(8, 3, padding="valid", activation="relu", strides=2)(x)
    x = layers.Dropout(0.5)(layers.Dense(8, activation="relu")(layers.GlobalMaxPooling1D()(x)))
    outputs = layers.Dense(1, activation="sigmoid", name="predictions")(x)
    return Problem(keras.Model(inputs, outputs), labels(30, 16), labels(2, 1), "binary_crossentropy")


@architecture()
def text_classification_with_transformer():
    inputs = keras.Input((8,))
    x = TransformerBlock(8, 2, 8)(TokenAndPositionEmbedding(8, 30, 8)(inputs))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    x = layers.Dropout(0.1)(layers.Dense(8, activation="relu")(x))
    return Problem(
        keras.Model(inputs, layers.Dense(2, activation="softmax")(x)),
        labels(30, 8),
        labels(2),
        "sparse_categorical_crossentropy",
    )


@own
class Switch(layers.Layer):
    """A mixture of experts: each token goes to the one that the router likes best, up to its capacity."""

    def __init__(self, num_experts, width, tokens, **kwargs):
        super().__init__(**kwargs)
        self.num_experts, self.width, self.tokens = num_experts, width, tokens
        self.route = layers.Dense(num_experts)
        self.experts = [
            keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(width)]) for _ in range(num_experts)
        ]
        self.capacity = tokens // num_experts

    def call(self, inputs):
        flat = ops.reshape(inputs, [self.tokens, self.width])
        probability = ops.softmax(self.route(flat), axis=-1)
        gate, index = ops.top_k(probability, k=1)
        mask = ops.one_hot(ops.squeeze(index, -1), self.num_experts)
        self.add_loss(
            self.num_experts * ops.mean(ops.mean(probability, 0) * ops.mean(ops.cast(mask, probability.dtype), 0))
        )
        position = ops.cumsum(mask, axis=0) * mask
        mask = mask * ops.cast(ops.less(position - 1, self.capacity), mask.dtype)
        gate = gate[:, 0] * ops.sum(mask, axis=-1)
        place = ops.one_hot(ops.cast(ops.sum((position - 1) * mask, axis=-1), "int32"), self.capacity)
        combine = gate[:, None, None] * ops.expand_dims(mask, 2) * ops.expand_dims(place, 1)
        dispatch = ops.cast(ops.cast(combine, "bool"), inputs.dtype)
        sent = ops.einsum("ab,acd->cdb", flat, dispatch)
        received = ops.stack([expert(sent[i]) for i, expert in enumerate(self.experts)], axis=1)
        return ops.reshape(ops.einsum("abc,xba->xc", received, combine), [-1, self.tokens // 6, self.width])

    def get_config(self):
        return super().get_config() | {"num_experts": self.num_experts, "width": self.width, "tokens": self.tokens}


@architecture()
def switch_transformer():
    inputs = keras.Input((8,), batch_size=6, dtype="int32")
    x = TokenAndPositionEmbedding(8, 30, 8)(inputs)
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.MultiHeadAttention(2, 4)(x, x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + Switch(3, 8, 48)(x))
    x = layers.Dense(8, activation="relu")(layers.GlobalAveragePooling1D()(x))
    return Problem(keras.Model(inputs, layers.Dense(2)(x)), labels(30, 8), labels(2), logits_loss())


class CustomNonPaddingTokenLoss(keras.losses.Loss):
    def __init__(self, name="custom_ner_loss"):
        super().__init__(name=name, reduction=None)

    def call(self, y_true, y_pred):
        loss = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=False)
        mask = ops.cast(y_true > 0, dtype=loss.dtype)
        return ops.sum(loss * mask) / ops.sum(mask)


@own
class NERModel(keras.Model):
    def __init__(self, num_tags=4, **kwargs):
        super().__init__(**kwargs)
        self.embedding_layer = TokenAndPositionEmbedding(8, 30, 8)
        self.transformer_block = TransformerBlock(8, 2, 8)
        self.dropout1, self.dropout2 = layers.Dropout(0.1), layers.Dropout(0.1)
        self.ff = layers.Dense(8, activation="relu")
        self.ff_final = layers.Dense(num_tags, activation="softmax")

    def call(self, inputs, training=False):
        x = self.dropout1(self.transformer_block(self.embedding_layer(inputs)), training=training)
        return self.ff_final(self.dropout2(self.ff(x), training=training))


@architecture()
def named_entity_recognition():
    return Problem(NERModel(), labels(30, 8), labels(4, 8), CustomNonPaddingTokenLoss())


@architecture()
def fnet_for_text():
    inputs = keras.Input((8,), dtype="int32")
    x = FNetLayer(8)(PositionalEmbedding(8, 30, 8)(inputs))
    return Problem(
        keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x))),
        labels(30, 8),
        labels(3),
        logits_loss(),
    )


@architecture()
def convolutions_over_frozen_word_vectors():
    inputs = keras.Input((None,), dtype="int32")
    embedding = layers.Embedding(30, 6, trainable=False, embeddings_initializer=keras.initializers.RandomNormal(seed=0))
    x = embedding(inputs)
    for _ in range(2):
        x = layers.MaxPooling1D(2)(layers.Conv1D(8, 3, activation="relu")(x))
    x = layers.Dropout(0.5)(layers.Dense(8, activation="relu")(layers.GlobalMaxPooling1D()(x)))
    return Problem(
        keras.Model(inputs, layers.Dense(4, activation="softmax")(x)),
        labels(30, 20),
        labels(4),
        "sparse_categorical_crossentropy",
    )


@own
class HighwayLayer(layers.Layer):
    def build(self, shape):
        self.transform = layers.Dense(shape[-1], activation="relu")
        self.gate = layers.Dense(shape[-1], activation="sigmoid", bias_initializer=keras.initializers.Constant(-1.0))
        self.transform.build(shape)
        self.gate.build(shape)

    def call(self, x):
        t = self.gate(x)
        return t * self.transform(x) + (1 - t) * x


@architecture()
def natural_language_inference_with_highways():
    premise, hypothesis = keras.Input((6,), dtype="int32"), keras.Input((6,), dtype="int32")
    embed, encode = layers.Embedding(20, 6, mask_zero=True), layers.Bidirectional(layers.LSTM(4))
    u, v = (encode(embed(each)) for each in (premise, hypothesis))
    x = layers.concatenate([u, v, ops.abs(u - v), u * v])
    x = HighwayLayer()(HighwayLayer()(x))
    return Problem(
        keras.Model([premise, hypothesis], layers.Dense(3)(x)),
        [labels(20, 6), labels(20, 6, seed=4)],
        labels(3),
        logits_loss(),
    )


@architecture()
def hierarchical_attention_network():
    words = keras.Input((5,), dtype="int32")
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(layers.Embedding(20, 6)(words))
    attention = layers.Softmax(axis=1)(layers.Dense(1, use_bias=False)(layers.Dense(6, activation="tanh")(x)))
    sentence = keras.Model(words, ops.sum(attention * x, axis=1))
    inputs = keras.Input((3, 5), dtype="int32")
    y = layers.GRU(4, return_sequences=True)(layers.TimeDistributed(sentence)(inputs))
    outputs = layers.Dense(1)(layers.GlobalMaxPooling1D()(y))
    return Problem(keras.Model(inputs, outputs), labels(20, 3, 5), labels(2, 1), binary_loss())


@own
class MaskedLanguageModel(keras.Model):
    """BERT's pretraining as in the example: its own loss, with the weights of masked places."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = keras.losses.sparse_categorical_crossentropy(y, y_pred)
        return ops.sum(loss * ops.cast(sample_weight if sample_weight is not None else y % 2, loss.dtype)) / 24.0


@architecture()
def masked_language_model_with_its_own_loss():
    inputs = keras.Input((8,), dtype="int64")
    x = Positions()(layers.Embedding(30, 8)(inputs))
    attention = layers.Dropout(0.1)(layers.MultiHeadAttention(2, 4, name="attention")(x, x, x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + attention)
    ffn = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dense(8)])(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(ffn))
    return Problem(
        MaskedLanguageModel(inputs, layers.Dense(30, activation="softmax")(x)), labels(30, 8), labels(30, 8, seed=2)
    )

"""Text to text: recurrent and attending networks of the keras.io examples."""

import keras
from catalogue.architecture import Problem, architecture, labels, logits_loss, numbers, one_hot, own
from catalogue.text import PositionalEmbedding, TokenAndPositionEmbedding, TransformerBlock
from keras import layers


@architecture()
def character_sequence_to_sequence_lstm():
    encoder_inputs = keras.Input((None, 7))
    _, h, c = layers.LSTM(8, return_state=True)(encoder_inputs)
    decoder_inputs = keras.Input((None, 6))
    x, _, _ = layers.LSTM(8, return_sequences=True, return_state=True)(decoder_inputs, initial_state=[h, c])
    network = keras.Model([encoder_inputs, decoder_inputs], layers.Dense(6, activation="softmax")(x))
    return Problem(network, [one_hot(7, 5), one_hot(6, 4)], one_hot(6, 4), "categorical_crossentropy")


@own
class TransformerDecoder(layers.Layer):
    def __init__(self, width, heads, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.attention_1, self.attention_2 = (layers.MultiHeadAttention(heads, width) for _ in range(2))
        self.dense_proj = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(width)])
        self.norms = [layers.LayerNormalization() for _ in range(3)]
        self.supports_masking = True

    def call(self, inputs, mask=None):
        inputs, encoded = inputs
        padding, source = (None, None) if mask is None else mask
        first = self.norms[0](inputs + self.attention_1(inputs, inputs, query_mask=padding, use_causal_mask=True))
        second = self.attention_2(first, encoded, query_mask=padding, key_mask=source)
        second = self.norms[1](first + second)
        return self.norms[2](second + self.dense_proj(second))

    def get_config(self):
        return super().get_config() | {"width": self.width, "heads": self.heads}


@architecture()
def translation_with_transformer():
    encoder_inputs = keras.Input((None,), dtype="int64", name="encoder_inputs")
    x = PositionalEmbedding(6, 20, 8)(encoder_inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8)(x, x))
    encoded = layers.LayerNormalization()(x + layers.Dense(8)(layers.Dense(8, activation="relu")(x)))
    decoder_inputs = keras.Input((None,), dtype="int64", name="decoder_inputs")
    x = TransformerDecoder(8, 2)([PositionalEmbedding(6, 20, 8)(decoder_inputs), encoded])
    network = keras.Model([encoder_inputs, decoder_inputs], layers.Dense(20)(layers.Dropout(0.5)(x)))
    source, target = labels(20, 6), labels(20, 6, seed=2)
    source[:3, 4:] = target[:2, 5:] = 0
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    return Problem(network, {"encoder_inputs": source, "decoder_inputs": target}, labels(20, 6, seed=3), loss)


@architecture()
def character_language_model_gru():
    network = keras.Sequential(
        [keras.Input((8,)), layers.Embedding(20, 6), layers.GRU(8, return_sequences=True), layers.Dense(20)]
    )
    return Problem(network, labels(20, 8), labels(20, 8, seed=2), logits_loss())


@architecture()
def miniature_gpt_with_an_output_without_loss():
    inputs = keras.Input((8,), dtype="int32")
    hidden = TransformerBlock(8, 2, 8, causal=True)(TokenAndPositionEmbedding(8, 30, 8)(inputs))
    network = keras.Model(inputs, [layers.Dense(30)(hidden), hidden])
    return Problem(network, labels(30, 8), [labels(30, 8, seed=2), numbers(6, 8, 8)], [logits_loss(), None])


@architecture()
def addition_rnn():
    network = keras.Sequential([keras.Input((7, 8)), layers.LSTM(8), layers.RepeatVector(4)])
    network.add(layers.LSTM(8, return_sequences=True))
    network.add(layers.Dense(8, activation="softmax"))
    return Problem(network, one_hot(8, 7), one_hot(8, 4), "categorical_crossentropy")


@architecture()
def recurrent_translation_with_additive_attention():
    source, target = keras.Input((None,)), keras.Input((None,))
    encoded = layers.Bidirectional(layers.GRU(5, return_sequences=True), merge_mode="sum")(
        layers.Embedding(20, 6, mask_zero=True)(source)
    )
    decoded = layers.GRU(5, return_sequences=True)(layers.Embedding(20, 6, mask_zero=True)(target))
    context = layers.AdditiveAttention()([decoded, encoded])
    luong = layers.Attention(use_scale=True, score_mode="dot")([decoded, encoded])
    network = keras.Model(
        [source, target], layers.Dense(20, activation="softmax")(layers.Concatenate()([decoded, context, luong]))
    )
    return Problem(network, [labels(20, 6), labels(20, 5)], labels(20, 5, seed=2), "sparse_categorical_crossentropy")

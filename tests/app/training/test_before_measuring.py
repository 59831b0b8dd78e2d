import keras
import numpy as np
import pytest
import tensorflow as tf
from exact import WrittenOut

from sharpness_phases import SharpnessModel

layers = keras.layers


def attending(**settings):
    """A network of one attention, measured with a squared loss."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 6))
    network = keras.Model(inputs, layers.MultiHeadAttention(2, 4, name="attention_7", **settings)(inputs, inputs))
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((8, 5, 6)).astype("float32") for _ in range(2))
    model = SharpnessModel(network, measurement=(x, y))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, x, y


def attention_written_out(x, y):
    def loss(wq, bq, wk, bk, wv, bv, wo, bo):
        q, k, v = (tf.einsum("btd,dhe->bhte", x, w) + b[:, None] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        weights = tf.nn.softmax(q @ tf.transpose(k, [0, 1, 3, 2]) / 2)  # sqrt(4)
        outputs = tf.einsum("bhte,hed->btd", weights @ v, wo) + bo
        return tf.reduce_mean((outputs - y) ** 2)

    return loss


@pytest.fixture
def flash_enabled():
    before = keras.config.is_flash_attention_enabled()
    keras.config.enable_flash_attention()
    yield
    if before is False:
        keras.config.disable_flash_attention()


def test_attention_is_right_where_flash_attention_is_left_to_the_backend(flash_enabled):
    model, x, y = attending()
    expected = WrittenOut(attention_written_out(x, y), model.network.trainable_weights).sharpness()
    assert model.sharpness().eigenvalue == pytest.approx(expected, rel=1e-3)


def test_a_layer_that_insists_on_flash_attention_is_named_with_what_to_do():
    model, _, _ = attending(flash_attention=True)
    with pytest.raises(ValueError, match=r"Flash attention does not exist .*'attention_7'. Leave it out"):
        model.sharpness()

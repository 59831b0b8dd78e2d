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


class OfSixExamples(layers.Layer):
    """Reshapes to the size of its batch, as routers of experts do; no kind of layer that is known."""

    def call(self, x):
        return tf.reshape(x, [6, x.shape[-1]]) ** 2


@pytest.mark.parametrize("declared", [6, None], ids=["declared", "hidden"])
def test_a_network_of_a_fixed_batch_size_is_checked_and_measured_with_all_examples(declared):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((6, 3)).astype("float32") for _ in range(2))
    inputs = keras.Input((3,), batch_size=declared)
    own = OfSixExamples()
    own.compute_output_spec = lambda x: keras.KerasTensor((declared, 3))
    network = keras.Model(inputs, own(layers.Dense(3)(inputs)))
    model = SharpnessModel(network, measurement=(x, y))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    exact = WrittenOut(lambda w, b: tf.reduce_mean(((x @ w + b) ** 2 - y) ** 2), network.get_weights())
    assert model.sharpness().eigenvalue == pytest.approx(exact.sharpness(), rel=1e-3)

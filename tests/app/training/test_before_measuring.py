import keras
import numpy as np
import pytest
import tensorflow as tf
from exact import WrittenOut

from sharpness_phases import SharpnessCallback, SharpnessModel

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


def of_eight(y, outputs):
    """A loss that tells eight examples apart."""
    return tf.reduce_mean((tf.matmul(outputs, outputs, transpose_b=True) - tf.eye(8, dtype=outputs.dtype)) ** 2)


def test_a_loss_of_a_fixed_number_of_examples_is_checked_and_measured_with_all():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
    network = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    model = SharpnessModel(network, measurement=(x, x))
    model.compile(keras.optimizers.SGD(0.1), of_eight)
    exact = WrittenOut(lambda w, b: of_eight(None, x @ w + b), network.get_weights())
    assert model.sharpness().eigenvalue == pytest.approx(exact.sharpness(), rel=1e-3)


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


class TrainsItself(keras.Model):
    """As many variational autoencoders and adversarial networks are written: the loss is inside of the step."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.dense(data[0]) ** 2)
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
        )
        return {"loss": loss}


class WithOutputs(TrainsItself):
    def call(self, inputs):
        return self.dense(inputs)


class WithLoss(WithOutputs):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return tf.reduce_mean(y_pred**2)


X = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")


@pytest.mark.parametrize(
    ("kind", "words"), [(TrainsItself, "TrainsItself has no `call`"), (WithOutputs, "its own inside of `train_step`")]
)
def test_a_loss_that_only_a_training_step_knows_is_told_with_the_way_out(kind, words):
    network = kind()
    network.compile("sgd")
    model = SharpnessModel(network, measurement=(X,))
    model.compile("sgd")
    with pytest.raises(ValueError, match=words) as told:
        model.sharpness()
    assert "compute_loss(x, y, y_pred" in str(told.value)
    with pytest.raises(ValueError, match=words):
        network.fit(X, X, verbose=0, callbacks=[SharpnessCallback((X,))])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_loss_of_the_networks_own_is_measured_whether_or_not_the_network_is_compiled(compiled):
    network = WithLoss()
    if compiled:
        network.compile("sgd")
    model = SharpnessModel(network, measurement=(X,))
    model.compile("sgd")
    found = model.sharpness().eigenvalue
    exact = WrittenOut(lambda w, b: tf.reduce_mean((X @ w + b) ** 2), network.get_weights())
    assert found == pytest.approx(exact.sharpness(), rel=1e-3)


class Descends(WithLoss):
    def train_step(self, data):
        return {"loss": self.compute_loss(data[0], data[1], self(data[0]))}


@pytest.mark.parametrize(("kind", "warned"), [(WithLoss, True), (Descends, False), (keras.Sequential, False)])
def test_a_step_that_does_not_compute_the_measured_loss_is_warned_of(kind, warned, caplog):
    network = kind([layers.Dense(3)]) if kind is keras.Sequential else kind()
    network.compile("sgd", loss="mse")
    network.fit(X, X, verbose=0, callbacks=[SharpnessCallback((X, X))])
    assert ("that does not call `compute_loss`" in caplog.text) == warned

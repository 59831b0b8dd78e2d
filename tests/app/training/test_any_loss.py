"""Losses with more than a sum over examples in them, and networks of any precision, against losses written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from exact import WrittenOut, assert_right, cross_entropy

from sharpness_phases import SharpnessModel

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 4)).astype(np.float32)
LABELS = RNG.integers(3, size=12)


def network(dtype=None, **regularisers):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="tanh", dtype=dtype, **regularisers),
            keras.layers.Dense(3, dtype=dtype),
        ]
    )


def compiled(network, data=(X, LABELS), loss=True, optimizer=None, **settings):
    model = SharpnessModel(network, data, **settings)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if loss else None
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, jit_compile=False)
    return model


def plain(kernel, bias, head, head_bias):
    return tf.reduce_mean(cross_entropy(tf.tanh(np.float64(X) @ kernel + bias) @ head + head_bias, LABELS))


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_regularisers_of_weights_and_activities_belong_to_the_loss(chunk_size):
    regularised = network(
        kernel_regularizer=keras.regularizers.L2(0.1),
        bias_regularizer=keras.regularizers.L2(0.3),
        activity_regularizer=keras.regularizers.L2(0.2),
    )
    regularised.layers[0].bias.assign(RNG.standard_normal(5))

    def loss(kernel, bias, head, head_bias):
        hidden = tf.tanh(np.float64(X) @ kernel + bias)
        decay = 0.1 * tf.reduce_sum(kernel**2) + 0.3 * tf.reduce_sum(bias**2) + 0.2 * tf.reduce_sum(hidden**2) / 12
        return plain(kernel, bias, head, head_bias) + decay

    assert_right(compiled(regularised, chunk_size=chunk_size), loss)


@keras.saving.register_keras_serializable("tests")
class Autoencoder(keras.Model):
    """Its loss is one that it adds itself, and there are no targets; inputs are two arrays by name."""

    def __init__(self, width=3, **settings):
        super().__init__(**settings)
        self.width = width
        self.encoder = keras.layers.Dense(width, activation="tanh")
        self.decoder = keras.layers.Dense(4)

    def call(self, inputs):
        outputs = self.decoder(self.encoder(inputs["x"]))
        self.add_loss(keras.ops.mean(keras.ops.square(outputs - inputs["wanted"])))
        return outputs

    def get_config(self):
        return super().get_config() | {"width": self.width}


def reconstruction(kernel, bias, head, head_bias):
    outputs = tf.tanh(np.float64(X) @ kernel + bias) @ head + head_bias
    return tf.reduce_mean((outputs - np.float64(X[::-1])) ** 2)


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_losses_that_a_subclassed_network_adds_without_targets(chunk_size):
    inputs = {"x": X, "wanted": X[::-1].copy()}
    assert_right(compiled(Autoencoder(), (inputs,), loss=False, chunk_size=chunk_size), reconstruction)


@pytest.mark.slow
def test_a_subclassed_network_of_named_inputs_is_trained_saved_and_measured_again(tmp_path):
    inputs = {"x": X, "wanted": X[::-1].copy()}
    model = compiled(Autoencoder(), (inputs,), loss=False)
    found = model.fit(inputs, batch_size=4, verbose=0).history["sharpness"][-1]
    exact = WrittenOut(reconstruction, model.network.trainable_weights).sharpness()
    assert found == pytest.approx(exact, rel=1e-3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.measure_on(inputs)
    assert loaded.sharpness().eigenvalue == pytest.approx(exact, rel=1e-3)


def test_frozen_layers_and_lora_leave_the_sharpness_in_the_weights_that_are_trained():
    adapted = network()
    adapted.layers[0].trainable = False
    adapted.layers[1].enable_lora(2)
    adapted.layers[1].lora_kernel_b.assign(RNG.standard_normal((2, 3)))
    kernel, bias = (np.float64(weight) for weight in adapted.layers[0].get_weights())
    head = np.float64(adapted.layers[1]._kernel)
    names = [weight.name for weight in adapted.trainable_weights]
    assert sorted(names) == ["bias", "lora_kernel_a", "lora_kernel_b"]

    def loss(*weights):
        named = dict(zip(names, weights, strict=True))
        return plain(kernel, bias, head + named["lora_kernel_a"] @ named["lora_kernel_b"], named["bias"])

    assert_right(compiled(adapted), loss)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_measured_in_its_float32_weights(policy):
    mixed = network(policy)
    model = compiled(mixed)
    assert_right(model, plain)
    assert [layer.compute_dtype for layer in mixed.layers] == [policy.removeprefix("mixed_")] * 2
    assert mixed(X).dtype == policy.removeprefix("mixed_")


@pytest.mark.slow
def test_mixed_precision_is_tracked_while_it_trains_with_a_loss_scale():
    mixed = network("mixed_float16")
    model = compiled(mixed, optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)))
    found = model.fit(X, LABELS, batch_size=4, verbose=0).history["sharpness"][-1]
    assert found == pytest.approx(WrittenOut(plain, mixed.trainable_weights).sharpness(), rel=1e-3)


def test_weights_of_few_digits_are_refused_in_words():
    with pytest.raises(ValueError, match="weight '.*kernel' in bfloat16.*'mixed_bfloat16'"):
        compiled(network("bfloat16")).sharpness()


@keras.saving.register_keras_serializable("tests")
class Sampling(keras.layers.Layer):
    """Mean plus noise, as in a variational autoencoder."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        return inputs + 0.1 * keras.random.normal(keras.ops.shape(inputs), seed=self.seed_generator)


class Variational(keras.Model):
    """Draws between its layers."""

    def __init__(self, initializer="glorot_uniform", **settings):
        super().__init__(**settings)
        self.encoder = keras.layers.Dense(5)
        self.decoder = keras.layers.Dense(3, kernel_initializer=initializer, name="decoder")

    def call(self, inputs):
        hidden = self.encoder(inputs)
        return self.decoder(hidden + keras.random.normal(keras.ops.shape(hidden)))


def with_sampling():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), Sampling(name="draws"), keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (with_sampling, r"'draws' \(Sampling\) draws random numbers in inference"),
        (lambda: Variational(name="vae"), r"'vae' \(Variational\)"),
        (lambda: Variational("zeros"), r"in inference, too, before layer 'decoder' \(Dense\)"),
    ],
)
def test_what_draws_in_inference_is_refused_by_name(made, words):
    with pytest.raises(ValueError, match=words):
        compiled(made()).sharpness()


def changed(array, value, at=7):
    array = np.array(array, dtype=np.result_type(array, type(value)))
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((X, LABELS + 1), "targets are labels from 1 to 3.*with 3 outputs the classes are 0 to 2. They start at 1"),
        ((X, changed(LABELS, 9)), "targets are labels from 0 to 9, first wrong in example 7"),
        ((X, changed(LABELS, -1)), "targets are labels from -1 to 2, first wrong in example 7"),
        ((X, np.array(["cat", "dog", "owl"])[LABELS]), "targets are strings, such as '(cat|dog|owl)'.*StringLookup"),
        ((np.array(["cat"] * 12), LABELS), "inputs are strings, such as 'cat'.*TextVectorization"),
        ((changed(X, np.nan), LABELS), "inputs hold NaN or infinity in 1 of 12 examples, first in example 7"),
        ((X, LABELS, changed(np.ones(12), np.inf)), "weights hold NaN or infinity in 1 of 12 examples"),
    ],
)
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_what_is_wrong_with_the_data_is_said_in_words(data, words, chunk_size):
    with pytest.raises(ValueError, match=f"(?s)no loss that could be differentiated: the {words}"):
        compiled(network(), data, chunk_size=chunk_size).sharpness()


def test_missing_targets_that_the_loss_knows_of_are_no_fault():
    targets = changed(RNG.standard_normal((12, 3)), np.nan, at=3)

    def loss(y, outputs):
        known = tf.math.is_finite(y)
        return tf.reduce_mean(tf.where(known, (tf.where(known, y, 0.0) - outputs) ** 2, 0.0))

    model = SharpnessModel(network(), (X, targets))
    model.compile("sgd", loss)
    model.network.set_weights([weight + 0.1 for weight in model.network.get_weights()])

    def written_out(kernel, bias, head, head_bias):
        errors = tf.tanh(np.float64(X) @ kernel + bias) @ head + head_bias - np.nan_to_num(targets)
        return tf.reduce_mean(tf.where(np.isfinite(targets), errors**2, 0.0))

    assert_right(model, written_out)

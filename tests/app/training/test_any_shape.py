"""Networks of several inputs and outputs, masks, weights and targets of any shape, against losses written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from exact import WrittenOut, assert_right, cross_entropy

from sharpness_phases import SharpnessCallback, SharpnessModel
from sharpness_phases.curvature.chunks import NotAMean

RNG = np.random.default_rng(0)
M = 12
A, B = RNG.standard_normal((2, M, 4)).astype(np.float32)
LABELS, VALUES = RNG.integers(3, size=M), RNG.standard_normal((M, 2)).astype(np.float32)
WEIGHTS = {"label": np.linspace(0.5, 2, M), "value": np.linspace(3, 0, M)}
INPUTS, TARGETS = {"a": A, "b": B}, {"label": LABELS, "value": VALUES}


def two_sided():
    """tanh(a w + b v) with two heads."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    hidden = keras.layers.Dense(5, use_bias=False)(a) + keras.layers.Dense(5, use_bias=False)(b)
    hidden = keras.layers.Activation("tanh")(hidden)
    outputs = {
        "label": keras.layers.Dense(3, name="label")(hidden),
        "value": keras.layers.Dense(2, name="value")(hidden),
    }
    return keras.Model({"a": a, "b": b}, outputs)


def compiled_two_sided(network, **settings):
    losses = {"label": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "value": "mse"}
    network.compile(
        keras.optimizers.SGD(0.05),
        loss=losses,
        loss_weights={"label": 1.0, "value": 0.5},
        jit_compile=False,
        **settings,
    )
    return network


def written_out(label_weights=1.0, value_weights=1.0, part=slice(None)):
    """The loss of `two_sided`, as a function of its weights in Keras' order."""

    def loss(w, v, label_kernel, label_bias, value_kernel, value_bias):
        hidden = tf.tanh(np.float64(A[part]) @ w + np.float64(B[part]) @ v)
        label = cross_entropy(hidden @ label_kernel + label_bias, LABELS[part])
        value = tf.reduce_mean((hidden @ value_kernel + value_bias - np.float64(VALUES[part])) ** 2, axis=-1)
        return tf.reduce_mean(label_weights * label) + 0.5 * tf.reduce_mean(value_weights * value)

    return loss


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_several_inputs_and_outputs_in_dicts_with_a_loss_and_weights_each(weighted, chunk_size):
    model = SharpnessModel(
        two_sided(),
        (INPUTS, TARGETS, WEIGHTS) if weighted else (INPUTS, TARGETS),
        chunk_size=chunk_size,
    )
    compiled_two_sided(model)
    weights = (WEIGHTS["label"], WEIGHTS["value"]) if weighted else ()
    assert_right(model, written_out(*weights))
    assert len(model.measurement) == (3 if weighted else 2)


def test_lists_of_inputs_and_outputs_are_trained_and_tracked():
    dicts = two_sided()
    network = keras.Model(list(dicts.inputs), [dicts.output["label"], dicts.output["value"]])
    data = tf.data.Dataset.from_tensor_slices(((A, B), (LABELS, VALUES))).batch(4)
    model = compiled_two_sided(SharpnessModel(network, data, examples=8))
    history = model.fit(data, verbose=0, epochs=2, validation_data=data).history
    exact = WrittenOut(written_out(part=slice(8)), network.trainable_weights)
    assert history["sharpness"][-1] == pytest.approx(exact.sharpness(), rel=1e-3)
    assert np.isfinite(history["val_loss"][-1])


@pytest.mark.slow
def test_measuring_moves_no_metric_of_the_losses_of_several_outputs():
    start, histories = two_sided().get_weights(), []
    for measures in (False, True):
        network = compiled_two_sided(two_sided(), metrics={"label": "accuracy"}, weighted_metrics={"value": "mae"})
        network.set_weights(start)
        callbacks = [SharpnessCallback((INPUTS, TARGETS), unit="steps")] if measures else []
        histories.append(network.fit(INPUTS, TARGETS, 4, shuffle=False, verbose=0, callbacks=callbacks).history)
    assert {"label_loss", "value_loss"} < set(histories[0])
    assert histories[0] == {name: histories[1][name] for name in histories[0]}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("execution", "optimizer"),
    [
        ({"run_eagerly": True}, {"clipnorm": 0.01, "gradient_accumulation_steps": 2}),
        pytest.param({"steps_per_execution": 3}, {"gradient_accumulation_steps": 2}, marks=SLOW),
        pytest.param({"jit_compile": True}, {"global_clipnorm": 0.01}, marks=SLOW),
        pytest.param({}, {"use_ema": True, "ema_momentum": 0.5}, marks=SLOW),
        pytest.param({}, {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}, marks=SLOW),
    ],
)
def test_however_steps_are_executed_and_whatever_the_optimizer_makes_of_gradients(execution, optimizer):
    model = SharpnessModel(two_sided(), (INPUTS, TARGETS))
    losses = [keras.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"]
    model.compile(
        keras.optimizers.SGD(0.05, **optimizer),
        dict(zip(TARGETS, losses, strict=True)),
        loss_weights={"label": 1.0, "value": 0.5},
        **execution,
    )
    kept = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(model.network.get_weights())
    )
    weights = []
    found = model.fit(INPUTS, TARGETS, 4, verbose=0, callbacks=[kept]).history["sharpness"][-1]
    # Averages that `fit` puts in the place of weights at its end come after the last measurement.
    assert found == pytest.approx(WrittenOut(written_out(), weights[-1]).sharpness(), rel=1e-3)


TOKENS = RNG.integers(1, 7, size=(M, 5))
LENGTHS = np.array([5, 3, 4, 2, 5, 5, 1, 2, 3, 4, 5, 3])
PADDED = np.where(np.arange(5) < LENGTHS[:, None], TOKENS, 0)
NEXT = RNG.integers(7, size=(M, 5))


def next_token():
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(7, 3, mask_zero=True),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.Dense(7),
        ]
    )


def token_losses(tokens):
    def losses(table, kernel, bias, head, head_bias):
        hidden = tf.tanh(tf.gather(table, tokens) @ kernel + bias)
        return cross_entropy(hidden @ head + head_bias, NEXT[: len(tokens)])

    return losses


def compiled_tokens(tokens, *weights, **settings):
    model = SharpnessModel(next_token(), (tokens, NEXT[: len(tokens)], *weights), **settings)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    model.network.layers[0].embeddings.assign(RNG.standard_normal((7, 3)))
    return model


def test_next_tokens_with_a_mask_are_a_mean_over_what_is_not_padded():
    model, mask = compiled_tokens(PADDED), PADDED != 0

    def loss(*weights):
        return tf.reduce_sum(tf.where(mask, token_losses(PADDED)(*weights), 0)) / mask.sum()

    assert_right(model, loss)
    with pytest.raises(NotAMean, match="where a mask leaves more of one example than of another"):
        compiled_tokens(PADDED, chunk_size=4).sharpness()


def test_a_mask_of_chunks_that_differ_only_from_each_other_is_seen_too():
    tokens = np.where(np.arange(5) < np.repeat([5, 2], 6)[:, None], TOKENS, 0)
    with pytest.raises(NotAMean):
        compiled_tokens(tokens, chunk_size=6).sharpness()


def test_training_sees_the_mask_through_the_wrapper():
    model = compiled_tokens(PADDED)
    outputs, mask = model(PADDED, training=True), PADDED != 0
    exact = WrittenOut(
        lambda *w: tf.reduce_sum(tf.where(mask, token_losses(PADDED)(*w), 0)) / mask.sum(), model.trainable_weights
    )
    assert float(model.compute_loss(y=tf.constant(NEXT), y_pred=outputs)) == pytest.approx(exact.value(), rel=1e-5)


def test_weights_of_tokens_in_chunks():
    of_tokens = np.linspace(0, 2, M * 5).reshape(M, 5)
    model = compiled_tokens(TOKENS, of_tokens, chunk_size=5)
    assert_right(model, lambda *w: tf.reduce_mean(of_tokens * token_losses(TOKENS)(*w)))


def test_class_weights_of_the_measurement_weigh_its_loss():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    network.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weights = {0: 3.0, 1: 0.25}
    callback = SharpnessCallback((A, LABELS), class_weight=weights)
    network.fit(A, LABELS, verbose=0, callbacks=[callback])
    of_examples = np.array([weights.get(label, 1.0) for label in LABELS])
    exact = WrittenOut(
        lambda w: tf.reduce_mean(of_examples * cross_entropy(np.float64(A) @ w, LABELS)), network.trainable_weights
    )
    assert callback.history[-1].sharpness == pytest.approx(exact.sharpness(), rel=1e-3)


def test_a_picture_is_segmented():
    network = keras.Sequential(
        [keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 1, activation="tanh"), keras.layers.Conv2D(3, 1)]
    )
    x, labels = RNG.standard_normal((6, 4, 4, 2)).astype(np.float32), RNG.integers(3, size=(6, 4, 4))
    model = SharpnessModel(network, (x, labels), chunk_size=2)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def loss(kernel, bias, head, head_bias):
        hidden = tf.tanh(np.float64(x) @ kernel[0, 0] + bias)
        return tf.reduce_mean(cross_entropy(hidden @ head[0, 0] + head_bias, labels))

    assert_right(model, loss)

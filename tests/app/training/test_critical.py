import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification

from sharpness_phases import SharpnessModel, critical_learning_rate
from sharpness_phases.analysis.uv import critical_loss_constant
from sharpness_phases.models import UV
from sharpness_phases.training.losses import HalfMeanSquaredError

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((12, 5)).astype("float32"), RNG.standard_normal((12, 1)).astype("float32")
H = 2 * X.T.astype(float) @ X / len(X)  # of the mean square of x.w - y


def quadratic(optimizer, seed=0, **settings):
    """A linear model with the loss mean (x.w - y)^2, and its weights and gradient in float64."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer, "mse", **(settings or {"run_eagerly": True}))
    model.optimizer.build(model.trainable_variables)
    return model


def gradient(model):
    weights = model.get_weights()[0].astype(float)
    return (2 * X.T.astype(float) @ (X @ weights - Y) / len(X))[:, 0]


def exact(direction, slope):
    """eta_c and lambda_dir of a quadratic along a direction."""
    curvature = direction @ H @ direction
    return 2 * slope / curvature, curvature / slope


def state(model):
    return [np.asarray(v).copy() for v in [*model.variables, *model.metrics_variables, *model.optimizer.variables]]


def assert_same(before, after):
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("rate", [1e-6, 30.0])
def test_gradient_descent_on_a_quadratic_is_safe_up_to_twice_the_inverse_of_the_curvature_along_the_gradient(rate):
    model = quadratic(keras.optimizers.SGD(rate), jit_compile=False)
    g = gradient(model)
    eta_c, lambda_dir = exact(g, g @ g)
    found = critical_learning_rate(model, (X, Y))
    assert found.eta_c == pytest.approx(eta_c, rel=2e-3)
    assert found.lambda_dir == pytest.approx(lambda_dir, rel=1e-5)
    assert found.lambda_c == pytest.approx(2 / found.eta_c) == pytest.approx(lambda_dir, rel=2e-3)
    assert (found.step, found.censored, found.island) == (0, "", False)
    assert found.learning_rate == pytest.approx(rate)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_part_of_the_step(nesterov):
    model = quadratic(keras.optimizers.SGD(0.02, momentum=0.9, nesterov=nesterov))
    model.fit(X, Y, batch_size=12, epochs=4, verbose=0)
    g, v = gradient(model), np.asarray(model.optimizer.momentums[0], float)[:, 0]
    ahead = 0.9 * v - 0.02 * g
    step = 0.9 * ahead - 0.02 * g if nesterov else ahead
    eta_c, lambda_dir = exact(-step / 0.02, -step @ g / 0.02)
    found = critical_learning_rate(model, (X, Y))
    assert found.eta_c == pytest.approx(eta_c, rel=2e-3)
    assert found.lambda_dir == pytest.approx(lambda_dir, rel=1e-3)
    assert found.step == 4


def test_the_moments_of_adam_stand_still_and_count_with_their_bias_correction():
    model = quadratic(keras.optimizers.Adam(1e-3, weight_decay=0.5))
    model.fit(X, Y, batch_size=12, epochs=3, verbose=0)
    adam, g = model.optimizer, gradient(model)
    m, v = (np.asarray(part[0], float)[:, 0] for part in (adam._momentums, adam._velocities))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    alpha = math.sqrt(1 - 0.999**4) / (1 - 0.9**4)
    direction = alpha * m / (np.sqrt(v) + 1e-7) + 0.5 * model.get_weights()[0][:, 0]
    eta_c, lambda_dir = exact(direction, direction @ g)
    found = critical_learning_rate(model, (X, Y))
    assert found.eta_c == pytest.approx(eta_c, rel=3e-3)
    assert found.lambda_dir == pytest.approx(lambda_dir, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_of_the_uv_model_it_is_the_exact_critical_constant_of_the_first_step(seed):
    model = UV(64).build((1,), 1, seed=seed)
    model.compile(keras.optimizers.SGD(0.1), HalfMeanSquaredError(), run_eagerly=True)
    x, y = np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")
    lambda_0 = sum(np.sum(weights.astype(float) ** 2) for weights in model.get_weights()) / 64
    c_loss = critical_loss_constant(float(model(x)[0, 0]), lambda_0, 64)
    found = critical_learning_rate(model, (x, y))
    assert found.eta_c * lambda_0 == pytest.approx(c_loss, rel=5e-3)
    assert found.lambda_c == pytest.approx(2 * lambda_0 / c_loss, rel=5e-3)


def test_a_rise_that_the_optimizer_cannot_make_is_censored_high():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation="softplus", use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1), loss=lambda y, outputs: keras.ops.mean(outputs))
    found = critical_learning_rate(model, (np.ones((4, 5), "float32"), np.zeros((4, 1), "float32")))
    assert (found.eta_c, found.lambda_c, found.censored) == (math.inf, 0.0, "high")
    assert "does not rise" in str(found)


def test_a_step_uphill_is_censored_low():
    model = quadratic(keras.optimizers.SGD(0.01, momentum=0.9))
    model.optimizer.momentums[0].assign(100 * gradient(model)[:, None])
    found = critical_learning_rate(model, (X, Y))
    assert (found.eta_c, found.lambda_c, found.censored) == (0.0, math.inf, "low")
    assert "uphill" in str(found)


@pytest.mark.parametrize("towards", [1, -1])
def test_against_another_task_its_loss_counts(towards):
    model = quadratic(keras.optimizers.SGD(0.1))
    g = gradient(model)
    optimum = model.get_weights()[0] - towards * g[:, None].astype("float32")  # of the other task
    found = critical_learning_rate(model, (X, Y), against=(X, X @ optimum))
    if towards < 0:
        assert (found.eta_c, found.censored) == (0.0, "low")
    else:  # the loss along -g is a parabola with its bottom at a rate of 1
        assert found.eta_c == pytest.approx(2, rel=2e-3)
        assert found.lambda_dir == pytest.approx(1, rel=1e-4)


def test_a_loss_that_is_not_finite_is_refused_in_words():
    model = quadratic(keras.optimizers.SGD(0.1))
    before = state(model)
    with pytest.raises(ValueError, match="The loss at the present weights is nan"):
        critical_learning_rate(model, (np.full_like(X, np.nan), Y))
    assert_same(before, state(model))


class Noisy(keras.layers.Layer):
    """Noise from Keras' global generator."""

    def call(self, inputs):
        return inputs + 0.1 * keras.random.normal(keras.ops.shape(inputs))


def stateful(optimizer="adam", **settings):
    """A model with everything that training changes."""
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(8, activation="tanh", kernel_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5, seed=4),
        keras.layers.GaussianNoise(0.1, seed=5),
        Noisy(),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential(layers)
    model.compile(optimizer, "mse", metrics=["mae"], **settings)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"jit_compile": False}, id="graph", marks=pytest.mark.slow),
        pytest.param({"run_eagerly": True}, id="eager"),
        pytest.param({"jit_compile": True}, id="xla", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_changed_that_training_changes(settings):
    x, y = classification(16, dtype=np.float32)
    keras.utils.set_random_seed(1)
    model = stateful(**settings)
    model.fit(x, y, batch_size=8, verbose=0)
    before = state(model)
    noise = lambda: keras.random.normal((3,)).numpy()  # noqa: E731  # of the global generator
    keras.utils.set_random_seed(7)
    expected = noise(), noise()
    keras.utils.set_random_seed(7)
    first = noise()
    found = critical_learning_rate(model, (x, y))
    assert_same(before, state(model))
    np.testing.assert_array_equal(expected, [first, noise()])
    assert 0 < found.eta_c < math.inf


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(12) % 3 + 1, "labels from 1 to 3.*They start at 1: subtract 1"),
        (np.array(["cat", "dog", "owl"] * 4), "strings, such as 'cat'.*StringLookup"),
    ],
    ids=["labels from 1", "strings"],
)
def test_targets_that_have_no_loss_are_refused_in_words(labels, words):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    with pytest.raises(ValueError, match=f"(?s)The loss cannot be computed: the targets are {words}"):
        critical_learning_rate(model, (X, labels))


def test_of_inputs_that_are_not_finite_it_is_said_which():
    broken = X.copy()
    broken[7, 2] = np.inf
    with pytest.raises(ValueError, match="must be finite: the inputs hold NaN or infinity in 1 of 12 .* example 7"):
        critical_learning_rate(quadratic(keras.optimizers.SGD(0.1)), (broken, Y))


def test_every_rate_sees_the_same_noise_so_that_the_answer_repeats():
    x, y = classification(16, dtype=np.float32)
    model = stateful(run_eagerly=True)
    assert critical_learning_rate(model, (x, y)) == critical_learning_rate(model, (x, y))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_all_is_put_back_after_an_exception_in_the_midst(error):
    class Failing(keras.layers.Layer):
        passes = 0

        def call(self, inputs):
            Failing.passes += 1
            if Failing.passes > 9:
                raise error("enough")
            return inputs

    model = keras.Sequential([keras.Input((5,)), keras.layers.BatchNormalization(), Failing(), keras.layers.Dense(1)])
    model.compile("adam", "mse", run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    Failing.passes = 0
    before = state(model)
    with pytest.raises(error):
        critical_learning_rate(model, (X, Y))
    assert_same(before, state(model))


def along_the_gradient(model, x, y, h=1e-2):
    """D.HD / D.g of gradient descent, from differences of the loss in float64: no second derivative of TensorFlow."""
    weights = model.trainable_variables

    def loss():
        return tf.reduce_mean((model(x, training=True) - y) ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [v.value for v in weights])
    start, losses = [v.numpy() for v in weights], []
    for eta in (-2 * h, -h, 0, h, 2 * h):
        for weight, at, g in zip(weights, start, gradients, strict=True):
            weight.assign(at - eta * g.numpy())
        losses.append(float(loss()))
    for weight, at in zip(weights, start, strict=True):
        weight.assign(at)
    second = np.dot([-1, 16, -30, 16, -1], losses) / (12 * h**2)
    return second / sum(float(tf.reduce_sum(g**2)) for g in gradients)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        keras.layers.BatchNormalization,
        keras.layers.LayerNormalization,
        lambda dtype: keras.layers.Activation("softsign", dtype=dtype),  # TensorFlow has no second derivative
        None,
    ],
    ids=["batch normalisation", "layer normalisation", "softsign", "none"],
)
def test_the_directional_sharpness_is_right_where_tensorflows_second_derivatives_are_not(kind):
    x, y = classification(24)
    keras.utils.set_random_seed(2)
    middle = [] if kind is None else [kind(dtype="float64")]
    layers = [keras.layers.Dense(8, "tanh", dtype="float64"), *middle, keras.layers.Dense(3, dtype="float64")]
    model = keras.Sequential([keras.Input((6,), dtype="float64"), *layers])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)  # which Keras computes in float32
    found = critical_learning_rate(model, (tf.constant(x), tf.constant(y)))
    assert found.lambda_dir == pytest.approx(along_the_gradient(model, x, y), rel=2e-4)


def recurrent():
    layers = [keras.layers.Embedding(20, 4), keras.layers.LSTM(5), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((7,)), *layers]), RNG.integers(20, size=(24, 7))


def convolutional():
    layers = [
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    return keras.Sequential([keras.Input((8, 8, 2)), *layers]), RNG.standard_normal((24, 8, 8, 2)).astype("float32")


def mixed():
    hidden = keras.layers.Dense(8, activation="tanh", dtype="mixed_float16")
    return keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(3)]), X[:, :1] * np.ones((1, 6), "float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (recurrent, lambda: keras.optimizers.Adam(1e-3)),
        (convolutional, lambda: keras.optimizers.RMSprop(1e-3)),
        (convolutional, lambda: keras.optimizers.Lion(1e-3)),
        (mixed, lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3))),
    ],
)
def test_a_step_that_is_really_made_lowers_the_loss_below_eta_c_and_raises_it_above(make, optimizer):
    keras.utils.set_random_seed(6)
    model, x = make()
    labels = np.random.default_rng(7).integers(3, size=len(x))
    model.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(x, labels, epochs=2, verbose=0)
    found = critical_learning_rate(model, (x, labels))
    variables = [*model.variables, *model.optimizer.variables]
    saved = [variable.numpy() for variable in variables]
    for factor, rises in ((0.9, False), (1.1, True)):
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = factor * found.eta_c
        before, after = (float(model.train_on_batch(x, labels)) for _ in range(2))  # each before its step
        assert before == pytest.approx(found.loss, rel=1e-5)
        assert (after > before) == rises


def test_data_may_be_arrays_data_sets_or_sequences_and_nested():
    inputs = {"a": keras.Input((5,), name="a"), "b": keras.Input((2,), name="b")}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, [keras.layers.Dense(1, name="p")(joined), keras.layers.Dense(2, name="q")(joined)])
    model.compile(keras.optimizers.SGD(0.1), loss=["mse", "mae"], metrics=[["mae"], ["mse"]], run_eagerly=True)
    x, y = {"a": X, "b": X[:, :2]}, [Y, X[:, :2]]
    whole = critical_learning_rate(model, (x, y))
    before = state(model)
    data = tf.data.Dataset.from_tensor_slices((x, tuple(y))).batch(6)
    assert critical_learning_rate(model, data, examples=12).eta_c == pytest.approx(whole.eta_c, rel=1e-3)

    class Halves(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            part = slice(6 * index, 6 * index + 6)
            return {name: value[part] for name, value in x.items()}, [value[part] for value in y]

    first = critical_learning_rate(model, Halves())
    assert first.eta_c == pytest.approx(critical_learning_rate(model, data).eta_c, rel=1e-3)
    assert first.loss == pytest.approx(critical_learning_rate(model, (x, y), examples=6).loss, rel=1e-5)
    assert first.loss != pytest.approx(whole.loss, rel=1e-3)
    weighted = critical_learning_rate(model, (x, y, np.ones(12, "float32") * (np.arange(12) < 6)))
    assert weighted.loss == pytest.approx(first.loss / 2, rel=1e-5)
    assert_same(before, state(model))


def test_a_wrapped_model_gives_the_same_as_the_model_itself():
    network = quadratic(keras.optimizers.SGD(0.1))
    wrapped = SharpnessModel(network, measurement=(X, Y))
    wrapped.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    assert critical_learning_rate(wrapped, (X, Y)) == critical_learning_rate(network, (X, Y))


def test_a_model_that_computes_its_own_loss_and_has_no_weights_yet_is_built():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(1, use_bias=False)

        def call(self, inputs):
            return self.inner(inputs)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return keras.ops.mean(keras.ops.square(y_pred - y))

    model = Own()
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    found = critical_learning_rate(model, (X, Y))
    g = gradient(model)
    assert found.eta_c == pytest.approx(exact(g, g @ g)[0], rel=2e-3)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ((X, Y[:5]), {}, r"equally many .* \[5, 12\]"),
        ((X[:0], Y[:0]), {}, "at least one"),
        (iter([(X, Y)]), {}, "tf.data.Dataset"),
        ((X, Y), {"examples": 0}, "`examples`"),
        ((X, Y), {"tolerance": 1.0}, "`tolerance`"),
        ((X, Y), {"against": 3}, "`against`"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).take(0).batch(4), {}, "no batch"),
    ],
)
def test_data_and_settings_that_do_not_fit_are_refused(data, settings, message):
    with pytest.raises(ValueError, match=message):
        critical_learning_rate(quadratic(keras.optimizers.SGD(0.1)), data, **settings)


def test_a_model_without_a_loss_is_refused():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="compile"):
        critical_learning_rate(model, (X, Y))

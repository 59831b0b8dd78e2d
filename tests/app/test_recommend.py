import keras
import numpy as np
import pytest
from problems import classification, dense_hessian, operator_of

from sharpness_phases import HalfMeanSquaredError, PowerIteration, SharpnessModel, recommend_learning_rate
from sharpness_phases.analysis.advice import GRID
from sharpness_phases.data.preprocessing import batch_indices
from sharpness_phases.errors import UserError
from sharpness_phases.models import FCN
from sharpness_phases.training.second_derivatives import SecondDerivativeError

X, Y = classification(64, dtype=np.float32)


def network(*middle, seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), *middle, keras.layers.Dense(3)]
    return keras.Sequential(layers)


def compiled(model=None, optimizer="sgd", loss=None):
    model = model or network()
    model.compile(optimizer=optimizer, loss=loss or HalfMeanSquaredError(), jit_compile=False)
    return model


def losses(start, learning_rate, batch_size, steps=10):
    """Losses on all examples along plain SGD on the same batches, by Keras alone."""
    model = compiled(optimizer=keras.optimizers.SGD(learning_rate))
    model.set_weights(start)
    values = [float(model.evaluate(X, Y, batch_size=64, verbose=0))]
    for batch in batch_indices(len(X), batch_size, steps, seed=0):
        model.train_on_batch(X[batch], Y[batch])
        values.append(float(model.evaluate(X, Y, batch_size=64, verbose=0)))
    return np.array(values)


@pytest.fixture(scope="module")
def start():
    return network().get_weights()


@pytest.fixture(scope="module")
def advice():
    return recommend_learning_rate(compiled(), (X, Y))


def test_lambda_0_is_the_largest_eigenvalue_of_the_dense_hessian(advice):
    exact = np.linalg.eigvalsh(dense_hessian(operator_of(network(), HalfMeanSquaredError(), X, Y)))[-1]
    assert advice.lambda_0 == pytest.approx(exact, rel=1e-3)
    assert advice.stability_limit == pytest.approx(2 / exact, rel=1e-3)


@pytest.mark.slow
def test_plain_keras_sees_the_loss_rise_and_diverge_where_the_advice_says(advice, start):
    def run(c):
        return losses(start, c / advice.lambda_0, advice.batch_size)

    below = GRID[GRID.index(advice.c_loss) - 1]
    assert run(below).max() == run(below)[0]
    assert run(advice.c_loss).max() > run(advice.c_loss)[0]
    diverging = GRID[GRID.index(advice.c_max) + 1]
    assert run(advice.c_max).max() <= 1e5
    assert not run(diverging).max() <= 1e5


def test_training_at_the_suggestion_lowers_the_loss_without_a_catapult(advice, start):
    assert advice.c < advice.c_loss
    assert advice.c <= advice.c_max / 2
    run = losses(start, advice.learning_rate, advice.batch_size)
    assert run[-1] < run[0]
    assert run.max() == run[0]


def test_a_wide_network_with_zero_output_has_the_c_loss_of_a_quadratic():
    model = compiled(FCN(width=256, depth=2, output_layer="zero").build((6,), 3, seed=0))
    advice = recommend_learning_rate(model, (X, Y), batch_size=64)
    assert advice.c_loss == pytest.approx(2.1, rel=0.1)
    assert advice.learning_rate == pytest.approx(2 / advice.lambda_0, rel=0.1)


def test_nothing_of_the_model_changes_and_it_trains_on_as_before():
    model = compiled(network(keras.layers.Dropout(0.5, seed=1)), optimizer=keras.optimizers.Adam(0.02))
    model.fit(X, Y, verbose=0)
    everything = [*model.variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in everything]
    recommend_learning_rate(model, (X, Y))
    for variable, value in zip(everything, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][-1])


def test_the_weights_are_put_back_after_an_error_too(monkeypatch):
    model = compiled()
    before = model.get_weights()

    def fails(*arguments):
        model.set_weights([weight + 1 for weight in before])
        raise KeyboardInterrupt

    monkeypatch.setattr("sharpness_phases.recommend.edge_of", fails)
    with pytest.raises(KeyboardInterrupt):
        recommend_learning_rate(model, (X, Y))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_same_call_gives_the_same_advice(advice):
    assert recommend_learning_rate(compiled(), (X, Y)) == advice


def test_settings_reach_the_measurement():
    quick = recommend_learning_rate(
        compiled(), (X, Y), batch_size=1000, steps=3, examples=16, solver=PowerIteration(50), chunk_size=5, seed=3
    )
    assert (quick.batch_size, quick.steps) == (64, 3)
    assert quick.lambda_0 > 0


def test_integer_labels_and_keras_own_losses_work():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert recommend_learning_rate(compiled(loss=loss), (X, Y.argmax(1))).learning_rate > 0


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (keras.optimizers.SGD(0.1), ""),
        pytest.param(keras.optimizers.SGD(0.1, momentum=0.9), "momentum 0.9", marks=pytest.mark.slow),
        (keras.optimizers.AdamW(), "AdamW; this rate is for plain SGD"),
    ],
    ids=["plain", "momentum", "AdamW"],
)
def test_another_optimizer_than_plain_sgd_is_told(optimizer, words):
    advice = recommend_learning_rate(compiled(optimizer=optimizer), (X, Y))
    assert words in advice.caution
    assert bool(words) == ("Caution" in str(advice))


def nan_somewhere():
    x = X.copy()
    x[7, 2] = np.nan
    return x, Y


def two_inputs():
    a, b = keras.Input((6,)), keras.Input((6,))
    return keras.Model([a, b], keras.layers.Dense(3)(keras.layers.Concatenate()([a, b])))


class Unbuilt(keras.Model):
    def __init__(self):
        super().__init__(name="unbuilt")
        self.inner = keras.layers.Dense(3)

    def call(self, inputs):
        return self.inner(inputs)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (network, (X, Y), "compiled with a loss"),
        (lambda: compiled(Unbuilt()), (X, Y), r"unbuilt has no weights yet.*model\(x\[:1\]\)"),
        (lambda: compiled(two_inputs()), ([X, X], Y), "one input and one output"),
        (compiled, X, "pair of arrays"),
        (compiled, (X[:5], Y), r"\(5, 6\) and \(64, 3\)"),
        (compiled, nan_somewhere(), "loss at the present weights is nan.*NaN in the data"),
        (compiled, (X, 1e6 * Y), "at most 100000.*standardise"),
        (compiled, (0 * X, 0 * Y), "loss at the present weights is 0"),
    ],
    ids=["uncompiled", "unbuilt", "two inputs", "no pair", "lengths", "NaN", "huge", "nothing to learn"],
)
def test_what_cannot_be_analysed_is_refused_with_a_reason(model, data, message):
    with pytest.raises(UserError, match=message):
        recommend_learning_rate(model(), data)


def test_a_dead_network_is_refused():
    dead = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="relu", bias_initializer="ones")])
    dead.add(keras.layers.Dense(3, use_bias=False))
    dead.layers[0].bias.assign(np.full(8, -1e3))
    with pytest.raises(UserError, match="sharpness at the present weights is.*positive"):
        recommend_learning_rate(compiled(dead), (X, Y))


def test_examples_that_the_measurement_missed_and_that_blow_up_are_told():
    x = X * np.where(np.arange(64) == 40, 1e12, 1).astype(np.float32)[:, None]
    linear = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    with pytest.raises(UserError, match="diverges within 10 steps even at"):
        recommend_learning_rate(compiled(linear), (x, Y), examples=4, batch_size=64)


class Stopped(keras.layers.Layer):
    """Stops a gradient that its first derivative does not need."""

    def call(self, x):
        deviation = x - keras.ops.stop_gradient(keras.ops.mean(x, -1, keepdims=True))
        return x / keras.ops.sqrt(1e-3 + keras.ops.mean(deviation**2, -1, keepdims=True))


def test_wrong_second_derivatives_are_refused_by_name():
    with pytest.raises(SecondDerivativeError, match="norm_9"):
        recommend_learning_rate(compiled(network(Stopped(name="norm_9"))), (X, Y))


@pytest.mark.slow
def test_a_rate_for_batch_normalization_is_that_of_the_statistics_that_were_chosen():
    norm = keras.layers.BatchNormalization(name="norm")
    model = compiled(network(norm))
    before = [value.numpy() for value in model.variables]
    found = {kind: recommend_learning_rate(model, (X, Y), batch_norm=kind).lambda_0 for kind in ("batch", "inference")}
    for kind, sharpness in found.items():
        measured = SharpnessModel(model, (X, Y), batch_norm=kind)
        measured.compile(optimizer="sgd", loss=HalfMeanSquaredError(), jit_compile=False)
        assert sharpness == pytest.approx(measured.sharpness().eigenvalue, rel=1e-3)
    assert found["batch"] != pytest.approx(found["inference"], rel=1e-2)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["batch_size", "steps", "examples"])
def test_numbers_that_are_no_count_are_refused(name):
    with pytest.raises(UserError, match=f"{name} must be an integer of at least 1"):
        recommend_learning_rate(compiled(), (X, Y), **{name: 0})

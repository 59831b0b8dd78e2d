import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases import HalfMeanSquaredError, SharpnessModel, recommend_learning_rate
from sharpness_phases.errors import UserError

X, Y = classification(64, dtype=np.float32)


def network(*middle, seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), *middle, keras.layers.Dense(3)]
    return keras.Sequential(layers)


def compiled(model=None, optimizer="sgd", loss=None):
    model = model or network()
    model.compile(optimizer=optimizer, loss=loss or HalfMeanSquaredError(), jit_compile=False)
    return model


def everything_of(model):
    return [*model.variables, *model.optimizer.variables]


@pytest.fixture(scope="module")
def advice():
    return recommend_learning_rate(compiled(), (X, Y), batch_size=64)


def test_the_edge_is_that_of_the_dense_hessian(advice):
    exact = np.linalg.eigvalsh(dense_hessian(operator_of(network(), HalfMeanSquaredError(), X, Y)))[-1]
    assert advice.facts.sharpness == pytest.approx(exact, rel=1e-2)
    assert advice.edge_rate == pytest.approx(2 / exact, rel=1e-2)


def test_plain_keras_sees_what_the_runs_say(advice):
    rate = sorted(advice.runs)[1]
    model = compiled(optimizer=keras.optimizers.SGD(rate))
    seen = [model.train_on_batch(X, Y) for _ in advice.runs[rate]]  # one batch holds all examples
    np.testing.assert_allclose(advice.runs[rate], seen, rtol=1e-4)


@pytest.mark.slow
def test_training_at_the_suggestion_lowers_the_loss_more_than_at_a_quarter_and_at_four_times_as_much(advice):
    def last(factor):
        model = compiled(optimizer=keras.optimizers.SGD(factor * advice.learning_rate))
        losses = [model.train_on_batch(X, Y) for _ in range(100)]
        return losses[-1] if np.isfinite(losses[-1]) else np.inf

    assert last(1) < last(1 / 4)
    assert advice.learning_rate < advice.ceiling


def test_a_quadratic_loss_has_its_best_rate_between_the_inverse_of_its_curvature_and_the_edge():
    x = np.eye(4, dtype=np.float32)
    linear = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    advice = recommend_learning_rate(compiled(linear, loss="mse"), (x, np.ones((4, 1), np.float32)), batch_size=4)
    assert advice.edge_rate == pytest.approx(4, rel=1e-3)  # H = 2/4 of the identity
    assert 0.2 < advice.learning_rate < 4  # all of these lead to the minimum within some steps
    assert advice.eta_c == pytest.approx(4, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(1e-9, 10, 0.9)),
    ],
    ids=["momentum", "AdamW with a schedule"],
)
def test_nothing_of_the_model_changes_and_it_trains_on_as_before(optimizer):
    model = compiled(network(keras.layers.Dropout(0.5, seed=1), keras.layers.BatchNormalization()), optimizer)
    model.fit(X, Y, verbose=0)
    before = [variable.numpy() for variable in everything_of(model)]
    rate = model.optimizer._learning_rate
    advice = recommend_learning_rate(model, (X, Y))
    assert advice.optimizer == type(optimizer).__name__
    assert model.optimizer._learning_rate is rate
    for variable, value in zip(everything_of(model), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][-1])


@pytest.mark.slow
def test_all_is_put_back_after_an_error_too(monkeypatch):
    model = compiled()
    before = model.get_weights()

    def fails(losses, *arguments):
        losses(10.0, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr("sharpness_phases.recommend.search_rate", fails)
    with pytest.raises(KeyboardInterrupt):
        recommend_learning_rate(model, (X, Y))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_the_same_call_gives_the_same_advice(advice):
    assert recommend_learning_rate(compiled(), (X, Y), batch_size=64) == advice


def test_the_cost_is_that_of_a_range_test(advice):
    assert sum(map(len, advice.runs.values())) <= 160
    assert advice.cost < 250  # with the sharpness, of a network so small that it takes as many products as a large one
    assert f"that of {advice.cost:.0f} optimizer steps" in str(advice)


@pytest.mark.slow
def test_data_sets_of_tensorflow_and_keras_give_their_own_batches():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return X[32 * index : 32 * index + 32], Y[32 * index : 32 * index + 32]

    found = [
        recommend_learning_rate(compiled(), data)
        for data in (tf.data.Dataset.from_tensor_slices((X, Y)).batch(32), Batches())
    ]
    assert found[0].learning_rate == found[1].learning_rate > 0
    assert found[0].runs == found[1].runs


@pytest.mark.slow
def test_a_model_with_its_own_train_step_is_trained_by_it():
    class Doubled(keras.Sequential):
        def train_step(self, data):
            super().train_step(data)
            return super().train_step(data)

    own = compiled(Doubled([keras.Input((6,)), keras.layers.Dense(3, kernel_initializer="zeros")]))
    plain = compiled(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, kernel_initializer="zeros")]))
    rates = [recommend_learning_rate(model, (X, Y), batch_size=64).learning_rate for model in (own, plain)]
    assert rates[0] < rates[1]


@pytest.mark.slow
def test_a_network_that_no_known_product_exists_for_still_gets_a_rate():
    @keras.saving.register_keras_serializable("tests")
    class Stopped(keras.layers.Layer):
        """Stops a gradient that its first derivative does not need."""

        def call(self, x):
            deviation = x - keras.ops.stop_gradient(keras.ops.mean(x, -1, keepdims=True))
            return x / keras.ops.sqrt(1e-3 + keras.ops.mean(deviation**2, -1, keepdims=True))

    advice = recommend_learning_rate(compiled(network(Stopped(name="norm_9"))), (X, Y))
    assert advice.learning_rate > 0
    assert np.isnan(advice.edge_rate)
    assert "norm_9" in str(advice)


@pytest.mark.slow
def test_weights_of_examples_count():
    weights = np.where(np.arange(64) < 32, 100.0, 0.0).astype(np.float32)
    heavy = recommend_learning_rate(compiled(), (X, Y, weights), batch_size=64)
    light = recommend_learning_rate(compiled(), (X, Y, weights / 100), batch_size=64)
    assert heavy.learning_rate == pytest.approx(light.learning_rate / 100, rel=0.3)


@pytest.mark.slow
def test_weights_by_class_are_those_of_their_examples():
    by_class = {0: 5.0, 1: 1.0, 2: 0.5}
    weights = np.array([by_class[label] for label in Y.argmax(axis=1)], np.float32)
    by_example = recommend_learning_rate(compiled(), (X, Y, weights), batch_size=32, examples=64)
    found = recommend_learning_rate(compiled(), (X, Y), batch_size=32, examples=64, class_weight=by_class)
    assert (found.learning_rate, found.runs) == (by_example.learning_rate, by_example.runs)
    assert found.edge_rate == by_example.edge_rate
    with pytest.raises(UserError, match="sample weights already"):
        recommend_learning_rate(compiled(), (X, Y, weights), class_weight=by_class)


@pytest.mark.slow
def test_what_has_no_second_derivative_gets_its_edge_by_differences_of_the_gradient(advice):
    found = recommend_learning_rate(compiled(), (X, Y), batch_size=64, products="differences")
    assert found.edge_rate == pytest.approx(advice.edge_rate, rel=1e-2)
    with pytest.raises(ValueError, match="products"):
        recommend_learning_rate(compiled(), (X, Y), products="guesses")


@pytest.mark.slow
def test_mixed_precision_gets_the_rate_of_float32():
    found = []
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(8, "tanh", dtype=policy), keras.layers.Dense(3, dtype="float32")]
        found.append(recommend_learning_rate(compiled(keras.Sequential([keras.Input((6,)), *layers])), (X, Y)))
    assert found[1].learning_rate == pytest.approx(found[0].learning_rate, rel=0.2)
    assert found[1].edge_rate == pytest.approx(found[0].edge_rate, rel=0.05)


def test_the_picture_is_written(advice, tmp_path):
    assert advice.plot(tmp_path / "advice.png").read_bytes().startswith(b"\x89PNG")


def nan_somewhere():
    x = X.copy()
    x[:, 2] = np.nan
    return x, Y


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (network, (X, Y), "compiled with a loss"),
        (compiled, X, r"must be .*\(x, y\)"),
        (compiled, (X[:5], Y), "equally many"),
        (compiled, nan_somewhere(), "No learning rate can train this. The inputs hold NaN or infinity"),
        pytest.param(compiled, (0 * X, 0 * Y), "gradient is zero", marks=pytest.mark.slow),
    ],
    ids=["uncompiled", "no pair", "lengths", "NaN", "nothing to learn"],
)
def test_what_cannot_be_advised_is_refused_with_a_reason(model, data, message):
    with pytest.raises(UserError, match=message):
        recommend_learning_rate(model(), data)


@pytest.mark.parametrize("name", ["batch_size", "steps", "examples", "budget"])
def test_numbers_that_are_no_count_are_refused(name):
    with pytest.raises(UserError, match=f"{name} must be an integer of at least 1"):
        recommend_learning_rate(compiled(), (X, Y), **{name: 0})


@pytest.mark.slow
def test_the_model_is_measured_as_sharpness_model_measures_it(advice):
    measured = SharpnessModel(compiled(), (X, Y), every=0)
    measured.compile(optimizer=keras.optimizers.SGD(), loss=HalfMeanSquaredError(), jit_compile=False)
    assert advice.facts.sharpness == pytest.approx(measured.sharpness().eigenvalue, rel=1e-2)

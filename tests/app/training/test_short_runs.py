import keras
import numpy as np
import pytest

from sharpness_phases.training.short_runs import MOST_ENDS, short_runs
from sharpness_phases.training.training_batches import TrainingBatches

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 4)).astype(np.float32)
Y = (X @ RNG.standard_normal((4, 2))).astype(np.float32)
BATCHES = TrainingBatches((X, Y), 12, 8)


def compiled(optimizer, *layers):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2)])
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
    return model


def plain(rates, optimizer=keras.optimizers.Adam):
    """The same by Keras alone."""
    model = compiled(optimizer(1.0))
    seen = []
    for rate, batch in zip(rates, BATCHES, strict=False):
        model.optimizer.learning_rate = rate
        model.reset_metrics()
        seen.append(float(model.train_on_batch(batch.x, batch.y)[0]))
    return seen


@pytest.fixture(scope="module")
def model():
    return compiled(keras.optimizers.Adam(0.5))


def test_runs_are_those_of_keras_from_the_same_start_and_go_on_where_they_were(model):
    with short_runs(model, BATCHES) as runs:
        begun = runs.losses(0.1, 4)
        other = runs.losses(0.01, 6)
        longer = runs.losses(0.1, 8)
        assert runs.steps == 14
    np.testing.assert_allclose(longer, plain([0.1] * 8), rtol=1e-5)
    np.testing.assert_allclose(other, plain([0.01] * 6), rtol=1e-5)
    np.testing.assert_array_equal(begun, longer[:4])


def test_a_run_whose_end_was_not_kept_is_run_anew_with_the_same_losses(model):
    rates = [0.01 * 2**k for k in range(MOST_ENDS + 2)]
    with short_runs(model, BATCHES) as runs:
        first = [runs.losses(rate, 2) for rate in rates]
        longer = runs.losses(rates[0], 4)
        assert runs.steps == 2 * len(rates) + 4
    np.testing.assert_array_equal(longer[:2], first[0])
    np.testing.assert_allclose(longer, plain([rates[0]] * 4), rtol=1e-5)


@pytest.mark.slow
def test_a_rate_may_change_along_a_run(model):
    rates = np.geomspace(1e-3, 1, 10)
    with short_runs(model, BATCHES) as runs:
        found = runs.along(rates)
    np.testing.assert_allclose(found, plain(rates), rtol=1e-5)


def test_a_run_that_is_gone_stays_gone_and_costs_no_more():
    with short_runs(compiled(keras.optimizers.SGD(0.1)), BATCHES) as runs:
        found = runs.losses(1e6, 12)
        taken = runs.steps
        np.testing.assert_array_equal(runs.losses(1e6, 12), found)
        assert runs.steps == taken < 12
    assert np.isfinite(found[0])
    assert np.isinf(found[taken - 1 :]).all()


def test_all_is_put_back_a_schedule_too_also_after_an_error():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model = compiled(
        keras.optimizers.Adam(schedule), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)
    )
    model.fit(X, Y, verbose=0)
    everything = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = [variable.numpy() for variable in everything]
    with pytest.raises(KeyboardInterrupt), short_runs(model, BATCHES) as runs:
        runs.losses(0.1, 5)
        raise KeyboardInterrupt
    for variable, value in zip(everything, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert model.optimizer._learning_rate is schedule


def test_batches_of_arrays_go_through_all_examples_and_are_the_same_for_every_reader():
    again = TrainingBatches((X, Y), 12, 8)
    rows = np.concatenate([batch.x.numpy() for batch in again[:3]])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(X, axis=0))
    np.testing.assert_array_equal(again[5].x, BATCHES[5].x)
    with pytest.raises(IndexError):
        again[12]


def test_batches_of_a_data_set_begin_anew_where_it_ends():
    class Two(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"a": X[8 * index : 8 * index + 8]}, Y[8 * index : 8 * index + 8], np.ones(8)

    batches = TrainingBatches(Two(), 5)
    np.testing.assert_array_equal(batches[4].x["a"], X[:8])
    assert batches[4].sample_weight.shape == (8,)

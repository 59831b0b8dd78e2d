"""Which loss is measured of a network with batch normalisation, and what stays as it is."""

import keras
import numpy as np
import pytest
from problems import classification, dense_hessian, operator_of

from sharpness_phases import HalfMeanSquaredError, SharpnessCallback, SharpnessModel
from sharpness_phases.training.objective import Objective

X, Y = classification(24, dtype=np.float32)


def functional(norm):
    inputs = keras.Input((6,))
    x = norm(keras.layers.Dense(4, activation="tanh")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def wrapped(network, loss=None, **settings):
    model = SharpnessModel(network, **{"measurement": (X, Y)} | settings)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss or HalfMeanSquaredError(), jit_compile=False)
    return model


def statistics_of(norm):
    return [norm.moving_mean.numpy(), norm.moving_variance.numpy()]


def moved(norm):
    norm.moving_mean.assign(np.linspace(-1, 1, 4))
    norm.moving_variance.assign(np.linspace(0.5, 2, 4))


@pytest.mark.parametrize("batch_norm", ["batch", pytest.param("inference", marks=pytest.mark.slow)])
def test_batch_normalization_is_measured_with_the_statistics_that_were_chosen(batch_norm):
    norm = keras.layers.BatchNormalization()
    network = functional(norm)
    moved(norm)
    before = statistics_of(norm)
    found = wrapped(network, batch_norm=batch_norm).measure()
    np.testing.assert_array_equal(before, statistics_of(norm))
    operator = Objective(network, HalfMeanSquaredError(), batch_norm).hessian(X, Y)
    exact = np.linalg.eigvalsh(dense_hessian(operator))[-1]
    assert float(found.sharpness.eigenvalue) == pytest.approx(exact, rel=1e-3)
    outputs = network(X, training=batch_norm == "batch")  # which moves the statistics in training
    assert float(found.loss) == pytest.approx(np.mean((outputs - Y) ** 2) / 2, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["batch", "inference"])
def test_a_callback_measures_with_the_statistics_that_were_chosen(batch_norm):
    norm = keras.layers.BatchNormalization()
    network = functional(norm)
    moved(norm)
    expected = float(Objective(network, HalfMeanSquaredError(), batch_norm).loss(X, Y))
    callback = SharpnessCallback((X, Y), batch_norm=batch_norm)
    network.compile(optimizer=keras.optimizers.SGD(0.1), loss=HalfMeanSquaredError(), jit_compile=False)
    network.fit(X, Y, verbose=0, callbacks=[callback])
    assert callback.history[0].loss == pytest.approx(expected, rel=1e-5)


def test_training_moves_the_statistics_as_it_does_without_measuring():
    norm = keras.layers.BatchNormalization()
    network = functional(norm)
    start = network.get_weights()

    def trained(**settings):
        network.set_weights(start)
        wrapped(network, **settings).fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        return statistics_of(norm)

    np.testing.assert_allclose(trained(every=1), trained(every=0), rtol=1e-6)


@pytest.mark.slow
def test_what_is_no_longer_frozen_has_batch_statistics_from_the_next_compile_on():
    norm = keras.layers.BatchNormalization()
    norm.trainable = False
    network = functional(norm)
    model = wrapped(network)
    frozen = float(model.measure().loss)
    norm.trainable = True
    model.compile(optimizer="sgd", loss=HalfMeanSquaredError(), jit_compile=False)
    assert float(model.measure().loss) != pytest.approx(frozen, rel=1e-3)
    assert float(model.measure().loss) == pytest.approx(np.mean((network(X, training=True) - Y) ** 2) / 2, rel=1e-5)


@pytest.mark.slow
def test_statistics_of_chunks_make_the_loss_the_mean_of_the_losses_of_chunks():
    network = functional(keras.layers.BatchNormalization())
    model = wrapped(network, chunk_size=8)
    parts = [slice(0, 8), slice(8, 16), slice(16, 24)]
    losses = [float(Objective(network, HalfMeanSquaredError()).loss(X[part], Y[part])) for part in parts]
    of_parts = [operator_of(network, HalfMeanSquaredError(), X[part], Y[part]) for part in parts]
    found = model.measure()
    evaluated = [found.loss, model.evaluate_measurement()[0], model.loss_on_measurement(), model.tracker.evaluate()[0]]
    assert [float(loss) for loss in evaluated] == pytest.approx([np.mean(losses)] * 4, rel=1e-5)
    vector, value = found.sharpness.eigenvector, float(found.sharpness.eigenvalue)
    product = np.mean([operator.linearize().matvec(vector) for operator in of_parts], axis=0)
    np.testing.assert_allclose(product, value * vector, atol=1e-2 * value)
    of_all = operator_of(network, HalfMeanSquaredError(), X, Y).linearize().matvec(vector)
    assert np.linalg.norm(of_all - product) > 0.05 * value


@pytest.mark.slow
def test_chunks_with_statistics_must_be_equally_large():
    network = functional(keras.layers.BatchNormalization(name="norm_3"))
    with pytest.raises(ValueError, match="norm_3.*must divide the number of examples, 24"):
        wrapped(network, chunk_size=7).sharpness()
    assert wrapped(network, chunk_size=7, batch_norm="inference").sharpness().converged


def test_chunks_with_statistics_need_a_loss_that_is_a_mean_as_others_do():
    network = functional(keras.layers.BatchNormalization())
    with pytest.raises(ValueError, match="a loss that is the mean over its examples"):
        wrapped(network, loss=keras.losses.MeanSquaredError(reduction="sum"), chunk_size=8).sharpness()


def test_another_choice_of_statistics_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="`batch_norm` must be one of 'batch', 'inference'. Received: 'moving'"):
        wrapped(functional(keras.layers.BatchNormalization()), batch_norm="moving")
    with pytest.raises(ValueError, match="`batch_norm`"):
        SharpnessCallback((X, Y), batch_norm="moving")

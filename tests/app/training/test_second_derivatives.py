import keras
import numpy as np
import pytest
from problems import classification, operator_of

from sharpness_phases.models import FCN
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.training.second_derivatives import (
    SecondDerivativeError,
    refuse_wrong_layers,
    suspicious_layers,
    verify_products,
)


def with_layer(layer, shape=(6,)):
    inputs = keras.Input(shape=shape)
    x = keras.layers.Dense(8, activation="tanh")(inputs) if len(shape) == 1 else inputs
    x = layer(x)
    if len(shape) > 1:
        x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.LayerNormalization, (6,)),
        (keras.layers.BatchNormalization, (6,)),
        (lambda: keras.layers.GroupNormalization(2), (6,)),
        (lambda: keras.layers.UpSampling2D(interpolation="bilinear"), (4, 4, 1)),
        (lambda: keras.layers.Resizing(8, 8), (4, 4, 1)),
    ],
)
def test_layers_known_to_be_wrong_are_refused_by_name(layer, shape):
    network = with_layer(layer(), shape)
    with pytest.raises(SecondDerivativeError, match=network.layers[-3 if len(shape) > 1 else -2].name):
        refuse_wrong_layers(network)


def test_a_wrong_layer_inside_a_nested_model_is_found():
    outer = keras.Sequential([keras.Input((6,)), with_layer(keras.layers.LayerNormalization())])
    assert "LayerNormalization" in suspicious_layers(outer)[0]


def test_frozen_batch_normalization_and_nearest_upsampling_pass():
    frozen = keras.layers.BatchNormalization()
    frozen.trainable = False
    refuse_wrong_layers(with_layer(frozen))
    refuse_wrong_layers(with_layer(keras.layers.UpSampling2D(interpolation="nearest"), (4, 4, 1)))


def check(network, seed=0):
    x, y = classification(2, network.input_shape[1:], 3, seed=seed, dtype=np.float32)
    operator = operator_of(network, build_loss("mse"), x, y)
    return verify_products(operator, operator.variables)


def test_the_differences_find_a_layer_normalization_whose_second_derivative_is_wrong():
    with pytest.raises(SecondDerivativeError, match="disagree with central differences"):
        check(with_layer(keras.layers.LayerNormalization()))


def test_the_differences_find_bilinear_upsampling_behind_a_nonlinearity():
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(4, 3, activation="tanh")(inputs)
    x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
    x = keras.layers.Conv2D(4, 3, activation="tanh")(x)
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    with pytest.raises(SecondDerivativeError):
        check(network)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_differences_pass_networks_that_are_right(activation, seed):
    network = FCN(width=64, depth=4, activation=activation).build((28, 28, 1), 3, seed=seed)
    before = network.get_weights()
    assert check(network, seed) < 2e-2
    for weight, same in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)


def test_weights_that_are_nan_are_not_the_products_fault():
    network = FCN(width=4, depth=2).build((6,), 3, seed=0)
    network.set_weights([np.full_like(w, np.nan) for w in network.get_weights()])
    assert np.isnan(check(network))

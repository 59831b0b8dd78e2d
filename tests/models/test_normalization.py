"""What normalisation does to the hidden layers of a family, held against the formulas."""

import keras
import numpy as np
import pytest

from sharpness_phases.models import FCN, MyrtleCNN, ResNet
from sharpness_phases.models.normalization import groups_of, normalization_layer

AXES = {"batch": (0, 1, 2), "layer": (3,), "rms": (3,)}


@pytest.mark.parametrize("name", ["batch", "layer", "group", "rms"])
def test_a_normalization_computes_its_formula(name):
    x = 3 * np.random.default_rng(0).standard_normal((5, 4, 4, 32)) + 1
    found = np.asarray(normalization_layer(name, 32, "float64")(x, **({"training": True} if name == "batch" else {})))
    grouped = x.reshape(5, 16, 2, 16) if name == "group" else x
    axes = (1, 3) if name == "group" else AXES[name]
    mean = 0.0 if name == "rms" else grouped.mean(axes, keepdims=True)
    expected = (grouped - mean) / np.sqrt(np.mean((grouped - mean) ** 2, axes, keepdims=True))
    np.testing.assert_allclose(found, expected.reshape(x.shape), rtol=1e-3, atol=1e-4)  # but for epsilon


@pytest.mark.parametrize("channels", [1, 7, 16, 24, 48, 64, 97, 128, 200])
def test_groups_divide_the_channels_and_hold_sixteen_at_least_where_there_are_so_many(channels):
    groups = groups_of(channels)
    assert channels % groups == 0
    assert channels // groups >= min(16, channels)


def test_an_unknown_normalization_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'instance'.*batch, layer, group, rms"):
        normalization_layer("instance", 8, "float32")
    with pytest.raises(ValueError, match=r"`normalization` must be one of none, batch.*'instance'"):
        FCN(8, 3, normalization="instance")


@pytest.mark.parametrize("name", ["batch", "layer", "group", "rms"])
@pytest.mark.parametrize(
    ("factory", "shape", "kind"),
    [
        (FCN(8, 4), (5,), keras.layers.Dense),
        (MyrtleCNN(8, 5), (8, 8, 1), keras.layers.Conv2D),
        (ResNet(2, 18), (8, 8, 1), keras.layers.Conv2D),
    ],
)
def test_a_normalization_stands_behind_every_hidden_weight_layer_and_not_behind_the_output(factory, shape, kind, name):
    network = type(factory)(factory.width, factory.depth, normalization=name).build(shape, 3, seed=0)
    expected = type(normalization_layer(name, 8, "float32"))
    normalizations = [layer for layer in network.layers if isinstance(layer, expected)]
    weights = [layer for layer in network.layers if isinstance(layer, kind)]
    assert len(normalizations) == len(weights) - (1 if kind is keras.layers.Dense else 0)
    for layer in normalizations:
        assert isinstance(layer.input._keras_history.operation, kind)


def test_without_normalization_a_network_has_no_weights_but_its_matrices():
    plain, named = (FCN(8, 3, **settings).build((4,), 3, seed=0) for settings in ({}, {"normalization": "none"}))
    assert [w.shape for w in plain.get_weights()] == [(4, 8), (8, 8), (8, 3)]
    for a, b in zip(plain.get_weights(), named.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_normalized_hidden_layers_do_not_feel_the_size_of_the_inputs():
    x = np.random.default_rng(0).standard_normal((6, 5))
    network = FCN(16, 3, normalization="layer", dtype="float64").build((5,), 3, seed=0)
    np.testing.assert_allclose(network(1000 * x), network(100 * x), rtol=1e-3, atol=1e-4)

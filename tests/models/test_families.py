"""Shapes and scales of the families other than FCN."""

import keras
import numpy as np
import pytest

from sharpness_phases.models import UV, LinearFCN, MyrtleCNN, ResNet
from sharpness_phases.models.layers import LayerNorm


def layers(network, kind):
    return [layer for layer in network._flatten_layers(include_self=False) if isinstance(layer, kind)]


@pytest.mark.parametrize("depth", [5, 7, 10])
def test_a_myrtle_network_of_depth_d_has_d_minus_1_convolutions_and_ends_on_one_pixel(depth):
    network = MyrtleCNN(width=4, depth=depth).build((32, 32, 3), 10, seed=0)
    assert len(layers(network, keras.layers.Conv2D)) == depth - 1
    assert len(layers(network, keras.layers.AveragePooling2D)) == 5
    assert layers(network, keras.layers.Dense)[0].kernel.shape == (4, 10)


@pytest.mark.parametrize("depth", [5, 7, 10])
def test_on_28_pixels_the_last_pool_is_left_out(depth):
    network = MyrtleCNN(width=4, depth=depth).build((28, 28, 1), 10, seed=0)
    assert len(layers(network, keras.layers.AveragePooling2D)) == 4
    assert layers(network, keras.layers.Dense)[0].kernel.shape == (4, 10)


@pytest.mark.parametrize("depth", [18, 34])
def test_a_resnet_has_its_depth_in_weight_layers_besides_shortcuts(depth):
    network = ResNet(width=2, depth=depth).build((32, 32, 3), 10, seed=0)
    convolutions = layers(network, keras.layers.Conv2D)
    shortcuts = [layer for layer in convolutions if layer.kernel_size == (1, 1)]
    assert len(shortcuts) == 3
    assert len(convolutions) - len(shortcuts) + 1 == depth
    assert layers(network, keras.layers.Dense)[0].kernel.shape == (16, 10)
    assert not layers(network, LayerNorm)


def test_a_resnet_can_be_normalized_with_a_layer_whose_second_derivatives_are_right():
    network = ResNet(width=2, depth=18, normalization="layer").build((8, 8, 1), 3, seed=0)
    assert len(layers(network, LayerNorm)) == len(layers(network, keras.layers.Conv2D))


def test_layer_norm_computes_what_keras_layer_normalization_does():
    x = np.random.default_rng(0).standard_normal((5, 3, 7)).astype(np.float32)
    expected = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    np.testing.assert_allclose(LayerNorm()(x), expected, rtol=1e-4, atol=1e-5)


def test_convolutions_have_the_variance_of_their_fan_in():
    network = MyrtleCNN(width=64, depth=5).build((8, 8, 3), 10, seed=0)
    first, second = (layer.kernel.numpy() for layer in layers(network, keras.layers.Conv2D)[:2])
    assert first.var() == pytest.approx(2 / 27, rel=0.1)
    assert second.var() == pytest.approx(2 / (9 * 64), rel=0.05)


def test_the_output_of_a_linear_network_is_divided_by_a_power_of_the_width():
    x = np.ones((2, 6), np.float32)
    plain, divided = (LinearFCN(16, 3, output_power=s).build((6,), 3, seed=0)(x).numpy() for s in (0.0, 0.5))
    np.testing.assert_allclose(divided, plain / 4, rtol=1e-6)
    with pytest.raises(ValueError, match="`activation`"):
        LinearFCN(16, 3, activation="relu")


def test_the_uv_model_is_v_dot_u_x_over_root_n():
    network = UV(9).build((1,), 1, seed=0)
    u, v = (weight.ravel() for weight in network.get_weights())
    assert float(network(np.array([[2.0]], np.float32))[0, 0]) == pytest.approx(2 * u @ v / 3, rel=1e-5)
    many = UV(4096).build((1,), 1, seed=0).get_weights()
    assert [w.var() for w in many] == pytest.approx([1.0, 1.0], rel=0.1)


@pytest.mark.parametrize(
    "settings", [{"activation": "relu"}, {"parameterization": "standard"}, {"bias": True}, {"output_layer": "zero"}]
)
def test_what_is_fixed_in_the_uv_model_cannot_be_set(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` of uv must be"):
        UV(8, **settings)


@pytest.mark.parametrize(("output", "settings"), [(0.5, {}), (-2.0, {}), (0.0, {}), (3.0, {"output_scale": 0.25})])
def test_balanced_weights_of_the_uv_model_give_the_output_and_stay_equal(output, settings):
    factory = UV(6, dtype="float64", **settings)
    network = factory.build((1,), 1, seed=0)
    u, v = factory.balanced_weights(output, seed=3)
    network.set_weights([u, v])
    assert float(network(np.ones((1, 1)))[0, 0]) == pytest.approx(output)
    np.testing.assert_allclose(np.abs(u.ravel()), np.abs(v.ravel()))
    again, other = (factory.balanced_weights(output, seed=seed)[0] for seed in (3, 4))
    assert np.array_equal(u, again)
    assert output == 0 or not np.array_equal(u, other)


def test_an_output_that_is_no_number_has_no_balanced_weights():
    with pytest.raises(ValueError, match="`output` must be a finite number"):
        UV(4).balanced_weights(float("nan"), seed=0)


def test_the_uv_model_needs_vectors():
    with pytest.raises(ValueError, match="vectors"):
        UV(8).build((28, 28, 1), 10, seed=0)


@pytest.mark.parametrize(("factory", "depth"), [(MyrtleCNN, 6), (ResNet, 20), (UV, 3)])
def test_a_depth_that_a_family_does_not_have_is_refused(factory, depth):
    with pytest.raises(ValueError, match="`depth`"):
        factory(width=2, depth=depth)


def test_a_convolutional_family_needs_images():
    with pytest.raises(ValueError, match="height, width, channels"):
        ResNet(width=2, depth=18).build((10,), 3, seed=0)

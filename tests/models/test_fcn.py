import numpy as np
import pytest

from sharpness_phases.models import FCN


def weights(seed=0, **settings):
    network = FCN(**{"width": 256, "depth": 4} | settings).build(input_shape=(28, 28, 1), classes=10, seed=seed)
    return network.get_weights()


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (1, 5), (2, 1), (5, 3)])
def test_depth_counts_weight_layers_with_the_output_layer(depth, width):
    shapes = [w.shape for w in weights(depth=depth, width=width)]
    assert len(shapes) == depth
    assert shapes[0][0] == 784
    assert shapes[-1][1] == 10
    assert all(shape[1] == width for shape in shapes[:-1])


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("tanh", 1), ("linear", 1)])
def test_weights_have_the_variances_of_the_standard_parameterization(activation, gain):
    first, *_, last = weights(activation=activation)
    assert first.var() == pytest.approx(gain / 784, rel=0.02)
    assert last.var() == pytest.approx(1 / 256, rel=0.1)
    assert abs(first.mean()) < 1e-3


def test_equal_seeds_give_equal_weights_and_others_do_not():
    for a, b, c in zip(weights(seed=3), weights(seed=3), weights(seed=4), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_layers_of_one_network_are_drawn_independently():
    _, first, second, _ = weights()
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_biases_are_off_by_default_and_start_at_zero():
    assert all(w.ndim == 2 for w in weights())
    biases = [w for w in weights(bias=True) if w.ndim == 1]
    assert len(biases) == 4
    assert not any(b.any() for b in biases)


def test_a_zero_output_layer_gives_zero_outputs():
    network = FCN(width=8, depth=3, output_layer="zero").build((4,), 3, seed=0)
    assert not network(np.ones((2, 4), np.float32)).numpy().any()


def test_the_output_scale_multiplies_the_output():
    x = np.ones((2, 4), np.float32)
    plain, scaled = (FCN(width=8, depth=3, output_scale=a).build((4,), 3, seed=0)(x).numpy() for a in (1.0, 0.5))
    np.testing.assert_allclose(scaled, 0.5 * plain, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "`width`"),
        ({"depth": 0}, "`depth`"),
        ({"width": True}, "`width`"),
        ({"activation": "softsign"}, "`activation`.*relu, tanh, linear.*'softsign'"),
        ({"output_layer": "one"}, "`output_layer`"),
        ({"output_scale": 0.0}, "`output_scale`"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        FCN(**{"width": 8, "depth": 3} | settings)

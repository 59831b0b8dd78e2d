import numpy as np
import pytest
import tensorflow as tf
from tiny import TINY

from sharpness_phases.bench.precision import measure_precision, round_mantissa, rounded_product
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError


def test_rounding_keeps_ten_bits_of_the_mantissa_to_the_nearest():
    kept = tf.constant([1.0, 1 + 2**-10, -3.0, 0.0, 2.0**40])
    np.testing.assert_array_equal(round_mantissa(kept), kept)
    np.testing.assert_array_equal(round_mantissa(tf.constant([1 + 2**-12, 1 + 3 * 2**-12])), [1.0, 1 + 2**-10])
    x = tf.random.stateless_normal([1000], [0, 0])
    assert np.max(np.abs(round_mantissa(x) / x - 1)) <= 2**-11
    assert np.max(np.abs(round_mantissa(x) / x - 1)) > 2**-12


def test_derivatives_of_a_rounded_product_are_those_of_a_product_but_for_rounding():
    a, b = (tf.Variable(tf.random.stateless_normal([5, 5], [seed, 0])) for seed in range(2))
    second = []
    for product in (tf.linalg.matmul, rounded_product):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                value = tf.reduce_sum(tf.tanh(product(a, b)) ** 2)
            gradient = inner.gradient(value, a)
        second.append(outer.gradient(gradient, b).numpy())
    assert not np.array_equal(*second)
    np.testing.assert_allclose(second[1], second[0], atol=2e-2 * np.abs(second[0]).max())


@pytest.mark.slow
def test_float32_is_far_more_exact_than_tensor_float_32():
    found = list(measure_precision(load_config("quickstart", [*TINY, "sweep.seeds=1"])))
    assert len(found) == 2
    for result in found:
        assert abs(result.float_32) < 1e-5
        assert 1e-7 < abs(result.tensor_float_32) < 1e-2


def test_networks_with_other_layers_are_refused():
    with pytest.raises(UserError, match="only chains of dense layers"):
        next(measure_precision(load_config("quickstart", [*TINY, "model.family=myrtle", "sweep.depths=[5]"])))

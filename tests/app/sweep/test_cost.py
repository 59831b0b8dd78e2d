import pytest
import tensorflow as tf
from problems import operator_of

from sharpness_phases.config.loading import load_config
from sharpness_phases.models import FCN
from sharpness_phases.sweep.cost import estimate
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.pace import forward_flops, product_flops

EXAMPLES, INPUTS, WIDTH, CLASSES = 64, 50, 32, 10
RATE = 1e11


def operator():
    network = FCN(width=WIDTH, depth=3).build((INPUTS,), CLASSES, seed=0)
    x = tf.random.stateless_normal([EXAMPLES, INPUTS], [0, 0])
    y = tf.one_hot(tf.range(EXAMPLES) % CLASSES, CLASSES)
    return operator_of(network, build_loss("mse"), x, y)


def test_a_product_costs_two_matrix_products_in_the_first_layer_and_six_in_every_other():
    matrices = 2 * INPUTS * WIDTH + 6 * (WIDTH * WIDTH + WIDTH * CLASSES)
    expected = 2 * EXAMPLES * matrices
    assert abs(product_flops(operator()) / expected - 1) < 0.1  # and elementwise work


def test_an_output_costs_a_matrix_product_a_layer():
    network = FCN(width=WIDTH, depth=3).build((INPUTS,), CLASSES, seed=0)
    assert forward_flops(network) == pytest.approx(2 * (INPUTS * WIDTH + WIDTH * WIDTH + WIDTH * CLASSES), rel=0.1)


def costs(*overrides):
    return estimate(load_config("quickstart", ["sweep.widths=[64]", "sweep.seeds=1", *overrides]), RATE)[0]


@pytest.mark.slow
def test_estimates_grow_with_what_is_asked_for():
    base = costs()
    assert costs("sweep.seeds=3").flops == pytest.approx(3 * base.flops)
    assert costs("sharpness.examples=2048").flops > 1.5 * base.flops
    assert costs("sweep.search=exhaustive").hvps > 5 * base.hvps
    assert costs("sharpness.solver=power").hvps > base.hvps
    assert costs("optimizer={momentum: 0.9}").hvps == base.hvps
    assert costs("optimizer={name: adam}").hvps > 2 * base.hvps


@pytest.mark.slow
def test_a_transformer_is_estimated_by_its_tokens():
    text = "data={dataset: shakespeare, context_length: %d}"
    small = ("model={family: transformer}", "sweep.depths=[1]", "sweep.widths=[16]")
    short, long = (costs(*small, text % length) for length in (8, 32))
    assert 3.5 < long.flops / short.flops < 8  # attention grows by the square


def test_the_time_follows_from_the_rate_of_the_device():
    config = load_config("quickstart", ["sweep.widths=[512]", "sweep.seeds=1"])
    slow, fast = (estimate(config, rate)[0] for rate in (1e10, 1e11))
    assert slow.flops == fast.flops
    assert slow.seconds - fast.seconds == pytest.approx(slow.flops * (1e-10 - 1e-11))

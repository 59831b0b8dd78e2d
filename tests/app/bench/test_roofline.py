import numpy as np
import pytest
import tensorflow as tf
from problems import operator_of

from app.bench.roofline import Roofline, measure_roofline, product_flops
from app.losses import build_loss
from models import FCN

EXAMPLES, INPUTS, WIDTH, CLASSES = 64, 50, 32, 10


def operator():
    network = FCN(width=WIDTH, depth=3).build((INPUTS,), CLASSES, seed=0)
    x = tf.random.stateless_normal([EXAMPLES, INPUTS], [0, 0])
    y = tf.one_hot(tf.range(EXAMPLES) % CLASSES, CLASSES)
    return operator_of(network, build_loss("mse"), x, y)


def test_a_product_costs_two_matrix_products_in_the_first_layer_and_six_in_every_other():
    matrices = 2 * INPUTS * WIDTH + 6 * (WIDTH * WIDTH + WIDTH * CLASSES)
    expected = 2 * EXAMPLES * matrices
    assert abs(product_flops(operator()) / expected - 1) < 0.1  # and elementwise work


def test_rates_follow_from_times_and_counts():
    rates = Roofline(matrix_rate=4e11, product_flops=2e9, product_seconds=0.01, lanczos_seconds=0.012)
    assert rates.share == pytest.approx(0.5)
    assert rates.vector_share == pytest.approx(0.2)
    assert rates.overhead_seconds == pytest.approx(0.007)


def test_every_part_is_measured():
    rates = measure_roofline(operator())
    assert rates.matrix_rate > 1e8
    assert rates.product_flops == product_flops(operator())
    assert np.isfinite([rates.product_seconds, rates.lanczos_seconds]).all()

import numpy as np
import pytest
import tensorflow as tf
from problems import operator_of

from app.bench.roofline import Roofline, measure_roofline
from app.losses import build_loss
from app.sweep.cost import product_flops
from models import FCN

EXAMPLES, INPUTS, WIDTH, CLASSES = 64, 50, 32, 10


def operator():
    network = FCN(width=WIDTH, depth=3).build((INPUTS,), CLASSES, seed=0)
    x = tf.random.stateless_normal([EXAMPLES, INPUTS], [0, 0])
    y = tf.one_hot(tf.range(EXAMPLES) % CLASSES, CLASSES)
    return operator_of(network, build_loss("mse"), x, y)


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

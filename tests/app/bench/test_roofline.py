import numpy as np
import pytest
from problems import classification, operator_of

from sharpness_phases.bench.roofline import Roofline, measure_roofline
from sharpness_phases.models import FCN
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.pace import product_flops


def operator():
    network = FCN(width=32, depth=3).build((50,), 10, seed=0)
    return operator_of(network, build_loss("mse"), *classification(64, (50,), 10, dtype=np.float32))


def test_rates_follow_from_times_and_counts():
    rates = Roofline(4e11, 2e9, 0.01, 0.012, matrix_core_rate=2e11, product_core_seconds=0.016)
    assert rates.share == pytest.approx(0.5)
    assert rates.core_share == pytest.approx(0.625)
    assert rates.vector_share == pytest.approx(0.2)
    assert rates.overhead_seconds == pytest.approx(0.007)


@pytest.mark.slow
def test_every_part_is_measured():
    rates = measure_roofline(operator())
    assert rates.matrix_rate > 1e8
    assert rates.product_flops == product_flops(operator())
    assert rates.matrix_core_rate > 1e8
    assert np.isfinite([rates.product_seconds, rates.lanczos_seconds, rates.product_core_seconds]).all()

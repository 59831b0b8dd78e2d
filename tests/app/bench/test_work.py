import time

import pytest

from sharpness_phases.bench.work import Prices, Work, timed


def test_operations_follow_from_counts_and_prices():
    prices = Prices(forward=10.0, product=40.0, batch_size=4, examples=8)
    assert prices.flops(Work(steps=1)) == 3 * 10 * 4  # forward and backward
    assert prices.flops(Work(evaluated=5)) == 5 * 10
    assert prices.flops(Work(gradients=2)) == 2 * 3 * 10 * 8
    assert prices.flops(Work(products=3)) == 3 * 40 * 8
    assert prices.flops(Work(1, 5, 2, 3)) == 120 + 50 + 480 + 960


def test_time_and_memory_of_a_call_are_watched():
    def work():
        block = bytearray(200 * 2**20)
        time.sleep(0.2)
        return len(block)

    before = timed(lambda: None)[1].memory
    result, cost = timed(work)
    assert result == 200 * 2**20
    assert cost.seconds >= 0.2
    assert cost.memory - before > 150 * 2**20


def test_an_error_ends_the_watch_and_passes_through():
    with pytest.raises(ZeroDivisionError):
        timed(lambda: 1 / 0)

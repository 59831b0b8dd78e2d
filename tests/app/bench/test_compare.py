import json

import pytest
from tiny import TINY

from sharpness_phases.bench.compare import compare, transient_alone
from sharpness_phases.commands.bench_tables import conclusion, remarks, ways_table
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError

CONFIG = [*TINY, "sweep.widths=[8]", "sweep.seeds=1", "sweep.lr_exponents={start: -1, stop: 8, step: 1.0}"]
MEASURED_ON_ALL = ["data.train_examples=256", "sharpness.examples=256"]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def comparison():
    return next(compare(load_config("quickstart", [*CONFIG, *MEASURED_ON_ALL]), repeats=1))


def test_both_ways_find_the_same_constants_on_the_same_networks_data_and_batches(comparison):
    # Measured on all training examples, the losses of both are the same.
    assert comparison.default.constants == pytest.approx(comparison.exhaustive.constants)
    known = [value for value in comparison.grid_steps.values() if value == value]
    assert known
    assert all(abs(steps) <= 1 for steps in known)


def test_the_protocol_takes_21_products_at_every_step_of_every_c(comparison):
    assert comparison.protocol.products % 21 == 0
    assert comparison.protocol.products > 10 * comparison.default.products
    assert comparison.protocol.flops > comparison.exhaustive.flops > comparison.default.flops


def test_the_figures_are_written_as_json_and_as_text(comparison):
    plain = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert plain["speedup"] == pytest.approx(plain["protocol"]["seconds"] / plain["default"]["seconds"])
    assert plain["default"]["memory"] > 1e8
    assert ways_table(comparison).row_count == 3
    text = " ".join(remarks(comparison))
    assert f"{comparison.lambda_0_products} products" in text
    assert conclusion([comparison]).startswith("Median over 1")


def test_momentum_is_refused():
    with pytest.raises(UserError, match=r"training\.momentum"):
        next(compare(load_config("quickstart", [*CONFIG, "training.momentum=0.9"])))


def test_only_what_the_protocol_measures_is_compared():
    long = [*CONFIG, "training.steps=6", "sweep.search=exhaustive", "analysis={transient_steps: 4, saturation: true}"]
    config = transient_alone(load_config("quickstart", [*long, "sharpness={examples: 64, solver: power, every: 2}"]))
    assert (config.sweep.search, config.sharpness.solver, config.sharpness.every) == ("adaptive", "lanczos", 1)
    assert config.training.steps == config.transient_steps == 4
    assert not config.analysis.saturation

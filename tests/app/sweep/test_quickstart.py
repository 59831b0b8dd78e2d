"""What the quickstart must show; it runs once for all tests of this file (under a minute)."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from sharpness_phases.config.loading import load_config
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.data.preprocessing import batch_indices
from sharpness_phases.experiment import Experiment
from sharpness_phases.runs.spec import cells
from sharpness_phases.sweep.simulator import Simulator
from sharpness_phases.training.tracing import traced

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory):
    return Experiment(load_config("quickstart"), tmp_path_factory.mktemp("quickstart")).run()


def mean(analyzer, constant, width):
    summary = analyzer.summary.set_index(["constant", "width"])
    return summary.loc[(constant, width), "mean"]


def test_the_sharpness_reduction_phase_opens_up_with_one_over_width(analyzer):
    narrow, wide = mean(analyzer, "c_loss", 64), mean(analyzer, "c_loss", 512)
    assert narrow >= 2.5 * wide
    assert 2 <= wide <= 4


def test_the_constants_are_of_the_order_of_the_independent_measurement(analyzer):
    assert 3.0 <= mean(analyzer, "c_sharp", 512) <= 4.8
    assert 9.0 <= mean(analyzer, "c_max", 512) <= 12.0
    assert 13.0 <= mean(analyzer, "c_loss", 64) <= 18.0


def test_a_second_eigenvalue_close_to_the_first_hides_no_catapult(analyzer):
    """Of w = 512, initialisation 2: a sharpness known too loosely gave c_sharp = 4.29, the whole grid 3.73."""
    constants = analyzer.critical_constants().query("width == 512 and seed == 2")
    assert abs(np.log2(constants["c_sharp"].item() / 3.7321)) < 0.05


def test_lanczos_needs_at_most_18_products_for_lambda_0_and_9_to_decide_on_average(analyzer):
    runs = analyzer.runs
    initial = runs[(runs["question"] == "initial") & (runs["step"] == 0)]["hvps"]
    decisions = runs[(runs["step"] > 0) & runs["residual"].notna()]["hvps"]
    assert len(initial) == 16
    assert initial.mean() <= 18
    assert decisions.mean() <= 9


@pytest.mark.long
def test_measurements_along_runs_take_at_most_16_products_on_average_and_are_good_to_1e_3():
    config = load_config("quickstart", ["sweep.widths=[64,256]", "sweep.seeds=1"])
    simulator, solver = Simulator(config), Lanczos(tolerance=1e-5)
    data, batches = simulator.data, batch_indices(len(simulator.data.x), 512, 10, 0)
    products, errors = [], []
    for cell in cells(config):
        model = simulator.model(cell)
        weights, operator = model.network.get_weights(), model.tracker.operator
        noise = 0.01 * tf.math.l2_normalize(tf.random.stateless_normal([operator.size], [1, 1]))
        exact = traced(lambda v, of=operator, w=noise: solver.solve(of.linearize().matvec, v + w).eigenvalue)
        for c in (1, 2, 4, 8):
            model.network.set_weights(weights)
            model.optimizer.learning_rate = c / model.sharpness().eigenvalue
            for batch in batches:
                model.train_on_batch(data.x[batch], data.y[batch])
                found = model.sharpness()
                products.append(found.hvps)
                errors.append(abs(found.eigenvalue / float(exact(tf.constant(found.eigenvector))) - 1))
    assert len(products) == 80
    assert np.mean(products) <= 16
    assert np.max(errors) <= 1e-3


def test_no_initialisation_is_censored_or_out_of_order(analyzer):
    constants = analyzer.critical_constants()
    assert len(constants) == 16
    assert (constants[[f"{name}_censored" for name in ("c_loss", "c_sharp", "c_max")]] == "").all(axis=None)
    assert analyzer.violations().empty


def test_reading_the_folder_again_gives_the_same_tables(analyzer, tmp_path_factory):
    folder = next(tmp_path_factory.getbasetemp().glob("quickstart*"))
    again = pd.read_csv(folder / "critical_constants.csv", keep_default_na=True, float_precision="round_trip")
    pd.testing.assert_series_equal(again["c_loss"], analyzer.critical_constants()["c_loss"], check_exact=True)

"""Real long runs: what they go through is what Cohen et al. (ICLR 2021) and Kalra & Barkeshli (2023) describe."""

import numpy as np
import pytest

from sharpness_phases import Experiment
from sharpness_phases.analysis.regimes import Regime

ONE = ["sweep.seeds=1", "tensorboard=false"]


@pytest.fixture(scope="module", params=["regimes_tanh", "regimes_relu"])
def analyzer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return Experiment.from_config(f"laptop/{request.param}", ONE, folder).run()


def normalized(run):
    """lambda_t eta / 2 at every step, interpolated between measurements."""
    known = run["sharpness"].notna()
    ratio = run["sharpness"][known] * run["learning_rate"].iloc[0] / 2
    return np.interp(run["step"], run["step"][known], ratio)


@pytest.mark.long
def test_full_batch_gradient_descent_sharpens_progressively_then_stays_at_the_edge_of_stability(analyzer):
    table = analyzer.regime_table()
    runs = analyzer.runs[analyzer.runs["question"] == "whole"].groupby("run_id")
    assert len(runs) == 3  # learning rates
    for run_id, labels in table.groupby("run_id"):
        print(f"c = {labels['c'].iloc[0]:.2f}:", *labels[["regime", "start", "stop"]].to_numpy().tolist())
        assert labels["regime"].tolist()[-2:] == [Regime.PROGRESSIVE_SHARPENING, Regime.EDGE_OF_STABILITY]
        rising, edge = (labels.iloc[i] for i in (-2, -1))
        ratio = normalized(runs.get_group(run_id))
        assert ratio[edge["start"]] > 1.1 * ratio[rising["start"] : rising["stop"]].min()
        near = np.abs(ratio[edge["start"] :] - 1) <= 0.15
        assert np.convolve(near, np.ones(100), "valid").max() == 100  # 100 steps in a row within 15% of 2/eta

import json

import numpy as np
import pytest
import tables

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.phases import Phase
from sharpness_phases.analysis.regimes import Regime, regimes
from sharpness_phases.analysis.tables import summary_json
from sharpness_phases.config.loading import load_config

OVERRIDES = [
    "sweep.depths=[2,4]",
    "sweep.widths=[8,16,32]",
    "sweep.seeds=3",
    "sweep.lr_exponents={start: 0, stop: 4, step: 0.5}",
]
LONG = ["sweep.search=exhaustive", "training.steps=20", "analysis.transient_steps=10"]
CONFIG = load_config("quickstart", OVERRIDES)


@pytest.fixture(scope="module")
def findings():
    return Findings(tables.runs(), CONFIG)


def test_the_constants_come_as_a_tidy_table_of_its_own(findings):
    table = findings.critical_constants()
    assert len(table) == 18
    table["c_loss"] = 0.0
    assert (findings.critical_constants()["c_loss"] > 0).all()


def test_every_table_that_is_handed_out_may_be_changed(findings):
    for table in (
        lambda: findings.critical_constants(),
        lambda: findings.summary,
        lambda: findings.trajectories(),
        lambda: findings.saturation(),
        lambda: findings.critical(),
    ):
        before = list(table().columns)
        table().insert(0, "more", 0)
        assert list(table().columns) == before


def test_a_phase_follows_from_the_boundaries_of_the_summary(findings):
    place = findings.summary.set_index(["depth", "width", "constant"]).loc[(4, 8), "boundary"]
    assert findings.phase(c=0.99 * place["c_loss"], depth=4, width=8) is Phase.SHARPNESS_REDUCTION
    assert findings.phase(c=1.01 * place["c_loss"], depth=4, width=8) is Phase.LOSS_CATAPULT
    assert findings.phase(c=1.01 * place["c_sharp"], depth=4, width=8) is Phase.LOSS_AND_SHARPNESS_CATAPULT
    assert findings.phase(c=1.01 * place["c_max"], depth=4, width=8) is Phase.DIVERGENT


def test_a_network_that_was_not_run_names_the_known_ones(findings):
    with pytest.raises(KeyError, match=r"depth 3, width 8.*\(2, 8\)"):
        findings.phase(c=1.0, depth=3, width=8)


def test_a_run_is_found_by_its_id_with_its_learning_rate_and_its_regimes(findings):
    trajectory, learning_rate = findings.run("4-8-0-0.5-whole")
    assert learning_rate == 2.0**0.5
    assert findings.regimes("4-8-0-0.5-whole")[-1].stop == trajectory.steps + 1
    assert findings.regimes("4-8-0-3.5-whole")[-1] == (Regime.DIVERGENT, 5, 6)
    with pytest.raises(KeyError, match="'nothing'"):
        findings.regimes("nothing")


def test_the_edge_of_a_run_is_that_of_its_optimizer(findings):
    heavy = Findings(tables.runs(), load_config("quickstart", [*OVERRIDES, *LONG, "training.momentum=0.9"]))
    assert (findings.edge_constant, heavy.edge_constant) == (2.0, pytest.approx(3.8))
    assert findings.edge("4-8-0-0.5-whole") == 2 / 2.0**0.5
    assert heavy.edge("4-8-0-0.5-whole") == pytest.approx(3.8 / 2.0**0.5)
    assert (findings.edge_in_words, heavy.edge_in_words) == ("2/η", "2(1 + m)/η")


@pytest.mark.parametrize(
    ("settings", "start"),
    [("training.warmup_steps=4", 0.0), ("optimizer.warmup={steps: 4, start: 0.2}", 0.2)],
)
def test_with_a_warm_up_the_edge_moves_and_the_regimes_are_held_against_it(settings, start):
    slow = Findings(tables.runs(), load_config("quickstart", [*OVERRIDES, *LONG, settings]))
    rate = 2.0**0.5 * (start + (1 - start) * np.minimum(1, np.arange(1, 12) / 4))
    np.testing.assert_allclose(slow.edge("4-8-0-0.5-whole"), 2 / rate)
    run, _ = slow.run("4-8-0-0.5-whole")
    expected = [(s.regime.value, s.start, s.stop) for s in regimes(run, 2 / rate)]
    table = slow.regime_table()
    mine = table[table["run_id"] == "4-8-0-0.5-whole"]
    assert list(mine[["regime", "start", "stop"]].itertuples(index=False, name=None)) == expected


def test_regimes_are_not_claimed_where_the_edge_is_not_known():
    own = Findings(tables.runs(), load_config("quickstart", [*OVERRIDES, *LONG, "optimizer={name: 'mine:Own'}"]))
    assert own.regime_table().empty
    assert np.isnan(own.edge("4-8-0-0.5-whole"))
    with pytest.raises(ValueError, match="stability edge, which is not known of mine:Own"):
        own.regimes("4-8-0-0.5-whole")


def test_runs_are_long_only_where_the_config_lets_them_go_on_beyond_the_transient(findings):
    assert findings.regime_table().empty
    assert findings.regime_agreement().empty
    long = Findings(tables.runs(), load_config("quickstart", [*OVERRIDES, *LONG]))
    table = long.regime_table()
    assert set(table["run_id"]) == set(tables.runs()["run_id"])
    one = table[table["run_id"] == "4-8-0-0.5-whole"]
    segments = [(segment.regime.value, segment.start, segment.stop) for segment in long.regimes("4-8-0-0.5-whole")]
    assert list(one[["regime", "start", "stop"]].itertuples(index=False, name=None)) == segments
    assert set(long.regime_agreement()["n"]) == {3}


def test_what_is_not_known_is_told(findings):
    assert findings.constants_are_known
    assert not findings.saturation_is_known
    assert not Findings(tables.runs().iloc[:1], CONFIG).constants_are_known


def test_the_title_says_what_was_trained_on_what(findings):
    assert findings.title == "FCN, ReLU, MSE on Fashion-MNIST, 4096 images"
    normalized = findings.config.changed(model={"normalization": "batch"})
    assert (
        Findings(tables.runs(), normalized).title
        == "FCN with batch normalization, ReLU, MSE on Fashion-MNIST, 4096 images"
    )
    zero = findings.config.changed(model={"output_layer": "zero", "output_scale": 0.3})
    assert Findings(tables.runs(), zero).title.startswith("FCN, ReLU, zero output, output x 0.3, MSE on")
    linear = load_config("quickstart", ["model={family: linear_fcn}", "loss=xent"])
    assert Findings(tables.runs(), linear).title == "linear FCN, cross-entropy on Fashion-MNIST, 4096 images"


def test_the_summary_becomes_json_with_null_for_what_is_not_known(findings):
    entries = summary_json(findings.summary)
    assert [(e["depth"], e["width"]) for e in entries] == [(d, w) for d in (2, 4) for w in (8, 16, 32)]
    of_the_known = {"mean", "median", "q25", "q75", "n", "n_low", "n_high", "n_censored"}
    places = {"boundary", "boundary_q25", "boundary_q75"}
    assert set(entries[0]["c_loss"]) == of_the_known | places | {f"{place}_censored" for place in places}
    assert set(entries[0]["c_crit"]) - set(entries[0]["c_loss"]) == {"interval95_low", "interval95_high"}
    assert entries[0]["c_crit"]["mean"] is None
    assert entries[0]["c_crit"]["boundary"] is None


def test_a_censored_boundary_is_null_in_json_and_says_on_which_side():
    summary = Findings(tables.runs(c_sharp=99), CONFIG).summary
    assert set(summary[summary["constant"] == "c_sharp"]["boundary"]) == {float("inf")}
    c_sharp = summary_json(summary)[0]["c_sharp"]
    assert (c_sharp["boundary"], c_sharp["boundary_censored"]) == (None, "high")
    assert (c_sharp["boundary_q25"], c_sharp["boundary_q25_censored"]) == (None, "high")
    json.dumps(summary_json(summary), allow_nan=False)

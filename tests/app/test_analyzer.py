import pytest
import tables

from sharpness_phases import Phase, PhaseAnalyzer
from sharpness_phases.analysis.regimes import Regime
from sharpness_phases.analysis.tables import summary_json
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError

CONFIG = load_config(
    "quickstart",
    [
        "sweep.depths=[2,4]",
        "sweep.widths=[8,16,32]",
        "sweep.seeds=3",
        "sweep.lr_exponents={start: 0, stop: 4, step: 0.5}",
    ],
)


@pytest.fixture(scope="module")
def analyzer():
    return PhaseAnalyzer(tables.runs(), CONFIG)


def test_the_constants_come_as_a_tidy_table_of_its_own(analyzer):
    table = analyzer.critical_constants()
    assert len(table) == 18
    table["c_loss"] = 0.0
    assert (analyzer.critical_constants()["c_loss"] > 0).all()


def test_a_phase_follows_from_the_constants_averaged_over_initialisations(analyzer):
    mean = analyzer.summary.set_index(["depth", "width", "constant"]).loc[(4, 8), "mean"]
    assert analyzer.phase(c=0.99 * mean["c_loss"], depth=4, width=8) is Phase.SHARPNESS_REDUCTION
    assert analyzer.phase(c=1.01 * mean["c_loss"], depth=4, width=8) is Phase.LOSS_CATAPULT
    assert analyzer.phase(c=1.01 * mean["c_sharp"], depth=4, width=8) is Phase.LOSS_AND_SHARPNESS_CATAPULT
    assert analyzer.phase(c=1.01 * mean["c_max"], depth=4, width=8) is Phase.DIVERGENT


def test_a_network_that_was_not_run_names_the_known_ones(analyzer):
    with pytest.raises(KeyError, match=r"depth 3, width 8.*\(2, 8\)"):
        analyzer.phase(c=1.0, depth=3, width=8)


def test_regimes_of_a_run_are_found_by_its_id(analyzer):
    assert analyzer.regimes("4-8-0-3.5-whole")[0].regime is Regime.DIVERGENT
    assert analyzer.regimes("4-8-0-0.0-whole")[0].start == 0
    with pytest.raises(KeyError, match="'nothing'"):
        analyzer.regimes("nothing")


def test_the_diagram_is_saved(analyzer, tmp_path):
    assert analyzer.phase_diagram().save(tmp_path / "diagram.pdf").read_bytes().startswith(b"%PDF")


def test_the_summary_becomes_json_with_null_for_what_is_not_known(analyzer):
    entries = summary_json(analyzer.summary)
    assert [(e["depth"], e["width"]) for e in entries] == [(d, w) for d in (2, 4) for w in (8, 16, 32)]
    assert set(entries[0]["c_loss"]) == {"mean", "median", "q25", "q75", "n", "n_low", "n_high", "n_censored"}
    assert entries[0]["c_crit"]["mean"] is None


def test_a_folder_that_is_no_experiment_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match=r"no config.yaml in it"):
        PhaseAnalyzer.load(tmp_path)

import pandas as pd
import pytest
from tiny import TINY

from sharpness_phases import Experiment, PhaseAnalyzer
from sharpness_phases.analysis.audit import verdict
from sharpness_phases.sweep.audit import audit, chosen_rows

MOMENTUM = ["loss=xent", "training.momentum=0.9", "sweep.widths=[8]", "sweep.seeds=1", "sharpness.examples=128"]
WHOLE = ["sweep.search=exhaustive", "sweep.lr_exponents={start: 0, stop: 6, step: 2}"]


@pytest.fixture(scope="module", params=[WHOLE, pytest.param([], marks=pytest.mark.slow)], ids=["whole grid", "search"])
def analyzer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "tiny"
    Experiment.from_config("quickstart", [*TINY, *MOMENTUM, *request.param], folder).run_shard((1, 1))
    return PhaseAnalyzer.load(folder)


def test_an_audit_finds_what_is_wrong_and_nothing_else(analyzer, figure):
    lambda_0 = analyzer.runs["question"] == "initial"
    rows = analyzer.runs.loc[chosen_rows(analyzer.runs, 0.3).index.union(analyzer.runs.index[lambda_0])]
    runs = analyzer.runs.copy()
    runs.loc[lambda_0, "sharpness"] *= 1.01
    found = pd.DataFrame(audit(analyzer.config, runs, rows))
    wrong = found["question"] == "initial"
    assert (found["stored"] / found["truth"])[wrong].item() == pytest.approx(1.01, abs=1e-3)
    result = verdict(found[~wrong])
    assert result.holds
    assert result.not_repeated == 0
    assert result.errors[0].number or result.decisions
    figure(f"largest error {result.errors[0].largest:.1e} of {result.errors[0].number} converged sharpnesses")


@pytest.mark.slow
def test_an_experiment_is_audited_as_it_lies_in_its_folder(analyzer, tmp_path):
    config = analyzer.config.changed(name="audited")
    Experiment(config, tmp_path / "audited").run()
    found, path = Experiment(config, tmp_path / "audited").audit(share=0.3)
    assert found.holds
    assert len(pd.read_csv(path)) == sum(errors.number for errors in found.errors)


def test_a_share_of_the_measurements_is_chosen_and_lambda_0_once(analyzer):
    runs = analyzer.runs
    everything = chosen_rows(runs, 1.0)
    assert everything["sharpness"].notna().all()
    assert (everything["step"] == 0).sum() == 1
    assert len(chosen_rows(runs, 0.5)) == round(0.5 * len(everything))
    assert not chosen_rows(runs, 0.5, seed=1).index.equals(chosen_rows(runs, 0.5, seed=0).index)

"""An experiment along one more axis, from its config to the diagram over it."""

import json

import numpy as np
import pandas as pd
import pytest
from tiny import TINY

from sharpness_phases import Experiment, PhaseAnalyzer
from sharpness_phases.errors import UserError
from sharpness_phases.store.runs import RunStore
from sharpness_phases.views.pictures import picture

SMALL = [*TINY, "sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false", "sharpness.examples=32"]
OVER = "sweep.over={optimizer.momentum: [0.0, 0.9]}"


@pytest.mark.slow
def test_every_value_is_an_experiment_of_its_own_and_the_diagram_goes_along_them(tmp_path):
    folder = tmp_path / "out"
    experiment = Experiment.from_config("quickstart", [*SMALL, OVER], folder)
    analyzer = experiment.run()
    table = pd.read_csv(folder / "critical_constants.csv")
    assert table["optimizer.momentum"].tolist() == [0.0, 0.9]
    assert table.columns[0] == "optimizer.momentum"
    for value, settings in ((0.0, []), (0.9, ["optimizer={momentum: 0.9}"])):
        alone = Experiment.from_config("quickstart", [*SMALL, *settings], tmp_path / f"alone-{value}").run()
        pd.testing.assert_frame_equal(
            analyzer.variants[value].critical_constants(), alone.critical_constants(), check_exact=True
        )
        assert (folder / f"optimizer.momentum={value}" / "report.html").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert [entry["optimizer.momentum"] for entry in summary] == [0.0, 0.9]
    figure = analyzer.phase_diagram().draw()
    axes = figure.axes[0]
    assert axes.get_ylabel() == "optimizer.momentum"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "0.9"]
    assert "eta_" in axes.get_xlabel()
    assert (folder / "phase_diagram.svg").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    again = Experiment.open(folder).run()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before
    pd.testing.assert_frame_equal(again.critical_constants(), PhaseAnalyzer.load(folder).critical_constants())


@pytest.mark.slow
def test_what_is_of_one_value_is_not_shown_of_all(tmp_path):
    folder = tmp_path / "out"
    experiment = Experiment.from_config("quickstart", [*SMALL, "sweep.over={training.batch_size: [32, 64]}"], folder)
    analyzer = experiment.run()
    with pytest.raises(ValueError, match=r"depends on training\.batch_size: ask variants\[value\]"):
        analyzer.phase(2.0, 2, 8)
    with pytest.raises(UserError, match="only the diagram along it is drawn"):
        picture(analyzer, "trajectories")
    with pytest.raises(UserError, match="phases audit: needs one experiment"):
        experiment.audit()
    runs = analyzer.runs
    name = runs["run_id"][(runs["training.batch_size"] == 32) & (runs["question"] != "initial")].iloc[-1]
    assert np.isfinite(analyzer.edge(name))
    plain = Experiment.from_config("quickstart", [*SMALL, "training.batch_size=32"], folder / "training.batch_size=32")
    stored = len(RunStore(plain.folder / "runs"))
    plain.run()
    assert len(RunStore(plain.folder / "runs")) == stored


def test_a_folder_with_runs_of_another_experiment_is_left_alone(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds runs of an experiment without `sweep\.over`"):
        Experiment.from_config("quickstart", [*SMALL, OVER], tmp_path).run()
    assert not (tmp_path / "config.yaml").exists()

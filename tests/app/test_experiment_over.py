"""An experiment along one more axis, from its config to the diagram over it."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import phases_here
from tiny import TINY

from sharpness_phases import Experiment, PhaseAnalyzer
from sharpness_phases.errors import UserError
from sharpness_phases.store.runs import RunStore
from sharpness_phases.views.pictures import picture

SMALL = [*TINY, "sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false", "sharpness.examples=32"]
OVER = "sweep.over={optimizer.momentum: [0.0, 0.9]}"


@pytest.mark.long
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
    with pytest.raises(UserError, match="only diagram and final_loss along it are drawn"):
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


@pytest.mark.slow
def test_along_a_warm_up_the_final_loss_is_drawn_written_and_told(tmp_path):
    settings = ["training={batch_size: 32, steps: 6}", "sweep.lr_exponents={start: 0, stop: 6, step: 2}"]
    axis = "sweep.over={optimizer.warmup.steps: [0, 4]}"
    words = [word for text in (*SMALL, *settings, axis, "sweep.search=exhaustive") for word in ("-s", text)]
    folder = tmp_path / "out"
    told = phases_here("run", "quickstart", *words, "--output", folder, folder=tmp_path).stdout
    table = pd.read_csv(folder / "final_loss.csv")
    assert table.columns[0] == "optimizer.warmup.steps"
    runs = PhaseAnalyzer.load(folder).runs
    ends = runs[(runs["step"] == 6) & ~runs["diverged"]].set_index(["optimizer.warmup.steps", "c"])["loss"]
    here = table[np.isfinite(table["final_loss"])].set_index(["optimizer.warmup.steps", "c"])["final_loss"]
    assert len(here) > 2
    np.testing.assert_allclose(here.sort_index(), ends.sort_index())
    slow = runs[(runs["optimizer.warmup.steps"] == 4) & (runs["c"] == 1) & (runs["question"] == "whole")]
    np.testing.assert_allclose(slow["edge"] * slow["learning_rate"], 2 / np.array([0.25, 0.5, 0.75, 1, 1, 1, 1]))
    assert "Final loss: median over initialisations" in told
    assert (folder / "final_loss.svg").exists()
    assert f"Final loss:    {folder / 'final_loss.png'}, final_loss.svg, final_loss.csv" in told.replace("\n", "")


def test_a_folder_with_runs_of_another_experiment_is_left_alone(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds runs of an experiment without `sweep\.over`"):
        Experiment.from_config("quickstart", [*SMALL, OVER], tmp_path).run()
    assert not (tmp_path / "config.yaml").exists()

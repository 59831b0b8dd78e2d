import errno
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny import TINY

from sharpness_phases import Experiment, PhaseAnalyzer
from sharpness_phases.analyzer import compare
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import MachineError, UserError

pytestmark = pytest.mark.usefixtures("kept_networks")
ALL = (1, 1)
"""The one shard that has all cells: they are computed and nothing is drawn."""


def experiment(folder, *overrides):
    return Experiment.from_config("quickstart", [*TINY, *overrides], folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment") / "tiny"
    experiment(folder).run()
    return folder


def test_a_run_writes_every_promised_file(folder):
    tables, pictures = "config.yaml critical_constants.csv summary.json", "phase_diagram.png phase_diagram.svg"
    for name in f"{tables} {pictures} trajectories.png report.html".split():
        assert (folder / name).stat().st_size > 0
    assert (folder / "tensorboard").is_dir()
    assert list((folder / "runs").glob("*.parquet"))


def test_the_config_that_is_written_can_be_run_and_tells_the_environment(folder):
    config = load_config(folder / "config.yaml")
    assert set(config.environment) == {"sharpness-phases", "tensorflow", "keras", "numpy", "device"}
    assert config.changed(environment=None) == load_config("quickstart", TINY)


def test_the_tables_are_those_of_the_analyzer(folder):
    analyzer = PhaseAnalyzer.load(folder)
    table = pd.read_csv(folder / "critical_constants.csv")
    assert table["c_loss"].tolist() == pytest.approx(analyzer.critical_constants()["c_loss"].tolist(), nan_ok=True)
    assert len(json.loads((folder / "summary.json").read_text())) == 2
    assert {"model", "dataset", "loss", "lambda_0", "loss_0", "c_barrier", "c_crit_censored"} <= set(table.columns)


def test_a_second_run_computes_nothing_does_not_need_tensorflow_and_gives_the_same_tables(folder):
    before = {name: (folder / name).read_bytes() for name in ("critical_constants.csv", "summary.json", "config.yaml")}
    code = (
        "import sys; from sharpness_phases import Experiment; from sharpness_phases.config.loading import load_config;"
        f"Experiment(load_config({str(folder / 'config.yaml')!r}), {str(folder)!r}).run();"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name, content in before.items():
        assert (folder / name).read_bytes() == content


@pytest.mark.slow
def test_the_same_config_gives_bit_identical_tables(folder, tmp_path):
    experiment(tmp_path).run()
    for name in ("critical_constants.csv", "summary.json", "phase_diagram.svg", "phase_diagram.png"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


SMALL = ("sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false")
OTHER_CONFIGS = [
    ("training.steps=3", "training.steps: 4 there, 3 here"),
    ("loss=xent", "loss: mse there, xent here"),
    ("model.output_layer=zero", "model.output_layer: default there, zero here"),
    ("sharpness.tolerance=1e-2", "sharpness.tolerance: 0.001 there, 0.01 here"),
    ("device.tensor_float_32=true", "device.tensor_float_32: false there, true here"),
]


@pytest.mark.parametrize(("override", "difference"), OTHER_CONFIGS)
def test_a_config_with_other_runs_is_refused_in_a_folder_that_has_some(override, difference, folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for act in (experiment(folder, override).run, lambda: experiment(folder, override).run_shard((1, 2))):
        with pytest.raises(UserError) as refusal:
            act()
        assert str(refusal.value) == (
            f"{folder} holds runs of another config ({difference}). "
            "Choose --output DIR for another folder, or --fresh to set them aside"
        )
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "mine"
    experiment(folder, *SMALL).run_shard(ALL)
    return folder


@pytest.fixture
def stored(stored_once, tmp_path):
    """A folder with one network's runs, to do with as one likes."""
    return shutil.copytree(stored_once, tmp_path / "mine")


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["sweep.seeds=2"], marks=pytest.mark.slow),
        ["sweep.widths=[16]", "sweep.depths=[2,3]", "sweep.lr_exponents.stop=5.0"],
        ["analysis={loss_tolerance: 0.01, barrier: true}", "name=renamed", "tensorboard=true"],
        ["executor={kind: serial, cpus_per_run: 2.0}", "device.xla=never", "sharpness.chunk_size=32"],
    ],
    ids=["more seeds", "other networks", "another look", "another machine"],
)
def test_a_config_that_asks_for_more_of_the_same_runs_or_looks_at_them_otherwise_goes_on(overrides, stored, caplog):
    caplog.set_level("INFO")
    before = {path.name for path in (stored / "runs").iterdir()}
    experiment(stored, *SMALL, *overrides).run_shard(ALL)
    assert before <= {path.name for path in (stored / "runs").iterdir()}
    assert "config.yaml is replaced" in caplog.text
    assert load_config(stored / "config.yaml").changed(environment=None) == experiment(None, *SMALL, *overrides).config


@pytest.mark.slow
def test_a_config_without_runs_may_be_replaced(tmp_path):
    experiment(tmp_path, *SMALL, "training.steps=3").run_shard(ALL)
    for path in (tmp_path / "runs").iterdir():
        path.unlink()
    experiment(tmp_path, *SMALL).run_shard(ALL)
    assert load_config(tmp_path / "config.yaml").training.steps == 4


def test_fresh_keeps_the_other_config_beside_its_runs(stored):
    old = (stored / "config.yaml").read_bytes()
    analyzer = experiment(stored, *SMALL, "training.steps=3").run(fresh=True)
    assert analyzer.runs["step"].max() == 3
    assert (stored / "config.yaml.old-1").read_bytes() == old
    assert (stored / "runs.old-1").is_dir()
    assert load_config(stored / "config.yaml").training.steps == 3


def test_runs_whose_config_cannot_be_read_are_left_alone(stored):
    (stored / "config.yaml").write_text("name: [unclosed")
    with pytest.raises(
        UserError, match=r"holds runs of a config that cannot be read \(.*config.yaml:1.*--output.*--fresh"
    ):
        experiment(stored, *SMALL).run()


@pytest.mark.parametrize("override", ["training.steps=3", "sweep.seeds=3", "analysis.loss_tolerance=0.1"])
def test_a_second_config_is_refused_while_another_is_being_run_in_the_folder(override, tmp_path):
    refusals = []

    class Meanwhile:
        def started(self, cells):
            for second in (override, "sharpness.chunk_size=64"):
                try:
                    experiment(tmp_path, *SMALL, second).run_shard((2, 2))
                except UserError as refusal:
                    refusals.append(str(refusal))

        def finished(self, cell, computed): ...

    experiment(tmp_path, *SMALL).run_shard(ALL, Meanwhile())
    (refusal,) = refusals  # chunks change no table
    assert "holds the work of another process, with another config" in refusal
    assert override.partition("=")[0] in refusal
    assert "--output DIR" in refusal
    assert "--fresh, once it has ended" in refusal


@pytest.mark.slow
def test_where_locks_are_refused_a_second_config_is_refused_as_soon_as_there_is_one(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("sharpness_phases.store.claims.fcntl.lockf", refuse)
    refusals = []

    class Meanwhile:
        def started(self, cells):
            with pytest.raises(UserError, match="--output DIR") as refusal:
                experiment(tmp_path, *SMALL, "training.steps=3").run()
            refusals.append(refusal)

        def finished(self, cell, computed): ...

    experiment(tmp_path, *SMALL).run(Meanwhile())
    assert len(refusals) == 1
    experiment(tmp_path, *SMALL, "training.steps=3").run(fresh=True)


def test_where_locks_are_refused_no_unfinished_file_is_taken_for_that_of_a_killed_process(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(37, "No locks available")

    (tmp_path / "runs").mkdir()
    of_another = tmp_path / "runs" / ".unfinished-01234567-a.parquet"
    of_another.write_bytes(b"half")
    monkeypatch.setattr("sharpness_phases.store.claims.fcntl.lockf", refuse)
    experiment(tmp_path, *SMALL).run_shard((1, 2))
    assert of_another.read_bytes() == b"half"
    monkeypatch.undo()
    experiment(tmp_path, *SMALL).run_shard((1, 2))
    assert not of_another.exists()


@pytest.mark.slow
def test_what_an_earlier_look_at_the_folder_has_shown_and_this_one_has_not_is_removed(tmp_path):
    of_the_earlier = [tmp_path / "phase_diagram_over_depth.png", tmp_path / "tensorboard"]
    experiment(tmp_path, "sweep.depths=[2,3]", "sweep.widths=[8]", "sweep.seeds=1").run()
    kept = len(list((tmp_path / "runs").glob("*")))
    assert all(path.exists() for path in of_the_earlier)
    analyzer = experiment(tmp_path, *SMALL).run()
    assert len(list((tmp_path / "runs").glob("*"))) == kept
    assert len(analyzer.critical_constants()) == 1
    assert not any(path.exists() for path in of_the_earlier)
    assert (tmp_path / "phase_diagram.png").exists()


@pytest.mark.slow
def test_fresh_sets_old_runs_aside(tmp_path):
    small = ("sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false")
    experiment(tmp_path, *small).run()
    old = sorted(path.name for path in (tmp_path / "runs").iterdir())
    counts = []

    class Counting:
        def started(self, cells): ...

        def finished(self, cell, computed):
            counts.append(computed)

    experiment(tmp_path, *small).run(Counting(), fresh=True)
    assert counts == [len(old)]
    assert sorted(path.name for path in (tmp_path / "runs.old-1").iterdir()) == old
    assert not (tmp_path / "tensorboard").exists()


def test_other_versions_are_reported_before_runs_are_mixed(folder, tmp_path, caplog):
    (tmp_path / "runs").mkdir()
    for path in (folder / "runs").iterdir():
        (tmp_path / "runs" / path.name).write_bytes(path.read_bytes())
    text = (folder / "config.yaml").read_text()
    version = load_config(folder / "config.yaml").environment["tensorflow"]
    (tmp_path / "config.yaml").write_text(text.replace(f"tensorflow: {version}", "tensorflow: 1.15.0"))
    experiment(tmp_path).run_shard(ALL)
    assert f"tensorflow 1.15.0 -> {version}" in caplog.text


def test_analyze_redraws_from_stored_runs_only(folder):
    (folder / "phase_diagram.png").unlink()
    Experiment.open(folder).analyze()
    assert (folder / "phase_diagram.png").exists()


def test_analyzing_a_folder_without_runs_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match="no config.yaml"):
        Experiment.open(tmp_path)
    with pytest.raises(UserError, match="no finished runs of this config; start them"):
        experiment(tmp_path).analyze()


def test_runs_of_other_settings_are_counted_where_none_of_the_config_are_stored(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "config.yaml"
    path.write_text(re.sub(r"batch_size: \d+", "batch_size: 77", path.read_text()))
    with pytest.raises(UserError, match=r"no finished runs of this config \(\d+ are stored: of other settings"):
        PhaseAnalyzer.load(tmp_path / "copy")


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_is_finished(tmp_path):
    class Interrupt:
        def started(self, cells): ...

        def finished(self, cell, computed):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment(tmp_path).run(Interrupt())
    assert len(list((tmp_path / "runs").glob("*.parquet"))) > 5
    assert Experiment.open(tmp_path).analyze().critical_constants()["seed"].tolist() == [0]


def test_a_folder_that_cannot_be_written_is_a_users_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written there"):
        experiment(tmp_path / "file" / "results").run()


def test_data_that_cannot_be_loaded_leave_no_folder_behind(tmp_path, monkeypatch):
    import sharpness_phases.data.preprocessing as preprocessing

    def absent(name, data_dir):
        raise UserError("no such data")

    monkeypatch.setattr(preprocessing, "load_image_set", absent)
    with pytest.raises(UserError, match="no such data"):
        experiment(tmp_path / "new" / "results").run()
    assert list(tmp_path.iterdir()) == []


def test_the_plan_counts_parameters_runs_and_products():
    estimates = experiment(None, "sweep.widths=[8,16]").plan()
    assert [e.width for e in estimates] == [8, 16]
    assert [e.parameters for e in estimates] == [784 * w + 10 * w for w in (8, 16)]
    assert all(e.runs > 0 and e.hvps > e.runs and e.flops > 0 and e.seconds > 0 for e in estimates)


def test_an_exhaustive_plan_counts_the_whole_grid():
    (estimate,) = experiment(None, "sweep.widths=[8]", "sweep.search=exhaustive", "sweep.seeds=1").plan()
    assert estimate.runs == 8  # c = 1, 1.4, ..., 11.3 lie below 12


def test_the_initial_sharpness_is_that_of_the_runs(folder):
    measured = {cell.name: state.sharpness for cell, state in experiment(None).initial_sharpness()}
    table = pd.read_csv(folder / "critical_constants.csv")
    stored = {f"d{r.depth}_w{r.width}_s{r.seed}": r.lambda_0 for r in table.itertuples()}
    assert measured == pytest.approx(stored)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """An experiment with everything that can be asked for: long runs, two depths, barrier, saturation."""
    folder = tmp_path_factory.mktemp("everything") / "all"
    overrides = ["sweep.depths=[2,3]", "sweep.widths=[16]", "sweep.search=exhaustive", "training.steps=30"]
    overrides += ["analysis={transient_steps: 4, barrier: true, saturation: true, saturation_time: 20.0}"]
    overrides += ["sharpness.every=5", "sweep.lr_exponents.step=1.0", "tensorboard=false"]
    return experiment(folder, *overrides).run(), folder


@pytest.mark.slow
def test_what_is_asked_for_in_addition_is_written(everything):
    analyzer, folder = everything
    pictures = "saturation saturation_diagram regimes phase_diagram_over_depth phase_diagram_over_ratio"
    for name in pictures.split():
        assert (folder / f"{name}.png").stat().st_size > 5000
    constants = pd.read_csv(folder / "critical_constants.csv")
    assert constants["c_barrier"].notna().any()
    assert (constants["c_crit"].notna() | constants["c_crit_censored"].notna()).all()
    summary = json.loads((folder / "summary.json").read_text())
    assert all(entry["c_crit"]["n"] + entry["c_crit"]["n_censored"] == 2 for entry in summary)
    assert len(analyzer.saturation()) >= 5 * 4


@pytest.mark.slow
def test_the_regimes_of_all_long_runs_are_in_a_table_and_their_agreement_in_another(everything):
    analyzer, folder = everything
    table = pd.read_csv(folder / "regimes.csv")
    assert set(table["run_id"]) == set(analyzer.runs.query("question == 'whole'")["run_id"])
    for _, run in table.groupby("run_id"):
        assert run["start"].tolist() == [0, *run["stop"][:-1]]
    agreement = analyzer.regime_agreement()
    assert (agreement["n"] == 2).all()
    assert agreement["agreement"].between(0, 1).all()


def test_runs_that_cannot_be_read_are_not_blamed_on_the_sheet(folder, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("sharpness_phases.store.records.pq.ParquetFile", refuse)
    for act in (lambda: compare([folder], tmp_path / "sheet.png"), Experiment.open(folder).analyze):
        with pytest.raises(MachineError, match=r"runs/\w+.parquet: Permission denied"):
            act()


@pytest.mark.slow
def test_several_experiments_are_drawn_on_one_sheet(everything, folder, tmp_path):
    assert compare([folder, everything[1]], tmp_path / "sheet.png", "width").stat().st_size > 10_000
    with pytest.raises(UserError, match="not the folder of an experiment"):
        compare([folder, tmp_path], tmp_path / "sheet.png")


@pytest.mark.slow
def test_plan_counts_the_runs_of_the_saturation_and_the_lines_of_the_barrier():
    plain, saturated, barrier = (
        sum(e.flops for e in experiment(None, *extra).plan())
        for extra in ([], ["analysis.saturation=true"], ["analysis.barrier=true"])
    )
    assert saturated > 2 * plain
    assert np.isfinite(barrier)
    assert barrier > plain

import subprocess
import sys

import numpy as np
import pytest
import tables
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from app.views import tensorboard
from app.views.tensorboard import SWEEP, write_tensorboard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from app.views.diagram import PhaseDiagram

    folder = tmp_path_factory.mktemp("tb")
    picture = PhaseDiagram(tables.summary()).save(folder / "d.png")
    write_tensorboard(folder / "tb", tables.trajectories(), tables.constants(), {"phase_diagram": picture})
    return folder / "tb"


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(accumulator, tag):
    return {e.step: float(e.tensor_proto.float_val[0]) for e in accumulator.Tensors(tag)}


def test_every_run_has_its_folder_with_the_promised_scalars(folder):
    run = events(folder / "d2_w8_s0" / "c=2^1.5")
    tags = set(run.Tags()["tensors"])
    assert tags == {"loss", "accuracy", "sharpness", "sharpness/normalized", "sharpness/threshold"}
    assert scalars(run, "loss")[0] == 1.0
    assert sorted(scalars(run, "sharpness")) == list(range(11))
    assert scalars(run, "sharpness/threshold")[4] == pytest.approx(2 / 2**1.5)


def test_there_is_a_folder_for_every_run_and_initialisation(folder):
    sessions = [path for path in folder.iterdir() if path.name != SWEEP]
    assert len(sessions) == 2 * 3 * 3
    assert all(len([p for p in session.iterdir() if p.is_dir()]) == 8 for session in sessions)


def test_values_that_are_not_finite_are_left_out(folder):
    diverged = events(folder / "d2_w8_s0" / "c=2^3.5")
    assert np.isfinite(list(scalars(diverged, "sharpness").values())).all()
    assert len(scalars(diverged, "sharpness")) == 5


def test_hparams_show_the_constants_of_every_initialisation(folder):
    session = events(folder / "d4_w16_s1")
    row = tables.constants().set_index(["depth", "width", "seed"]).loc[(4, 16, 1)]
    assert scalars(session, "c_loss")[0] == pytest.approx(row["c_loss"])
    content = session.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (hparams["depth"].number_value, hparams["width"].number_value) == (4, 16)
    assert hparams["loss"].string_value == "mse"


def test_the_list_of_hyperparameters_names_only_constants_that_were_measured(folder):
    sweep = events(folder / SWEEP)
    content = sweep.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert {"depth", "width", "seed"} <= {info.name for info in experiment.hparam_infos}
    assert [m.name.tag for m in experiment.metric_infos] == ["lambda_0", "loss_0", "c_loss", "c_sharp", "c_max"]


def test_the_pictures_are_there(folder):
    width, height, png = events(folder / SWEEP).Tensors("phase_diagram")[0].tensor_proto.string_val
    assert png[1:4] == b"PNG"
    assert int(width) > int(height) > 100


def test_writing_again_replaces_what_was_there(tmp_path):
    for depths in ((2, 4), (2,)):
        shape = {"depths": depths, "widths": (8,), "seeds": 1}
        write_tensorboard(tmp_path / "tb", tables.trajectories(**shape), tables.constants(**shape))
    assert sorted(p.name for p in (tmp_path / "tb").iterdir()) == ["d2_w8_s0", SWEEP]


def test_of_very_many_runs_those_of_the_first_initialisations_are_shown_and_it_is_said(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(tensorboard, "MAX_RUNS", 60)
    monkeypatch.setattr(tensorboard, "MAX_INITIALISATIONS", 8)
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants())
    with_runs = {path.name for path in tmp_path.iterdir() if list(path.glob("c=*"))}
    assert with_runs == {f"d{d}_w{w}_s0" for d in (2, 4) for w in (8, 16, 32)} | {"d2_w8_s1"}
    assert len([path for path in tmp_path.iterdir() if path.name != SWEEP]) == 8
    assert "8 of 18 with their constants, the trajectories of 7" in caplog.text


def test_no_complete_initialisation_is_no_obstacle(tmp_path):
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants().iloc[:0])
    assert (tmp_path / SWEEP).is_dir()


def test_it_is_written_without_tensorflow():
    code = "import sys, app.views.tensorboard; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

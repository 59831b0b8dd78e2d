import re
import subprocess
import sys

import numpy as np
import pytest
import tables
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import metadata

from sharpness_phases.analysis.phases import Phase
from sharpness_phases.runs.edge import edge_constant
from sharpness_phases.views import tensorboard
from sharpness_phases.views.tensorboard import PICTURES, SWEEP, write_tensorboard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from sharpness_phases.views.diagram import PhaseDiagram

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


def hparams(accumulator):
    content = accumulator.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    found = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


def experiment(folder):
    content = events(folder / SWEEP).SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    return metadata.parse_experiment_plugin_data(content)


def run_folders(folder):
    return sorted(path for path in folder.glob("*/*") if path.is_dir())


def test_every_run_has_its_folder_with_the_promised_scalars(folder):
    run = events(folder / "d2_w8_s0" / "c=2^1.5")
    tags = {tag for tag in run.Tags()["tensors"] if tag.partition("/")[0] in ("loss", "accuracy", "sharpness")}
    assert tags == {"loss", "accuracy", "sharpness", "sharpness/normalized", "sharpness/threshold"}
    assert scalars(run, "loss")[0] == 1.0
    assert sorted(scalars(run, "sharpness")) == list(range(11))
    assert scalars(run, "sharpness/threshold")[4] == pytest.approx(2 / 2**1.5)


def test_there_is_a_folder_for_every_run(folder):
    assert len(run_folders(folder)) == 2 * 3 * 3 * 8
    assert sorted(path.name for path in (folder / "d4_w32_s2").iterdir()) == [f"c=2^{x / 2:g}" for x in range(8)]


def test_values_that_are_not_finite_are_left_out(folder):
    diverged = events(folder / "d2_w8_s0" / "c=2^3.5")
    assert np.isfinite(list(scalars(diverged, "sharpness").values())).all()
    assert len(scalars(diverged, "sharpness")) == 5


def test_hparams_of_every_run_have_the_same_keys_and_no_gaps(folder):
    found = [hparams(events(path)) for path in run_folders(folder)]
    assert {tuple(sorted(values)) for values in found} == {("c", "depth", "phase", "seed", "width")}
    assert hparams(events(folder / "d4_w16_s1" / "c=2^1.5")) == {
        "c": 2**1.5,
        "depth": 4,
        "width": 16,
        "seed": 1,
        "phase": "loss catapult",
    }


def test_phases_follow_the_constants_of_the_runs_own_initialisation(folder):
    phases = [hparams(events(folder / "d2_w8_s0" / f"c=2^{x / 2:g}"))["phase"] for x in range(8)]
    expected = ["sharpness reduction"] * 4 + ["loss catapult"] + ["loss and sharpness catapult"] * 2 + ["divergent"]
    assert phases == expected


def test_the_constants_of_the_initialisation_are_metrics_of_its_runs(folder):
    row = tables.constants().set_index(["depth", "width", "seed"]).loc[(4, 16, 1)]
    for run in map(events, (folder / "d4_w16_s1").iterdir()):
        assert scalars(run, "constants/c_loss")[0] == pytest.approx(row["c_loss"])
        assert scalars(run, "constants/lambda_0")[0] == pytest.approx(row["lambda_0"])


def test_a_censored_constant_is_absent(tmp_path):
    constants = tables.constants()
    constants[["c_max", "c_max_censored"]] = (np.nan, "high")
    write_tensorboard(tmp_path, tables.trajectories(), constants)
    run = events(tmp_path / "d2_w8_s0" / "c=2^3.5")
    assert "constants/c_max" not in run.Tags()["tensors"]
    assert hparams(run)["phase"] == "loss and sharpness catapult"


def test_runs_tell_their_final_loss_unless_they_ended_early_and_their_highest_sharpness(folder):
    catapult, diverged = (events(folder / "d2_w8_s0" / f"c=2^{x}") for x in (2.5, 3.5))
    assert scalars(catapult, "result/final_loss")[0] == 0.5
    assert scalars(catapult, "result/max_normalized_sharpness")[0] == 1.5
    assert "result/final_loss" not in diverged.Tags()["tensors"]


@pytest.mark.slow
def test_while_the_search_goes_on_the_phase_is_unknown(tmp_path):
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants().iloc[:1])
    assert hparams(events(tmp_path / "d4_w16_s1" / "c=2^1.5"))["phase"] == "unknown"


def test_the_table_has_a_column_for_everything_that_was_measured_and_the_values_to_choose_from(folder):
    found = experiment(folder)
    assert [info.name for info in found.hparam_infos] == ["c", "depth", "width", "seed", "phase"]
    assert list(found.hparam_infos[2].domain_discrete) == [8, 16, 32]
    assert set(found.hparam_infos[4].domain_discrete) == {str(phase) for phase in Phase} - {Phase.EARLY_SHARPENING}
    names = [info.display_name for info in found.metric_infos]
    assert names == ["final loss", "max normalized sharpness", "c_loss", "c_sharp", "c_max", "lambda_0", "loss_0"]


def test_the_threshold_is_the_edge_of_the_optimizer_that_ran(tmp_path):
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants(), edge_constant=edge_constant(momentum=0.9))
    run = events(tmp_path / "d2_w8_s0" / "c=2^1.5")
    assert scalars(run, "sharpness/threshold")[4] == pytest.approx(3.8 / 2**1.5)


def test_a_run_that_tells_its_edge_and_floor_has_them_at_every_step(tmp_path):
    runs = tables.trajectories()
    told = runs.assign(edge=10.0 - runs["step"], participation=0.25, at_floor=np.where(runs["step"] == 2, 0.5, np.nan))
    write_tensorboard(tmp_path, told, tables.constants(), edge_constant=float("nan"))
    run = events(tmp_path / "d2_w8_s0" / "c=2^1.5")
    assert scalars(run, "sharpness/threshold")[4] == 6.0
    assert scalars(run, "sharpness/participation")[1] == 0.25
    assert scalars(run, "sharpness/at_floor") == {2: 0.5}


def test_no_threshold_is_drawn_where_the_edge_is_not_known(tmp_path):
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants(), edge_constant=float("nan"))
    assert "sharpness/threshold" not in events(tmp_path / "d2_w8_s0" / "c=2^1.5").Tags()["tensors"]


def test_sharpness_and_threshold_are_laid_out_in_one_chart(folder):
    text = events(folder / SWEEP).Tensors(layout_metadata.CONFIG_SUMMARY_TAG)[0].tensor_proto.string_val[0]
    (category,) = layout_pb2.Layout.FromString(text).category
    tags = events(folder / "d2_w8_s0" / "c=2^1.5").Tags()["tensors"]
    drawn = {c.title: {t for t in tags for p in c.multiline.tag if re.fullmatch(p, t)} for c in category.chart}
    assert drawn == {
        "Sharpness and its threshold, the edge": {"sharpness", "sharpness/threshold"},
        "Sharpness, normalized: lambda_t / lambda_0": {"sharpness/normalized"},
        "Loss": {"loss"},
        "Accuracy": {"accuracy"},
    }


def test_the_pictures_are_there(folder):
    width, height, png = events(folder / PICTURES).Tensors(f"{PICTURES}/phase_diagram")[0].tensor_proto.string_val
    assert png[1:4] == b"PNG"
    assert int(width) > int(height) > 100


def test_the_pictures_come_first_among_runs_and_tags(folder):
    runs = [str(path.parent.relative_to(folder)) for path in folder.rglob("events.out.tfevents.*")]
    tags = {tag for run in runs for tag in events(folder / run).Tags()["tensors"] if not tag.startswith("_")}
    assert min(runs) == PICTURES
    assert min(tags) == f"{PICTURES}/phase_diagram"


def test_writing_again_replaces_what_was_there(tmp_path):
    for depths in ((2, 4), (2,)):
        shape = {"depths": depths, "widths": (8,), "seeds": 1}
        write_tensorboard(tmp_path / "tb", tables.trajectories(**shape), tables.constants(**shape))
    assert sorted(p.name for p in (tmp_path / "tb").iterdir()) == ["d2_w8_s0", SWEEP]


def test_of_very_many_runs_those_of_the_first_initialisations_are_shown_and_it_is_said(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(tensorboard, "MAX_RUNS", 60)
    monkeypatch.setattr(tensorboard, "MAX_INITIALISATIONS", 9)
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants())
    numbers = {path.name: len(list(path.glob("c=*"))) for path in tmp_path.iterdir() if path.name != SWEEP}
    complete = {f"d{d}_w{w}_s0" for d in (2, 4) for w in (8, 16, 32)} | {"d2_w8_s1"}
    assert {name for name, number in numbers.items() if number == 8} == complete
    assert {name for name, number in numbers.items() if number == 1} == {"d2_w16_s1", "d2_w32_s1"}
    assert "all runs of 7 of 18, and one run each of 2 more" in caplog.text


def test_the_one_run_of_a_further_initialisation_is_the_last_one_that_does_not_diverge(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "MAX_RUNS", 1)
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants())
    assert [path.name for path in (tmp_path / "d4_w32_s2").iterdir()] == ["c=2^3"]


def test_no_run_is_no_obstacle(tmp_path):
    write_tensorboard(tmp_path, tables.trajectories().iloc[:0], tables.constants().iloc[:0])
    assert (tmp_path / SWEEP).is_dir()


@pytest.mark.slow
def test_no_complete_initialisation_is_no_obstacle(tmp_path):
    write_tensorboard(tmp_path, tables.trajectories(), tables.constants().iloc[:0])
    assert (tmp_path / SWEEP).is_dir()


def test_it_is_written_without_tensorflow():
    code = "import sys, sharpness_phases.views.tensorboard; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

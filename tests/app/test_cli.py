"""The command line as a user meets it: in a process of its own."""

import signal
import subprocess
import sys
import time

import pytest
from command_line import overridden, phases, start

_OVERRIDES = (
    "sweep.widths=[8]",
    "sweep.depths=[2]",
    "sweep.seeds=1",
    "data.train_examples=256",
    "training.batch_size=64",
    "training.steps=4",
    "sharpness.examples=64",
    "sweep.lr_exponents.step=0.5",
)
TINY = overridden(_OVERRIDES)


BAD = {
    "unknown key": ["quickstart", "-s", "sweep.width=[8]"],
    "width 0": ["quickstart", "-s", "sweep.widths=[0]"],
    "steps -1": ["quickstart", "-s", "training.steps=-1"],
    "missing file": ["missing.yaml"],
    "not YAML": ["bad.yaml"],
    "measurement set larger than the data": ["quickstart", "-s", "sharpness.examples=5000"],
    "unknown data set": ["quickstart", "-s", "data.dataset=imagenet"],
    "unknown family": ["quickstart", "-s", "model.family=vgg"],
    "unwritable output": ["quickstart", "--output", "bad.yaml/results"],
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_message_status_2_and_nothing_written(case, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: [unclosed")
    result = phases("run", *BAD[case], folder=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "quickstart", "-s", "training.steps=-1"]])
def test_help_and_config_errors_do_not_import_tensorflow(arguments, tmp_path):
    code = (
        "import sys; sys.argv = ['phases', *sys.argv[1:]]\n"
        "from app.cli import main\n"
        "try: main()\n"
        "finally: print('TF' if {'tensorflow', 'keras'} & set(sys.modules) else 'light')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines()[-1] == "light"


def test_unknown_commands_and_missing_arguments_have_status_2(tmp_path):
    assert phases("fly", folder=tmp_path).returncode == 2
    assert phases("run", folder=tmp_path).returncode == 2


def test_a_whole_run_prints_the_table_and_the_diagrams_path_and_nothing_of_tensorflows(tmp_path):
    result = phases("run", "quickstart", *TINY, folder=tmp_path)
    assert result.returncode == 0
    assert "c_loss" in result.stdout
    assert "outputs/quickstart/phase_diagram.png" in result.stdout
    assert "1/1 d2_w8_s0" in result.stderr
    for noise in ("oneDNN", "cuda", "WARNING"):
        assert noise not in result.stderr
    again = phases("run", "quickstart", *TINY, folder=tmp_path)
    assert "complete already" in again.stderr
    assert again.stdout == result.stdout
    redone = phases("analyze", "outputs/quickstart", folder=tmp_path)
    assert redone.stdout == result.stdout


def test_plan_and_sharpness_print_tables_and_write_nothing(tmp_path):
    plan = phases("plan", "quickstart", *TINY, folder=tmp_path)
    assert plan.returncode == 0
    assert "6,352" in plan.stdout  # parameters: 784 * 8 + 8 * 10
    sharpness = phases("sharpness", "quickstart", *TINY, folder=tmp_path)
    assert sharpness.returncode == 0
    assert "lambda_0" in sharpness.stdout
    assert list(tmp_path.iterdir()) == []


def test_analyze_of_a_folder_that_is_none_has_status_2(tmp_path):
    result = phases("analyze", tmp_path, folder=tmp_path)
    assert result.returncode == 2
    assert "no config.yaml" in result.stderr


@pytest.mark.slow
def test_ctrl_c_keeps_finished_runs_and_says_how_to_go_on(tmp_path):
    process = start("run", "quickstart", "-s", "sweep.widths=[64]", "-s", "sweep.seeds=50", folder=tmp_path)
    runs = tmp_path / "outputs" / "quickstart" / "runs"
    deadline = time.monotonic() + 120
    while len(list(runs.glob("*.parquet"))) < 30 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Finished runs are kept in outputs/quickstart" in errors
    assert "phases run quickstart -s sweep.widths=[64] -s sweep.seeds=50" in errors
    assert "Traceback" not in errors
    assert len(list(runs.glob("*.parquet"))) >= 30


def test_every_shipped_config_is_listed_with_a_line(tmp_path):
    lines = phases("configs", folder=tmp_path).stdout.splitlines()
    assert any(line.startswith("quickstart ") for line in lines)
    assert any(line.startswith("laptop/fcn_mse ") for line in lines)
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_experiments_are_compared_and_a_folder_that_is_none_is_named(tmp_path):
    for name in ("one", "two"):
        assert phases("run", "quickstart", *TINY, "-s", f"name={name}", folder=tmp_path).returncode == 0
    result = phases("compare", "outputs/one", "outputs/two", folder=tmp_path)
    assert result.returncode == 0
    assert result.stdout.split() == ["Comparison:", "outputs/comparison.png"]
    refused = phases("compare", "outputs/one", "outputs/three", folder=tmp_path)
    assert refused.returncode == 2
    assert "outputs/three" in refused.stderr


def test_the_uv_model_is_held_against_its_exact_solution(tmp_path):
    arguments = ["-s", "sweep.widths=[8,64]", "-s", "sweep.seeds=3", "-s", "sweep.lr_exponents.stop=2.5"]
    result = phases("uv", *arguments, folder=tmp_path)
    assert result.returncode == 0
    rows = [line.split() for line in result.stdout.splitlines() if line.split()[:1] in (["8"], ["64"])]
    assert [row[3] for row in rows] == ["0", "0"]  # grid steps apart
    assert all(float(value) < 0.05 for row in rows for value in row[4:])
    assert (tmp_path / "outputs" / "laptop-uv" / "phase_diagram.png").exists()
    refused = phases("uv", "quickstart", folder=tmp_path)
    assert refused.returncode == 2
    assert "model.family uv" in refused.stderr

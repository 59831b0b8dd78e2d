"""The command line as a user meets it; in a process of its own where what that does is the point."""

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import tables
from command_line import overridden, phases, phases_here, start

from sharpness_phases.commands.main import app
from sharpness_phases.config.loading import dump_config, load_config
from sharpness_phases.store.runs import RunStore
from sharpness_phases.views.tensorboard import write_tensorboard

pytestmark = pytest.mark.usefixtures("kept_networks")

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
    "a tag": ["quickstart", "-s", "tensorboard=!!bool x"],
    "a width of 10^30": ["quickstart", "-s", f"sweep.widths=[{10**30}]"],
    "a hundred million seeds": ["quickstart", "-s", "sweep.seeds=100000000"],
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_message_status_2_and_nothing_written(case, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: [unclosed")
    result = phases_here("run", *BAD[case], folder=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)


def test_help_and_config_errors_do_not_import_tensorflow(tmp_path):
    asked = [["--help"], *([name, "--help"] for name in COMMANDS), ["run", "quickstart", "-s", "training.steps=-1"]]
    code = (
        "import json, sys\n"
        "from sharpness_phases.commands.main import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['phases', *arguments]\n"
        "    try: main()\n"
        "    except SystemExit: heavy = {'tensorflow', 'keras'} & set(sys.modules)\n"
        "    print('FOUND', *arguments, *heavy)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    found = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("FOUND")]
    assert found == asked
    assert "training.steps" in result.stderr


def test_unknown_commands_and_missing_arguments_have_status_2(tmp_path):
    assert phases("fly", folder=tmp_path).returncode == 2
    assert phases_here("run", folder=tmp_path).returncode == 2


def test_a_whole_run_prints_the_table_and_the_diagrams_path_and_nothing_of_tensorflows(tmp_path):
    result = phases("run", "quickstart", *TINY, folder=tmp_path)
    assert result.returncode == 0
    assert "c_loss" in result.stdout
    lines = dict(line.split(":", 1) for line in result.stdout.splitlines() if line.partition(":")[2])
    assert lines["Phase diagram"].split() == ["outputs/quickstart/phase_diagram.png,", "phase_diagram.svg"]
    assert lines["Tables"].split() == ["outputs/quickstart/critical_constants.csv,", "summary.json"]
    assert lines["All files"].strip() == "outputs/quickstart"
    assert lines["TensorBoard"].strip() == "phases board outputs/quickstart"
    assert "1/1 d2_w8_s0" in result.stderr
    for noise in ("oneDNN", "cuda", "WARNING"):
        assert noise not in result.stderr
    again = phases_here("run", "quickstart", *TINY, folder=tmp_path)
    assert "complete already" in again.stderr
    assert again.stdout == result.stdout
    quiet = phases_here("--quiet", "run", "quickstart", *TINY, folder=tmp_path)
    assert (quiet.stderr, quiet.stdout) == ("", result.stdout)
    verbose = phases_here("analyze", "outputs/quickstart", "-v", folder=tmp_path)
    assert verbose.stdout == result.stdout
    assert "Drew outputs/quickstart/phase_diagram.png" in verbose.stderr
    assert "Drew" not in again.stderr
    refused = phases_here("run", "quickstart", *TINY, "-s", "training.steps=3", folder=tmp_path)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "training.steps: 4 there, 3 here" in refused.stderr
    assert "--output DIR" in refused.stderr
    assert "--fresh" in refused.stderr


@pytest.mark.slow
def test_plan_and_sharpness_print_tables_and_figures_and_write_nothing_else(tmp_path):
    plan = phases_here("plan", "quickstart", *TINY, "--json", "plan.json", folder=tmp_path)
    assert plan.returncode == 0
    assert "6,352" in plan.stdout
    written = json.loads((tmp_path / "plan.json").read_text())
    assert written["networks"][0]["parameters"] == 784 * 8 + 8 * 10
    assert written["runs"] == sum(network["runs"] for network in written["networks"])
    sharpness = phases_here("sharpness", "quickstart", *TINY, "--json", "-", folder=tmp_path)
    assert sharpness.returncode == 0
    [network] = json.loads(sharpness.stdout)["networks"]
    assert network["learning_rate_at_c_2"] == network["learning_rate_at_edge"] == 2 / network["lambda_0"]
    assert f"{network['lambda_0']:.6g}" in sharpness.stderr  # the table, for people
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


ASCII = os.environ | {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.long
def test_a_locale_without_utf_8_changes_no_file_and_ends_no_command(tmp_path):
    place = tmp_path / "wie\u00dfe"
    place.mkdir()
    (place / "\u03bb.yaml").write_text("name: mine\nsweep: {depths: [2], widths: [8]}\n", encoding="utf-8")
    named = ["--output", "wie\u00dfe/out"]
    run = phases("run", "wie\u00dfe/\u03bb.yaml", *TINY, *named, folder=tmp_path, env=ASCII)
    assert run.returncode == 0, run.stderr
    read = phases("plot", "wie\u00dfe/out", folder=tmp_path, env=ASCII)
    assert read.returncode == 0, read.stderr
    assert phases("configs", folder=tmp_path, env=ASCII).returncode == 0
    config = place / "out" / "config.yaml"
    config.write_text(config.read_text("utf-8").replace("data_dir: null", "data_dir: /wie\u00dfe"), encoding="utf-8")
    assert phases("run", config, *named, folder=tmp_path, env=ASCII).returncode == 0
    assert load_config(config).data.data_dir == "/wie\u00dfe"
    assert len(RunStore(place / "out" / "runs")) > 5


@pytest.mark.slow
def test_a_network_that_is_too_large_for_any_machine_is_refused_in_words(tmp_path):
    for command in ("run", "plan", "sharpness"):
        result = phases_here(command, "quickstart", "-s", "sweep.widths=[1000000]", folder=tmp_path)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
        assert "d4_w1000000_s0 is too large for this machine: it needs at least" in result.stderr
        assert "Lower sweep.widths" in result.stderr


def test_a_place_where_figures_cannot_be_written_is_refused_before_the_config_is_read(tmp_path):
    result = phases_here("plan", "missing.yaml", "--json", tmp_path, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"--json {tmp_path}: a folder" in result.stderr


def test_the_version_is_printed(tmp_path):
    name, version = phases_here("--version", folder=tmp_path).stdout.split()
    assert name == "phases"
    assert version[0].isdigit()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_ends_with_examples_that_are_of_it(command, tmp_path):
    text = phases_here(command, "--help", folder=tmp_path).stdout
    examples = text.partition("Examples:")[2].split("\n")
    lines = [line.strip() for line in examples if line.strip().startswith("phases ")]
    assert lines
    assert all(line.split()[1] == command for line in lines)


COMPLETIONS = {
    "phases pl": ["plan", "plot"],
    "phases run quick": ["quickstart"],
    "phases run laptop/fcn_": ["laptop/fcn_layer_norm", "laptop/fcn_mse", "laptop/fcn_xent"],
    "phases run my": ["my.yaml"],
    "phases analyze out": ["outputs/"],
    "phases analyze outputs/": ["outputs/one"],
    "phases plot outputs/one --kind sat": ["saturation", "saturation_diagram"],
    "phases plot outputs/one --style p": ["paper"],
}


@pytest.mark.parametrize("line", COMPLETIONS)
def test_a_shell_completes_commands_configs_folders_and_kinds(line, tmp_path, monkeypatch):
    (tmp_path / "my.yaml").touch()
    (tmp_path / "outputs" / "one").mkdir(parents=True)
    (tmp_path / "outputs" / "two").mkdir()
    (tmp_path / "outputs" / "one" / "config.yaml").touch()
    monkeypatch.setenv("_PHASES_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    result = phases_here(folder=tmp_path)
    assert result.stdout.splitlines() == COMPLETIONS[line]


def on_a_terminal(*arguments, folder, **environment):
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sharpness_phases", *arguments]
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    settings = inherited | {"TERM": "xterm-256color"} | environment
    process = subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=settings)
    os.close(theirs)
    shown = b""
    while True:
        try:
            news = os.read(ours, 4096)
        except OSError:  # the other end is closed
            news = b""
        if not news:
            break
        shown += news
    process.wait()
    os.close(ours)
    return shown.decode()


@pytest.mark.slow
def test_colours_are_for_terminals_without_no_color(tmp_path):
    red = "\x1b[31m"
    assert red in on_a_terminal("run", "missing", folder=tmp_path)
    assert red not in on_a_terminal("run", "missing", folder=tmp_path, NO_COLOR="1")
    assert "\x1b" not in phases("run", "missing", folder=tmp_path).stderr
    assert "\x1b" not in phases("--help", folder=tmp_path).stdout


@pytest.mark.slow
def test_hours_of_work_are_announced_before_it_begins(tmp_path):
    process = start("run", "quickstart", *TINY, "-s", "sweep.seeds=100000", folder=tmp_path)
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert first.startswith("This will take about ")
    assert process.returncode == 130


def with_config(folder):
    """A folder as that of an experiment."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(load_config("quickstart")))


def listening(process):
    """The address that a starting board prints."""
    line = process.stdout.readline()
    return next(word for word in line.split() if word.startswith("http"))


def test_the_board_serves_this_machine_until_ctrl_c(tmp_path):
    with_config(tmp_path / "outputs" / "quickstart")
    runs, constants = tables.trajectories(depths=(2,), widths=(8,)), tables.constants(depths=(2,), widths=(8,))
    write_tensorboard(tmp_path / "outputs" / "quickstart" / "tensorboard", runs, constants)
    process = start("board", "outputs/quickstart", "--port", "0", folder=tmp_path, stdout=subprocess.PIPE, stderr=None)
    try:
        address = listening(process)
        port = address.rstrip("/").rpartition(":")[2]
        assert address.startswith("http://localhost:")
        page = urllib.request.urlopen(address, timeout=20).read()
        assert b"TensorBoard" in page
        refused = phases("board", "outputs/quickstart", "--port", port, folder=tmp_path)
        assert refused.returncode == 2
        assert "outputs/quickstart" in refused.stderr
        assert port in refused.stderr
        others = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "::1"}
        for other in (place for place in others if not place.startswith("127.")):
            with socket.socket(socket.AF_INET6 if ":" in other else socket.AF_INET) as visitor:
                assert visitor.connect_ex((other, int(port))) != 0
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_board_with_nothing_to_show_names_the_folder(tmp_path):
    with_config(tmp_path / "outputs" / "quickstart")
    result = phases("board", "outputs/quickstart", folder=tmp_path)
    assert result.returncode == 2
    assert "outputs/quickstart: nothing to show" in result.stderr
    assert "outputs/none" in phases_here("board", "outputs/none", folder=tmp_path).stderr


def test_analyze_of_a_folder_that_is_none_has_status_2(tmp_path):
    result = phases_here("analyze", tmp_path, folder=tmp_path)
    assert result.returncode == 2
    assert "no config.yaml" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("command", "config"), [("run", "quickstart"), ("uv", "laptop/uv")])
def test_ctrl_c_keeps_finished_runs_and_says_how_to_go_on(command, config, tmp_path):
    process = start(command, config, "-s", "sweep.widths=[64]", "-s", "sweep.seeds=50", folder=tmp_path)
    name = config.replace("/", "-")
    runs = tmp_path / "outputs" / name / "runs"
    while len(RunStore(runs)) < 30 and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Finished runs are kept in outputs/{name}" in errors
    assert f"phases {command} {config} -s 'sweep.widths=[64]' -s sweep.seeds=50" in errors  # as a shell takes it
    assert "Traceback" not in errors
    assert len(RunStore(runs)) >= 30


def test_every_shipped_config_is_listed_with_a_line(tmp_path):
    lines = phases_here("configs", folder=tmp_path).stdout.splitlines()
    assert any(line.startswith("quickstart ") for line in lines)
    assert any(line.startswith("laptop/fcn_mse ") for line in lines)
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


@pytest.mark.slow
def test_experiments_are_compared_and_a_folder_that_is_none_is_named(tmp_path):
    assert phases_here("run", "quickstart", *TINY, "-s", "name=one", folder=tmp_path).returncode == 0
    shutil.copytree(tmp_path / "outputs" / "one", tmp_path / "outputs" / "two")
    result = phases_here("compare", "outputs/one", "outputs/two", folder=tmp_path)
    assert result.returncode == 0
    assert result.stdout.split() == ["Comparison:", "outputs/comparison.png"]
    (tmp_path / "file").touch()
    nowhere = phases_here("compare", "outputs/one", "outputs/two", "--output", "file/sheet.png", folder=tmp_path)
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)
    assert "file/sheet.png: cannot be written" in nowhere.stderr
    refused = phases_here("compare", "outputs/one", "outputs/three", folder=tmp_path)
    assert refused.returncode == 2
    assert "outputs/three" in refused.stderr


@pytest.mark.slow
def test_the_uv_model_is_held_against_its_exact_solution(tmp_path):
    arguments = ["-s", "sweep.widths=[8]", "-s", "sweep.seeds=1", "-s", "sweep.lr_exponents.stop=2.5"]
    result = phases_here("uv", *arguments, folder=tmp_path)
    assert result.returncode == 0
    rows = [line.split() for line in result.stdout.splitlines() if line.split()[:1] == ["8"]]
    assert [row[3] for row in rows] == ["0"]  # grid steps apart
    assert all(float(value) < 0.05 for row in rows for value in row[4:])
    assert (tmp_path / "outputs" / "laptop-uv" / "phase_diagram.png").exists()
    refused = phases_here("uv", "quickstart", folder=tmp_path)
    assert refused.returncode == 2
    assert "model.family must be uv; got fcn" in refused.stderr
    scaled = phases_here("uv", "-s", "model.output_scale=0.5", "-s", "training.momentum=0.9", folder=tmp_path)
    assert scaled.returncode == 2
    assert "model.output_scale must be 1.0; got 0.5; training.momentum must be 0.0; got 0.9" in scaled.stderr

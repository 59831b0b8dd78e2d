import pandas as pd
import pytest
from command_line import phases, phases_here
from typer.testing import CliRunner

from sharpness_phases import experiment
from sharpness_phases.commands.main import app
from sharpness_phases.errors import MachineError, UserError

pytestmark = pytest.mark.usefixtures("kept_networks")

SMALL = ["-s", "sweep.widths=[4]", "-s", "sweep.seeds=3", "-s", "tensorboard=false"]


def refused(*arguments):
    """The message of a command that the user gave wrongly."""
    result = CliRunner().invoke(app, ["uv", *arguments])
    assert isinstance(result.exception, UserError)
    return str(result.exception)


@pytest.mark.slow
def test_every_initialisation_is_counted_also_where_the_grid_censors_it(tmp_path):
    grid = ["-s", "sweep.lr_exponents.start=1.1", "-s", "sweep.lr_exponents.stop=2.2"]
    result = phases_here("uv", *SMALL, *grid, folder=tmp_path)
    assert result.returncode == 0
    [words] = [line.split() for line in result.stdout.splitlines() if line.split()[:3] == ["n", "=", "4"]]
    seeds, compared, low, high, otherwise, _ = map(int, words[3:9])
    assert seeds == 3 == compared + low + high
    assert otherwise == 0
    assert low + high > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "0"], "got 0"),
        (["--target", "nan"], "got nan"),
        (["--target", "-5000"], "0.001 <= |Y| <= 400; got -5000"),
        (["--target", "paper/uv"], "takes no CONFIG and no -s, only --output; got paper/uv"),
        (["--target", "2", "-s", "loss=xent"], "got -s loss=xent"),
        (["paper/uv", "--target"], "got paper/uv"),
    ],
)
def test_a_target_that_means_nothing_is_refused(arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "target", "folder"),
    [
        (["--target"], 1.0, "outputs/uv_target"),
        (["--target", "--output", "here"], 1.0, "here"),
        (["--target", "-2.5", "--output", "here"], -2.5, "here"),
        (["--target=3"], 3.0, "outputs/uv_target"),
    ],
)
def test_the_target_is_one_unless_a_number_follows(arguments, target, folder, monkeypatch):
    def ended(*given):
        raise MachineError(f"{given[0]} {given[1]}")

    monkeypatch.setattr(experiment, "run_uv_target", ended)
    assert str(CliRunner().invoke(app, ["uv", *arguments]).exception) == f"{target} {folder}"


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "file").touch()
    result = phases_here("uv", "--target", "--output", "file/here", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "file/here: results cannot be written there" in result.stderr


@pytest.mark.long
def test_the_bifurcation_diagram_is_drawn_and_training_brackets_every_threshold(tmp_path):
    result = phases("uv", "--target", "-0.5", "--output", "here", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines() if " and " in line]
    assert [row[-4] for row in rows] == ["1.000000", "1.236068", "1.288032", "1.302284", "2.000000"]
    for row in rows:
        before, after = float(row[-3]), float(row[-1])
        assert before < float(row[-4]) < after
    files = {path.name for path in (tmp_path / "here").iterdir()}
    assert files == {"bifurcation.png", "bifurcation.svg", "bifurcation.csv", "orbits.parquet"}
    table = pd.read_csv(tmp_path / "here" / "bifurcation.csv")
    assert table["one_step"].max() < 1e-14
    assert set(table["kind"]) == {"stable", "periodic", "aperiodic", "divergent"}
    assert set(pd.read_parquet(tmp_path / "here" / "orbits.parquet")) == {
        "g",
        "learning_rate",
        "step",
        "r",
        "sharpness",
    }

"""`phases plot`: pictures of stored runs, without computing anything."""

import subprocess
import sys

import pytest
import typer
from command_line import phases_here
from tiny import TINY

from sharpness_phases.analyzer import PhaseAnalyzer
from sharpness_phases.commands.main import app
from sharpness_phases.errors import MachineError, UserError
from sharpness_phases.experiment import Experiment
from sharpness_phases.views.pictures import KINDS, picture

pytestmark = pytest.mark.usefixtures("kept_networks")

LONG = [
    *TINY[2:],
    "sweep.depths=[2]",
    "sweep.widths=[8]",
    "training.steps=20",
    "analysis.transient_steps=4",
    "sweep.search=exhaustive",
    "analysis.saturation=true",
    "analysis.saturation_time=16",
    "sweep.lr_exponents={start: 0, stop: 6, step: 1.0}",
]


OVER = [
    *TINY,
    "sweep.widths=[8]",
    "sweep.seeds=1",
    "sweep.lr_exponents={start: 0, stop: 4, step: 2}",
    "sweep.over={optimizer.warmup.steps: [0, 3]}",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an experiment in `long`, which has every kind of picture but that of `over`, and one in `short`."""
    folder = tmp_path_factory.mktemp("plot")
    for name, overrides in (("long", LONG), ("short", TINY), ("over", OVER)):
        Experiment.from_config("quickstart", [*overrides, "tensorboard=false"], folder / name).run_shard((1, 1))
    return folder


def plot(*arguments):
    """`phases plot` in this process."""
    typer.main.get_command(app).main(["plot", *arguments], prog_name="phases", standalone_mode=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("style", "ending"), [("screen", "png"), pytest.param("paper", "pdf", marks=pytest.mark.slow)])
def test_every_kind_is_drawn_beside_the_runs_and_its_path_is_printed(kind, style, ending, place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    folder = "over" if kind == "final_loss" else "long"
    plot(folder, "--kind", kind, "--style", style)
    shown = capfd.readouterr()
    assert shown.out.split() == ["Picture:", f"{folder}/{kind}-{style}.{ending}"]
    assert shown.err == ""
    content = (place / folder / f"{kind}-{style}.{ending}").read_bytes()
    assert content.startswith({"png": b"\x89PNG", "pdf": b"%PDF"}[ending])
    assert len(content) > 5000


def test_the_axis_and_the_file_are_chosen(place, monkeypatch):
    monkeypatch.chdir(place)
    plot("short", "--over", "ratio", "--output", "new/over.svg")
    assert "depth / width" in (place / "new" / "over.svg").read_text()


@pytest.mark.slow
def test_the_initialisation_is_chosen(place):
    analyzer = PhaseAnalyzer.load(place / "short")
    seeds = [picture(analyzer, "trajectories", seed=seed).draw().axes[0].lines[0].get_ydata()[-1] for seed in (0, 1)]
    assert seeds[0] != seeds[1]
    long = PhaseAnalyzer.load(place / "long")
    losses = [picture(long, "regimes", seed=seed).draw().axes[1].lines[0].get_ydata() for seed in (None, 0, 1)]
    assert list(losses[0]) == list(losses[1]) != list(losses[2])


WRONG = {
    "nothing measured": (["--kind", "saturation"], "short: the saturated sharpness was not measured"),
    "no long runs": (["--kind", "regimes"], "short: no long runs"),
    "kind": (["--kind", "barrier"], "--kind: must be one of diagram, trajectories"),
    "style": (["--style", "slides"], "--style: must be one of screen, paper, wide, grey"),
    "ending": (["--output", "picture.gif"], "--output picture.gif: must be a file that ends with one of .png, .svg"),
    "seed": (["--kind", "trajectories", "--seed", "7"], "--seed: must be one of 0, 1; got 7"),
    "seed of an average": (["--seed", "0"], "--seed: only with --kind trajectories or regimes"),
    "axis of something else": (["--kind", "trajectories", "--over", "depth"], "--over: only with --kind diagram"),
    "no place": (["--output", "/proc/none/picture.png"], "/proc/none/picture.png: cannot be written"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_drawn_is_told_in_a_line(case, place, monkeypatch):
    monkeypatch.chdir(place)
    arguments, message = WRONG[case]
    with pytest.raises(UserError) as error:
        plot("short", *arguments)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_none_is_named(tmp_path):
    result = phases_here("plot", "outputs/none", folder=tmp_path)
    assert result.returncode == 2
    assert "outputs/none" in result.stderr


def test_runs_that_cannot_be_read_are_blamed_and_not_the_picture(place, tmp_path):
    (tmp_path / "config.yaml").write_text((place / "short" / "config.yaml").read_text())
    (tmp_path / "runs").touch()
    with pytest.raises(MachineError, match=r"runs: Not a directory"):
        plot(str(tmp_path))


def test_arguments_that_mean_nothing_for_a_kind_are_refused_for_every_kind(place):
    analyzer = PhaseAnalyzer.load(place / "long")
    for kind in KINDS:
        if kind != "diagram":
            with pytest.raises(UserError, match="--over"):
                picture(analyzer, kind, over="width")


def test_drawing_does_not_import_tensorflow(place):
    code = (
        "import sys; sys.argv = ['phases', 'plot', 'short']\n"
        "from sharpness_phases.commands.main import main\n"
        "try: main()\n"
        "finally: print('TF' if {'tensorflow', 'keras'} & set(sys.modules) else 'light')"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert result.stdout.splitlines()[-1] == "light"

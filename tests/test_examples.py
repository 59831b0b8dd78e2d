"""The example scripts do what they promise, in a folder of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.slow


def run(name, *arguments, folder):
    """What an example prints, as it is run by its reader; from another folder, so that nothing lies about."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_picture(path):
    """Whether a file is a picture with more than one colour."""
    pixels = matplotlib.image.imread(path)
    return min(pixels.shape[:2]) > 300 and pixels.std() > 0


def test_the_sharpness_of_an_own_model_is_printed_and_drawn(tmp_path):
    text = run("own_keras_model.py", "--epochs", 3, "--learning-rate", 0.02, "--to", "mine.png", folder=tmp_path)
    header, *rows, picture = text.splitlines()
    assert header.split() == ["step", "loss", "sharpness", "learning_rate", "threshold", "participation"]
    values = [[float(value) for value in row.split()] for row in rows]
    assert values[0][0] == 0
    assert values[-1][0] > values[0][0]
    assert values[-1][1] < values[0][1]  # it learns
    assert values[-1][2] > values[0][2]  # and sharpens
    assert picture == "Picture: mine.png"
    assert is_picture(tmp_path / "mine.png")


def test_a_learning_rate_is_recommended_and_holds(tmp_path):
    text = run("learning_rate.py", "--epochs", 2, folder=tmp_path)
    suggested = float(re.search(r"Suggested learning rate for SGD: (\S+)", text)[1])
    table = dict(re.findall(r"^(a tenth of it|suggested|twice the ceiling) +\S+ +(\S+)", text, re.MULTILINE))
    assert f"{suggested:.3g}" in text.split("trained at")[1]
    assert float(table["suggested"]) < float(table["a tenth of it"])
    assert not float(table["twice the ceiling"]) < float(table["suggested"])  # NaN, or above
    assert is_picture(tmp_path / "outputs" / "learning_rate.png")


@pytest.mark.long
def test_the_regimes_of_a_long_run_are_printed_in_order_and_drawn(tmp_path):
    text = run("regimes_of_a_long_run.py", "--steps", 1500, "--width", 16, "--output", "long", folder=tmp_path)
    found = re.findall(r"^(\w+) +steps (\d+) to (\d+) +eta sharpness / 2: (\S+) -> (\S+)$", text, re.MULTILINE)
    names = ["early_transient", "intermediate_saturation", "progressive_sharpening", "edge_of_stability"]
    positions = [names.index(regime) for regime, *_ in found]
    assert positions == sorted(set(positions))
    assert len(found) >= 2
    assert (found[0][0], found[0][1], found[0][3]) == ("early_transient", "0", "2.00")  # c = 4 is twice the edge
    assert found[-1][2] == "1500"
    assert all(int(left[2]) + 1 == int(right[1]) for left, right in zip(found, found[1:], strict=False))
    assert is_picture(tmp_path / "long" / "long_run.png")


@pytest.mark.long
def test_an_own_figure_is_drawn_of_a_small_experiment_and_again_of_its_folder(tmp_path):
    first = run("custom_figure.py", "mine", "--to", "first.png", folder=tmp_path)
    constants = pd.read_csv(tmp_path / "mine" / "critical_constants.csv", dtype={"c_loss": float})
    for width, median in constants.groupby("width")["c_loss"].median().items():
        assert re.search(rf"\b{width} +\S+ +{median:.2f}\b", first)
    again = run("custom_figure.py", "mine", "--to", "again.png", folder=tmp_path)
    assert again.replace("again.png", "first.png").splitlines()[-5:] == first.splitlines()[-5:]
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert is_picture(tmp_path / "first.png")


def test_every_example_is_run_here_and_short():
    tested = set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
    assert all(len(path.read_text().splitlines()) < 60 for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_explains_itself(path, tmp_path):
    text = run(path.name, "--help", folder=tmp_path)
    assert f"python examples/{path.name}" in text

"""`phases advise`: a learning rate for a config or an own model, or why one goes wrong."""

import json

import pytest
from command_line import overridden, phases_here
from tiny import TINY

MINE = """
import keras
import numpy as np

x = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
data = (x, x[:, :1])


def model():
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    made.compile("adam", "mse", jit_compile=False)
    return made


def broken():
    raise ZeroDivisionError("of mine")
"""


MODEL, DATA = "mine_to_advise:model", "mine_to_advise:data"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine_to_advise.py").write_text(MINE)
    return tmp_path


def test_an_own_model_gets_a_rate_with_reasons_a_picture_and_figures(folder):
    asked = (MODEL, "--data", DATA, "--json", "a.json", "--output", "a.png")
    done = phases_here("advise", *asked, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "Suggested learning rate for Adam" in done.stdout
    assert (folder / "a.png").stat().st_size > 5000
    [found] = json.loads((folder / "a.json").read_text())
    assert 0 < found["learning_rate"] <= found["ceiling"]
    assert found["reasons"][0] in done.stdout


@pytest.mark.slow
def test_a_rate_that_goes_wrong_is_explained(folder):
    asked = (MODEL, "--data", DATA, "--learning-rate", "1e4", "--json", "a.json")
    done = phases_here("advise", *asked, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "It is the learning rate." in done.stdout
    assert json.loads((folder / "a.json").read_text())[0]["cause"] == "the rate"


@pytest.mark.slow
def test_every_network_of_a_config_gets_a_rate(folder):
    small = [*TINY, "sweep.widths=[4,8]", "sweep.depths=[2]", "sweep.seeds=2", "optimizer.name=adam"]
    done = phases_here("advise", "quickstart", *overridden(small), folder=folder)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("depth")] == [
        "depth 2, width 4",
        "depth 2, width 8",
    ]
    assert done.stdout.count("Suggested learning rate for Adam") == 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([MODEL], "--data: your own model needs data"),
        (
            [MODEL, "--data", DATA, "-s", "loss=xent"],
            "-s: your own model has no config",
        ),
        (["quickstart", "--data", DATA], "--data: only with a model of your own"),
        ([DATA, "--data", DATA], "must be a Keras model"),
        (["mine_to_advise:broken", "--data", DATA], "broken() failed: ZeroDivisionError: of mine"),
        (
            ["mine_to_advise:nothing", "--data", DATA],
            "MODEL: 'mine_to_advise:nothing' cannot be imported",
        ),
        (["quickstart", "--learning-rate", "1", "--output", "a.png"], "--output: a picture is of an advice"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(asked, words, folder):
    done = phases_here("advise", *asked, folder=folder)
    assert done.returncode == 2
    assert words in done.stderr

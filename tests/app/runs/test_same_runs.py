import pytest

from sharpness_phases.config.loading import load_config
from sharpness_phases.runs.same_runs import differences


def found(*overrides):
    return differences(load_config("quickstart"), load_config("quickstart", overrides))


def test_equal_configs_do_not_differ_whatever_their_environment():
    assert found() == []
    assert found("environment={tensorflow: '1'}") == []
    assert found("training.steps=10", "executor={kind: serial}") == []  # their defaults


@pytest.mark.parametrize(
    ("override", "key", "makes_other_runs", "shows"),
    [
        ("training.batch_size=64", "training.batch_size", True, True),
        ("data.seed=1", "data.seed", True, True),
        ("sharpness.examples=512", "sharpness.examples", True, True),
        ("sweep.widths=[64]", "sweep.widths", False, True),
        ("sweep.lr_exponents.stop=5.0", "sweep.lr_exponents.stop", False, True),
        ("analysis.sharpness_tolerance=0.1", "analysis.sharpness_tolerance", False, True),
        ("name=other", "name", False, True),
        ("executor.cpus_per_run=2.0", "executor.cpus_per_run", False, False),
        ("data.data_dir=/elsewhere", "data.data_dir", False, False),
        ("sharpness.chunk_size=64", "sharpness.chunk_size", False, False),
    ],
)
def test_a_difference_tells_whether_it_makes_other_runs_and_whether_results_show_it(
    override, key, makes_other_runs, shows
):
    (difference,) = found(override)
    assert (difference.key, difference.makes_other_runs, difference.shows) == (key, makes_other_runs, shows)


def test_a_difference_is_told_in_the_words_of_a_config():
    assert str(found("data.train_examples=2048")[0]) == "data.train_examples: null there, 2048 here"
    assert str(found("model.bias=true")[0]) == "model.bias: false there, true here"


def test_of_several_differences_each_is_judged_on_its_own():
    assert {each.key: each.makes_other_runs for each in found("training.steps=20", "sweep.seeds=9", "loss=xent")} == {
        "loss": True,
        "training.steps": True,
        "sweep.seeds": False,
    }


def test_a_shorter_transient_makes_other_runs():
    exhaustive = "sweep.search=exhaustive"
    (difference,) = differences(
        load_config("quickstart", [exhaustive]), load_config("quickstart", [exhaustive, "analysis.transient_steps=5"])
    )
    assert difference.makes_other_runs

import numpy as np
import pandas as pd
import pytest

from sharpness_phases.config.loading import load_config
from sharpness_phases.runs.questions import Question
from sharpness_phases.runs.spec import Cell, belonging, cells, criteria, identity, reason, saturation_steps

CELL = Cell(4, 64, 0)


def name(*overrides, cell=CELL, exponent=1.0, question=None):
    return identity(load_config("quickstart", overrides), cell, exponent, question)


def test_every_depth_width_and_seed_is_a_cell():
    found = cells(load_config("quickstart", ["sweep.depths=[2,3]", "sweep.widths=[8,16]", "sweep.seeds=2"]))
    assert len(found) == 8
    assert found[0].name == "d2_w8_s0"


@pytest.mark.parametrize(
    "override",
    [
        "model.activation=tanh",
        "model.output_scale=2.0",
        "data.train_examples=2048",
        "data.seed=1",
        "loss=xent",
        "training.batch_size=256",
        "training.steps=11",
        "training.momentum=0.5",
        "sharpness.examples=512",
        "sharpness.tolerance=1e-2",
        "sharpness.solver=power",
        "sharpness.seed=1",
    ],
)
def test_what_changes_numbers_changes_the_run_ids(override):
    assert name(override) != name()


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "sweep.widths=[64]",
        "sweep.seeds=9",
        "sweep.lr_exponents.stop=9.0",
        "sweep.search=exhaustive",
        "data.data_dir=/somewhere",
        "tensorboard=false",
        "environment={tensorflow: '1'}",
    ],
)
def test_what_changes_no_numbers_keeps_the_run_ids(override):
    assert name(override) == name()


def test_a_tolerance_matters_only_where_it_ends_runs():
    tolerant = "analysis.sharpness_tolerance=0.05"
    assert name(tolerant, question=Question.SHARPNESS) != name(question=Question.SHARPNESS)
    assert name(tolerant, question=Question.LOSS) == name(question=Question.LOSS)
    assert name(tolerant) == name()


@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        ([], 0.0),
        (["model.output_layer=zero"], 0.05),
        (["model.subtract_initial=true"], 0.05),
        (["model.output_layer=zero", "analysis.sharpness_tolerance=0.0"], 0.0),
        (["analysis.sharpness_tolerance=0.1"], 0.1),
    ],
)
def test_networks_whose_output_is_zero_at_the_start_need_a_clear_rise_of_the_sharpness(overrides, tolerance):
    assert criteria(load_config("quickstart", overrides)).sharpness_tolerance == tolerance


def rows(config, seed=0, exponent=-1.0, question=None):
    """A table of one run, as the store gives it."""
    cell = Cell(4, 64, seed)
    return pd.DataFrame(
        {
            "run_id": identity(config, cell, exponent, question),
            "question": reason(exponent, question),
            "depth": 4,
            "width": 64,
            "seed": seed,
            "lr_exponent": np.nan if exponent is None else exponent,
            "step": [0, 1],
        }
    )


def test_only_runs_of_the_experiment_belong_to_it():
    config = load_config("quickstart", ["sweep.widths=[64]", "sweep.seeds=2"])
    mine = [rows(config), rows(config, exponent=None), rows(config, seed=1, question=Question.ONSET)]
    others = [
        rows(load_config("quickstart", ["training.steps=5"])),
        rows(config, seed=2),
        rows(config, exponent=0.123),
        rows(config).assign(question="why not"),
        rows(config).assign(lr_exponent=0.0),
    ]
    found = belonging(config, pd.concat([*others[:3], *mine]))
    assert found["run_id"].tolist() == pd.concat(mine)["run_id"].tolist()
    assert all(belonging(config, other).empty for other in others)


def test_runs_for_the_barrier_and_the_saturation_belong_to_experiments_that_ask_for_them():
    for question, asked in ((Question.BARRIER, "barrier"), (Question.SATURATION, "saturation")):
        plain, asking = load_config("quickstart"), load_config("quickstart", [f"analysis.{asked}=true"])
        assert belonging(plain, rows(plain, question=question)).empty
        assert len(belonging(asking, rows(asking, question=question))) == 2


def test_the_saturated_sharpness_is_measured_where_c_tau_is_200_or_100_with_cross_entropy():
    steps = [saturation_steps(load_config("quickstart"), exponent) for exponent in (-1.0, 0.0, 1.0, 9.0)]
    assert steps == [400, 200, 100, 1]
    assert saturation_steps(load_config("quickstart", ["loss=xent"]), 1.0) == 50
    assert saturation_steps(load_config("quickstart", ["analysis.saturation_time=20.0"]), 1.0) == 10

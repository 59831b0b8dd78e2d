import pytest

from app.analysis.critical import Question
from app.config.loading import load_config
from app.sweep.plan import Cell, cells, identity, run_ids, saturation_steps

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


def test_cells_exponents_and_questions_have_ids_of_their_own():
    config = load_config("quickstart", ["sweep.widths=[64]", "sweep.seeds=2"])
    ids = list(run_ids(config))
    assert len(set(ids)) == len(ids) == 2 * (1 + 71 * 5)
    assert name() in ids
    assert name(exponent=0.123) not in ids


def test_runs_for_the_barrier_and_the_saturation_belong_to_experiments_that_ask_for_them():
    shape = ["sweep.widths=[64]", "sweep.seeds=1", "sweep.lr_exponents.stop=-1.0"]
    both = ["analysis.barrier=true", "analysis.saturation=true"]
    assert len(list(run_ids(load_config("quickstart", shape)))) == 1 + 5
    assert len(list(run_ids(load_config("quickstart", [*shape, *both])))) == 1 + 7


def test_the_saturated_sharpness_is_measured_where_c_tau_is_200_or_100_with_cross_entropy():
    steps = [saturation_steps(load_config("quickstart"), exponent) for exponent in (-1.0, 0.0, 1.0, 9.0)]
    assert steps == [400, 200, 100, 1]
    assert saturation_steps(load_config("quickstart", ["loss=xent"]), 1.0) == 50
    assert saturation_steps(load_config("quickstart", ["analysis.saturation_time=20.0"]), 1.0) == 10

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sharpness_phases.config.loading import load_config
from sharpness_phases.config.sections import SharpnessConfig
from sharpness_phases.runs import identity as identity_module
from sharpness_phases.runs.identity import Computed, belonging, identities, identity, own_code, run_id
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec

CELL = Cell(4, 64, 0)
BY_0_1 = Computed(numerics=4, own={})
OF_0_1 = Path(__file__).parents[4] / "shared" / "data" / "experiment_v0.1"


def name(*overrides, cell=CELL, exponent=1.0, purpose=Purpose.WHOLE):
    return identity(load_config("quickstart", overrides), RunSpec(cell, purpose, exponent))


def test_equal_descriptions_have_equal_ids_and_others_not():
    assert run_id({"a": 1, "b": [2, 3]}) == run_id({"b": [2, 3], "a": 1})
    assert len({run_id({"a": 1}), run_id({"a": 2}), run_id({"a": 1.5})}) == 3


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
        "training.warmup_steps=3",
        "optimizer.warmup.steps=3",
        "optimizer={name: adam, initial_second_moment: gradient}",
        "optimizer.momentum=0.5",
        "optimizer={name: adam}",
        "optimizer={name: 'mine:Own'}",
        "optimizer.clipnorm=1.0",
        "sharpness.examples=512",
        "sharpness.tolerance=1e-2",
        "sharpness.solver=power",
        "sharpness.seed=1",
    ],
)
def test_what_changes_numbers_changes_the_run_ids(override):
    assert name(override) != name()


def test_chunks_decide_runs_with_batch_normalization_alone():
    batch, layer = "model.normalization=batch", "model.normalization=layer"
    assert len({name(), name(batch), name(layer), name(batch, "sharpness.chunk_size=16")}) == 4
    assert name(layer, "sharpness.chunk_size=16") == name(layer)


def test_chunks_decide_runs_of_a_model_of_ones_own_unless_statistics_are_the_moving_ones(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def mlp(**settings): ...\n")
    monkeypatch.chdir(tmp_path)
    own, moving = "model={family: 'mine:mlp'}", "sharpness.batch_norm=inference"
    assert name(own, "sharpness.chunk_size=16") != name(own)
    assert name(own, "sharpness.chunk_size=16") != name(own, "sharpness.chunk_size=32")
    assert name(own, moving, "sharpness.chunk_size=16") == name(own, moving) != name(own)


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "sweep.widths=[64]",
        "sweep.seeds=9",
        "sweep.lr_exponents.stop=9.0",
        "sweep.search=exhaustive",
        "data.data_dir=/somewhere",
        "data.context_length=64",
        "model.heads=4",
        "sharpness.chunk_size=16",
        "executor={kind: ray, cpus_per_run: 2.0}",
        "device={xla: always, deterministic: true}",
        "tensorboard=false",
        "optimizer={name: sgd, momentum: 0.0, nesterov: false, weight_decay: 0}",
        "sweep.over={optimizer.momentum: [0.0, 0.5]}",
        "optimizer.warmup={steps: 0, start: 0.5}",
        "optimizer.warmup={steps: 3, start: 1}",
        "environment={tensorflow: '1'}",
    ],
)
def test_what_changes_no_numbers_keeps_the_run_ids(override):
    assert name(override) == name()


def test_a_warm_up_has_the_same_runs_in_whatever_words():
    assert name("optimizer.warmup.steps=3") == name("training.warmup_steps=3") != name("training.warmup_steps=4")
    shares = {name(f"optimizer.warmup={{steps: 3, start: {start}}}") for start in (0.0, 0.1, 0.2)}
    assert len(shares | {name()}) == 4


def test_a_tolerance_matters_only_where_it_ends_runs():
    tolerant = "analysis.sharpness_tolerance=0.05"
    assert name(tolerant, purpose=Purpose.SHARPNESS) != name(purpose=Purpose.SHARPNESS)
    assert name(tolerant, purpose=Purpose.LOSS) == name(purpose=Purpose.LOSS)
    assert name(tolerant) == name()


def rows(config, seed=0, exponent=-1.0, purpose=Purpose.WHOLE):
    """A table of one run, as the store gives it."""
    spec = RunSpec(Cell(4, 64, seed), purpose, exponent)
    return pd.DataFrame(
        {
            "run_id": identity(config, spec),
            "question": purpose.value,
            "depth": 4,
            "width": 64,
            "seed": seed,
            "lr_exponent": np.nan if exponent is None else exponent,
            "step": [0, 1],
        }
    )


def test_only_runs_of_the_experiment_belong_to_it():
    config = load_config("quickstart", ["sweep.widths=[64]", "sweep.seeds=2"])
    mine = [
        rows(config),
        rows(config, exponent=None, purpose=Purpose.INITIAL),
        rows(config, seed=1, purpose=Purpose.ONSET),
    ]
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
    for purpose, asked in ((Purpose.BARRIER, "barrier"), (Purpose.SATURATION, "saturation")):
        plain, asking = load_config("quickstart"), load_config("quickstart", [f"analysis.{asked}=true"])
        assert belonging(plain, rows(plain, purpose=purpose)).empty
        assert len(belonging(asking, rows(asking, purpose=purpose))) == 2


def test_a_key_that_came_later_is_no_part_of_the_id_while_it_has_its_default():
    class Later(SharpnessConfig):
        probes: int = 1

    config = load_config("quickstart")
    spec = RunSpec(CELL, Purpose.WHOLE, 1.0)
    default, other = (
        config.model_copy(update={"sharpness": Later(**config.sharpness.model_dump(), **extra)})
        for extra in ({}, {"probes": 2})
    )
    assert identity(default, spec) == identity(config, spec)
    assert identity(other, spec) != identity(config, spec)


@pytest.mark.parametrize(
    ("purpose", "exponent", "expected"),
    [
        (Purpose.INITIAL, None, "7f5f731e64bb579574537e9b"),
        (Purpose.WHOLE, 1.0, "28212579d0fce7c9e243af63"),
        (Purpose.ONSET, -1.0, "c1769ac166e972634e956ae1"),
        (Purpose.SATURATION, 2.5, "5521585dccfa5562ce8bfe4f"),
    ],
)
def test_the_ids_of_version_0_1_are_still_known(purpose, exponent, expected):
    assert next(identities(load_config("quickstart"), RunSpec(CELL, purpose, exponent), BY_0_1)) == expected


def test_runs_that_version_0_1_stored_with_chunks_are_found_under_their_ids():
    spec = RunSpec(CELL, Purpose.WHOLE, 1.0)
    assert list(identities(load_config("quickstart", ["sharpness.chunk_size=64"]), spec, BY_0_1)) == [
        next(identities(load_config("quickstart"), spec, BY_0_1)),
        "5b5dfd2b69166e47bfef945d",
    ]


def test_runs_of_earlier_numerics_are_read_where_there_are_none_of_the_present(monkeypatch):
    config = load_config("quickstart", ["sweep.widths=[64]"])
    old = pd.concat([rows(config), rows(config, seed=1)])
    monkeypatch.setattr(identity_module, "NUMERICS", identity_module.NUMERICS + 1)
    assert belonging(config, old)["run_id"].tolist() == old["run_id"].tolist()
    new = rows(config)
    assert new["run_id"].iloc[0] not in set(old["run_id"])
    found = belonging(config, pd.concat([old, new]))
    assert found["run_id"].tolist() == [*rows_of_seed(old, 1), *new["run_id"]]


def rows_of_seed(table, seed):
    return table[table["seed"] == seed]["run_id"].tolist()


@pytest.mark.parametrize("name", ["mse", "xent", "momentum"])
def test_every_run_of_a_folder_of_version_0_1_belongs_to_its_config(name):
    folder = OF_0_1 / name
    if not folder.is_dir():
        pytest.skip(f"the results of version 0.1 are not at {folder}")
    runs = pd.concat(pd.read_parquet(path) for path in sorted((folder / "runs").glob("*.parquet")))
    assert belonging(load_config(folder / "config.yaml"), runs)["run_id"].nunique() == runs["run_id"].nunique()


def test_runs_that_version_0_1_knew_by_one_file_of_own_code_are_read_until_there_are_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sizes.py").write_text("factor = 1")
    (tmp_path / "mine.py").write_text("from sizes import factor")
    config = load_config("quickstart", ["model={family: 'mine:mlp'}", "sweep.widths=[64]"])
    spec = RunSpec(CELL, Purpose.WHOLE, -1.0)
    of_one_file = Computed(identity_module.NUMERICS, own_code(config, of_one_file=True))
    (old_name,) = identities(config, spec, of_one_file)
    assert old_name not in identities(config, spec)  # it is computed anew: nobody knows with which sizes it was
    new = rows(config)
    old = new.assign(run_id=old_name)
    assert belonging(config, old)["run_id"].unique().tolist() == [old_name]
    assert belonging(config, pd.concat([old, new]))["run_id"].unique().tolist() == new["run_id"].unique().tolist()

"""`sweep.over`: one more axis of an experiment."""

import re
from operator import attrgetter

import pytest

from sharpness_phases.config.loading import ConfigError, dump_config, load_config
from sharpness_phases.config.over import numeric_keys, require_one_value
from sharpness_phases.config.schema import variants
from sharpness_phases.errors import UserError
from sharpness_phases.runs.identity import identity
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec

SPEC = RunSpec(Cell(4, 64, 0), Purpose.WHOLE, 1.0)


def over(axis, *overrides):
    return load_config("quickstart", [*overrides, f"sweep.over={axis}"])


def test_runs_along_an_axis_are_those_of_configs_that_say_the_value():
    config = over("{optimizer.beta_2: [0.9, 0.999]}", "optimizer={name: adam}")
    found = variants(config)
    assert [each.value for each in found] == [0.9, 0.999]
    plain = [["optimizer={name: adam, beta_2: 0.9}"], ["optimizer={name: adam}"]]
    for each, overrides in zip(found, plain, strict=True):
        assert each.config == load_config("quickstart", overrides)
        assert identity(each.config, SPEC) == identity(load_config("quickstart", overrides), SPEC)
    assert variants(load_config("quickstart")) == []


def test_what_stands_beside_the_axis_in_its_section_stays():
    config = over("{optimizer.warmup.steps: [0, 5]}", "optimizer={name: adam, warmup: {start: 0.25}}")
    assert [each.config.warmup.start for each in variants(config)] == [0.25, 0.25]
    assert {each.config.optimizer.name for each in variants(config)} == {"adam"}


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("{training.batch_size: [64, 512]}", [64, 512]),
        ("{optimizer.momentum: [0, 0.5, 0.9]}", [None, 0.5, 0.9]),
        ("{optimizer.weight_decay: [0.0, 0.1]}", [None, 0.1]),
        ("{model.output_scale: [0.5, 1.0]}", [0.5, 1.0]),
        ("{optimizer.warmup.steps: [0, 5]}", [0, 5]),
    ],
)
def test_any_numeric_key_is_an_axis(axis, values, tmp_path):
    config = over(axis)
    (key,) = config.sweep.over
    assert [attrgetter(key)(each.config) for each in variants(config)] == values
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_the_keys_are_the_numbers_of_the_config_and_no_texts_or_switches():
    keys = numeric_keys()
    assert {
        "optimizer.beta_1",
        "optimizer.warmup.steps",
        "training.batch_size",
        "training.steps",
        "data.train_examples",
    } <= set(keys)
    assert not {
        "optimizer.nesterov",
        "optimizer.name",
        "model.bias",
        "sweep.seeds",
        "model.family",
        "optimizer.warmup",
    } & set(keys)


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("{optimizer.beta: [0.9]}", "sweep.over: must be along one of model.output_scale"),
        ("{optimizer.nesterov: [1]}", "must be along one of model.output_scale"),
        ("{optimizer.momentum: [0.5, 1.0]}", "sweep.over: optimizer.momentum = 1: Input should be less than 1"),
        ("{optimizer.beta_1: [0.5]}", "sweep.over: optimizer.beta_1 = 0.5: beta_1: no argument of sgd, which takes"),
        ("{training.batch_size: [64, 9999]}", "training.batch_size = 9999: training.batch_size must be at most 4096"),
        ("{training.batch_size: [64.5]}", "sweep.over: training.batch_size = 64.5: Input should be a valid integer"),
        ("{optimizer.warmup.steps: [0, 11]}", "optimizer.warmup.steps = 11: optimizer.warmup.steps must be at most 10"),
        ("{optimizer.warmup.start: [0.5, 2]}", "optimizer.warmup.start = 2: Input should be less than or equal to 1"),
        ("{training.batch_size: []}", "must have at least 1 entry"),
        ("{training.batch_size: [64, 64]}", "training.batch_size must not hold a value twice; got [64, 64]"),
        ("{training.batch_size: [64], training.steps: [5]}", "sweep.over: "),
        ("{training.batch_size: 64}", "must be a list"),
        ("{training.steps: [true]}", "sweep.over"),
    ],
)
def test_what_cannot_be_an_axis_is_refused_in_words(axis, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        over(axis)


def test_what_needs_one_experiment_names_how_to_choose_one():
    with pytest.raises(UserError, match=r"-s sweep\.over=\{\} -s training\.steps=5 .* folder training\.steps=5\)"):
        require_one_value(over("{training.steps: [5, 6]}").sweep.over, "phases audit")

"""Sections of a config."""

import pytest

from sharpness_phases.config.loading import load_config


def test_a_changed_config_differs_in_the_values_named_alone():
    config = load_config("quickstart")
    changed = config.changed(name="other", sweep={"seeds": 1, "lr_exponents": {"start": 0.0}})
    named = ["name=other", "sweep.seeds=1", "sweep.lr_exponents.start=0.0"]
    assert changed == load_config("quickstart", named)
    assert config == load_config("quickstart")


def test_a_changed_config_takes_a_whole_section_too():
    config = load_config("quickstart")
    other = load_config("quickstart", ["training.steps=5"])
    assert config.changed(training=other.training) == other


@pytest.mark.parametrize("values", [{"swep": {}}, {"sweep": {"sedes": 1}}])
def test_a_key_that_does_not_exist_cannot_be_changed(values):
    with pytest.raises(AttributeError, match=r"swep|sedes"):
        load_config("quickstart").changed(**values)

"""Whatever stands in a config: it is accepted, or refused with every fault named; never a traceback."""

import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharpness_phases.config.loading import ConfigError, dump_config, load_config, shipped_configs
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.data.catalogue import DATA_SETS
from sharpness_phases.models import FAMILIES
from sharpness_phases.runs.spec import cells

rubbish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
counts = st.integers(-2, 70_000)
numbers = st.floats(-100, 100) | st.integers(-100, 100)
LIKELY = {
    "name": st.from_regex(r"[A-Za-z0-9._/-]{1,20}", fullmatch=True),
    "family": st.sampled_from([*FAMILIES, "my_models:mlp", "os:system", "os.path:join"]),
    "dataset": st.sampled_from([*DATA_SETS, "imagenet"]),
    "loss": st.sampled_from(["mse", "xent", "my:loss"]),
    "kind": st.sampled_from(["serial", "ray"]),
    "search": st.sampled_from(["adaptive", "exhaustive"]),
    "depths": st.lists(st.integers(0, 20), max_size=4),
    "widths": st.lists(counts, max_size=4),
}


def section(model):
    """Sections with some of their keys, likely and unlikely values, and now and then a wrong key."""
    fields = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and hasattr(inner, "model_fields"):
            value = section(inner)
        else:
            value = LIKELY.get(name, counts | numbers | st.booleans() | st.none())
        fields[name] = st.one_of(value, value, value, rubbish)
    few = st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True)
    known = few.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))
    return known | st.builds(lambda a, b: a | b, known, st.dictionaries(st.text(max_size=8), rubbish, max_size=1))


plausible = st.builds(
    lambda found, depths, widths: {"name": "any", "sweep": {"depths": depths, "widths": widths}} | found,
    section(ExperimentConfig),
    st.lists(st.integers(2, 5), min_size=1, max_size=2),
    st.lists(st.integers(1, 64), min_size=1, max_size=2),
)
LINE = re.compile(r"^(\S*config\.yaml(:\d+)?|-s .*?): .+")


def check(text):
    """Load a text as a config; tell whether it was accepted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(text, "utf-8", "surrogatepass")
        try:
            config = load_config(path)
        except ConfigError as error:
            faults = str(error).split("\n")
            assert all(LINE.match(fault) for fault in faults), faults
            return False
        path.write_text(dump_config(config), "utf-8")
        assert load_config(path) == config
        assert cells(config)
        assert Path("outputs", config.name).resolve().parent == Path("outputs").resolve()
        return True


def try_many(examples):
    """Load so many configs of each kind; tell for each whether it was accepted."""
    accepted = []

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.one_of(plausible, plausible, section(ExperimentConfig), rubbish))
    def structured(document):
        accepted.append(check(yaml.safe_dump(document, allow_unicode=True)))

    @settings(
        max_examples=examples // 4,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.text(max_size=200))
    def any_text(text):
        accepted.append(check(text))

    structured()
    any_text()
    return accepted


@pytest.mark.parametrize("examples", [200, pytest.param(3000, marks=pytest.mark.long)])
def test_no_config_gives_a_traceback(examples, figure):
    accepted = try_many(examples)
    figure(f"{len(accepted)} configs tried: {sum(accepted)} accepted, the others refused with their faults named")
    assert any(accepted)
    assert len(accepted) >= examples


@pytest.mark.parametrize("name", [name for name in shipped_configs() if name.startswith("cluster/")])
def test_the_configs_for_clusters_are_valid(name):
    assert cells(load_config(name))

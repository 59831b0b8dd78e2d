import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sharpness_phases.config.loading import ConfigError, dump_config, load_config, shipped_configs
from sharpness_phases.config.schema import to_plain
from sharpness_phases.config.yaml_marks import YamlError, dump, parse

SMALL = "name: small\nsweep:\n  depths: [2]\n  widths: [8]\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return path

    return write


def fault(write, text, overrides=()):
    with pytest.raises(ConfigError) as error:
        load_config(write(text), overrides)
    return str(error.value)


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_config_is_valid_and_survives_writing_and_reading(name, write):
    config = load_config(name)
    assert load_config(write(dump_config(config))) == config


def test_quickstart_is_the_example_of_the_interface():
    config = load_config("quickstart")
    assert config.sweep.widths == [64, 128, 256, 512]
    assert (config.sweep.depths, config.sweep.seeds, config.loss) == ([4], 4, "mse")
    assert (config.sharpness.examples, config.training.batch_size, config.training.steps) == (1024, 512, 10)
    exponents = config.sweep.lr_exponents.exponents()
    assert (exponents[0], exponents[1], exponents[-1], len(exponents)) == (-1.0, -0.9, 6.0, 71)


def test_scientific_notation_without_a_point_is_a_number(write):
    assert load_config(write(SMALL + "sharpness: {tolerance: 1e-2}")).sharpness.tolerance == 0.01


def test_no_is_a_word_and_not_false(write):
    message = fault(write, SMALL + "tensorboard: no")
    assert 'my.yaml:5: tensorboard: must be true or false; got "no"' in message


def test_overrides_win_and_later_ones_most(write):
    config = load_config(write(SMALL), ["sweep.widths=[16,32]", "loss=xent", "sweep.seeds=2", "sweep.seeds=3"])
    assert config.sweep.widths == [16, 32]
    assert (config.loss, config.sweep.seeds) == ("xent", 3)


FAULTS = {
    "unknown key": ("sweeps: {}", "my.yaml:5: unknown key 'sweeps'", "did you mean 'sweep'"),
    "unknown key in a section": ("data: {datset: mnist}", "unknown key 'datset' in data", "did you mean 'dataset'"),
    "steps -1": ("training: {steps: -1}", "my.yaml:5: training.steps: must be at least 1; got -1"),
    "a fraction for a count": ("training: {steps: 1.5}", "training.steps: must be an integer; got 1.5"),
    "a text for a number": ('training: {momentum: "0.5"}', 'training.momentum: must be a number; got "0.5"'),
    "true for a number": ("training: {steps: true}", "training.steps: must be an integer; got true"),
    "unknown family": ("model: {family: vgg}", "model.family: must be one of 'fcn'", 'got "vgg"'),
    "unknown data set": ("data: {dataset: imagenet}", "data.dataset: must be one of", "'cifar10'"),
    "unknown loss": ("loss: hinge", "loss: must be one of 'mse', 'xent', or 'package.module:name' for your own; got"),
    "infinite number": ("model: {output_scale: .inf}", "model.output_scale: must be a finite number"),
    "zero output scale": ("model: {output_scale: 0}", "model.output_scale: must be above 0; got 0"),
    "too many measurement examples": (
        "sharpness: {examples: 5000}",
        "my.yaml:5: sharpness.examples: must be at most 4096, the training examples there are; got 5000",
    ),
    "an address without a host": ("executor: {address: 'a b'}", "executor.address: must be local, auto, host:port or"),
    "several settings that uv fixes": (
        "data: {dataset: one_point}\nmodel: {family: uv, activation: relu, bias: true}",
        "activation of uv must be 'linear'; got 'relu'; bias of uv must be False; got True",
    ),
    "images for uv": (
        "model: {family: uv}",
        "data.dataset: uv needs inputs that are vectors: one_point",
    ),
    "batch larger than the subset": (
        "data: {train_examples: 100}\nsharpness: {examples: 50}",
        "training.batch_size: must be at most 100",
    ),
    "section without keys": ("training: 3", "training: must be a section with the keys batch_size, steps"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_described_with_place_key_value_and_what_is_allowed(case, write):
    text, *expected = FAULTS[case]
    message = fault(write, SMALL + text)
    for part in expected:
        assert part in message


def test_width_zero_and_empty_lists_name_their_place(write):
    message = fault(write, "name: small\nsweep:\n  depths: []\n  widths: [8, 0]\n")
    assert "my.yaml:3: sweep.depths: must have at least 1 entry; got []" in message
    assert "my.yaml:4: sweep.widths[1]: must be at least 1; got 0" in message


def test_all_faults_are_reported_at_once(write):
    message = fault(write, "name: small\nloss: hinge\nextra: 1\n", ["training.steps=0"])
    lines = message.splitlines()
    assert len(lines) == 4
    for part in ("loss", "'extra'", "training.steps", "sweep: required, but missing"):
        assert part in message


def test_a_fault_in_an_override_names_the_override(write):
    assert "-s training.steps=0: training.steps: must be at least 1" in fault(write, SMALL, ["training.steps=0"])
    assert "-s nonsense: an override must look like" in fault(write, SMALL, ["nonsense"])
    assert "name is not a section" in fault(write, SMALL, ["name.first=1"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1, 2\nb: 3", "my.yaml:"),
        ("just words", "must be a mapping"),
        ("", "must be a mapping"),
        ("name: a\nname: b", "my.yaml:2: "),
        ("a: &x 1\nb: *x", "aliases"),
        ("name: !!python/object:os.system ls", "my.yaml:1"),
        ("\x00", "my.yaml"),
        ("name: a\ntensorboard: !!bool x", "my.yaml:2: tags (!!bool) are not allowed"),
        ("name: a\nloss: !!timestamp x", "my.yaml:2: tags (!!timestamp) are not allowed"),
        ("name: ! a", "my.yaml:1: tags (!) are not allowed"),
        ("name: a\nsweep: !!set {a, b}", "my.yaml:2: tags (!!set) are not allowed"),
    ],
)
def test_what_is_not_yaml_for_a_config_is_refused_with_its_line(text, expected, write):
    assert expected in fault(write, text)


ENORMOUS = 10**30


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        (f"sweep.widths=[{ENORMOUS}]", "sweep.widths[0]: must be at most 1000000"),
        (f"sweep.depths=[{ENORMOUS}]", "sweep.depths[0]: must be at most 10000"),
        (f"sweep.seeds={ENORMOUS}", "sweep.seeds: must be at most 1000000000"),
        (
            "sweep.seeds=100000000",
            "sweep.seeds: depths times widths times seeds must be at most 1000000; got 100000000",
        ),
        (f"training.steps={ENORMOUS}", "training.steps: must be at most 10000000"),
        (f"sharpness.chunk_size={ENORMOUS}", "sharpness.chunk_size: must be at most 1000000000"),
        ("model.output_scale=1e300", "model.output_scale: must be at most 1e+30"),
        ("model.output_power=-1e300", "model.output_power: must be at least -6"),
        ("analysis={saturation: true, saturation_time: 1e300}", "it takes more than 10000000 steps; got 1e+300"),
        ("sweep.widths=[" + ", ".join(["8"] * 40_000) + "]", "a value may have at most 65536 characters"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_too_large_is_refused_with_what_is_allowed(override, allowed, write):
    message = fault(write, SMALL, [override])
    assert allowed in message
    assert len(message) < 500


def test_a_default_saturation_time_that_takes_too_long_is_refused_too(write):
    message = fault(write, SMALL, ["analysis.saturation=true", "sweep.lr_exponents={start: -40, stop: 1}"])
    assert "analysis.saturation_time: at c = 2^-40" in message


def test_a_file_that_is_too_large_for_a_config_is_refused_unread(write):
    begin = time.perf_counter()
    assert "a config may have at most 65536 bytes; this file has 10" in fault(write, SMALL + "# " + "x" * 1_000_000)
    assert time.perf_counter() - begin < 1


def test_of_many_faults_the_first_are_named_and_the_others_counted(write):
    lines = fault(write, SMALL + "".join(f"key{n}: 1\n" for n in range(60))).splitlines()
    assert len(lines) == 51
    assert lines[-1].endswith("my.yaml: and 10 more faults")


def test_a_folder_does_not_hide_a_shipped_config_of_its_name_and_a_file_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert load_config("quickstart").name == "quickstart"
    with pytest.raises(ConfigError, match=r"./quickstart: cannot be read: a folder; name a config in it"):
        load_config("./quickstart")
    (tmp_path / "quickstart").rmdir()
    (tmp_path / "quickstart").write_text(SMALL)
    assert load_config("quickstart").name == "small"


def test_a_missing_file_names_the_shipped_configs():
    with pytest.raises(ConfigError, match=r"nowhere.yaml: no such file.*quickstart"):
        load_config("nowhere.yaml")


def test_a_folder_and_a_file_that_is_not_text_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "image.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match="not a text file"):
        load_config(tmp_path / "image.yaml")


def test_a_descending_or_endless_grid_is_refused(write):
    message = fault(write, SMALL, ["sweep.lr_exponents={start: 2, stop: 1}"])
    assert "stop must be at least start" in message
    assert "at most 1000 grid points" in fault(write, SMALL, ["sweep.lr_exponents.step=1e-5"])


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", min_codepoint=32)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{2,5}", fullmatch=True).filter(lambda k: k not in ("no", "on", "yes", "off")), values
    )
)
def test_what_yaml_writes_is_read_back(document):
    text = dump(document)
    try:
        read, _ = parse(text)
    except YamlError:
        return  # an alias, or a key that looks like a number: refused, never misread
    assert read == document


def test_the_quickstart_spells_out_every_key_with_its_default():
    written = yaml.safe_load((Path(__file__).parents[3] / "configs" / "quickstart.yaml").read_text())
    complete = to_plain(load_config("quickstart"))

    def keys(plain, path=""):
        for key, value in plain.items():
            yield f"{path}{key}"
            if isinstance(value, dict):
                yield from keys(value, f"{path}{key}.")

    assert set(keys(written)) == set(keys(complete))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("analysis: {transient_steps: 20}", "analysis.transient_steps: must be at most 10"),
        ("analysis: {transient_steps: 5}", "search: exhaustive"),
        ("sharpness: {every: 5}", "sharpness.every: above 1 needs"),
        ("training: {warmup_steps: 11}", "training.warmup_steps: must be at most 10"),
        ("optimizer: {warmup: {steps: 11}}", ":5: optimizer.warmup.steps: must be at most 10"),
    ],
    ids=["longer than the run", "with an adaptive search", "without a transient", "an endless older", "an endless one"],
)
def test_lengths_of_runs_that_do_not_fit_together_are_refused(settings, key, write):
    with pytest.raises(ConfigError, match=re.escape(key)):
        load_config(write(f"{SMALL}{settings}\n"))

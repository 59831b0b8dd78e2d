"""A config runs the user's own code, and nobody else's unless the user says so."""

import pytest

from sharpness_phases.commands.options import checked_config
from sharpness_phases.custom_code import custom_code_digest, custom_code_file
from sharpness_phases.errors import UserError

CONFIG = """
name: own
model: {family: "%s"}
sweep: {depths: [2], widths: [8]}
"""
RUNS_AT_IMPORT = "from pathlib import Path\nPath('it_ran').touch()\ndef mlp(**settings): ...\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a module that leaves a trace when it is imported."""
    here = tmp_path / "here"
    (here / "package").mkdir(parents=True)
    (here / "mine.py").write_text(RUNS_AT_IMPORT)
    (here / "package" / "__init__.py").write_text(RUNS_AT_IMPORT)
    (here / "package" / "inner.py").write_text(RUNS_AT_IMPORT)
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("family", ["mine:mlp", "package.inner:mlp", "package:mlp"])
def test_a_config_in_the_current_folder_may_name_code_in_it(family, here):
    (here / "own.yaml").write_text(CONFIG % family)
    assert checked_config("own.yaml", None).model.family == family


@pytest.mark.parametrize("key", ["family", "loss"])
@pytest.mark.parametrize(
    ("folder", "code"),
    [("elsewhere", "mine:mlp"), ("here", "os:system"), ("here", "json.tool:main"), ("here", "absent.module:mlp")],
)
def test_a_config_from_elsewhere_or_with_other_code_needs_to_be_allowed(folder, code, key, here):
    path = here.parent / folder / "own.yaml"
    path.parent.mkdir(exist_ok=True)
    text = CONFIG % (code if key == "family" else "fcn") + (f"loss: {code}\n" if key == "loss" else "")
    path.write_text(text)
    with pytest.raises(UserError, match=f"{code}' would run code.*--allow-custom-code"):
        checked_config(str(path), None)
    assert not (here / "it_ran").exists()
    assert checked_config(str(path), None, allow_custom_code=True)


def test_what_is_typed_is_the_users_own_word(here):
    path = here.parent / "other.yaml"
    path.write_text(CONFIG % "fcn")
    assert checked_config(str(path), ["model.family=mine:mlp"]).model.family == "mine:mlp"
    assert checked_config(str(path), ["model={family: mine:mlp}"]).model.family == "mine:mlp"


def test_the_file_of_code_is_found_and_hashed_without_running_any(here):
    assert custom_code_file("package.inner:mlp") == here / "package" / "inner.py"
    assert custom_code_file("nothing.there:mlp") is None
    before = custom_code_digest("package.inner:mlp")
    (here / "package" / "inner.py").write_text(RUNS_AT_IMPORT + "# changed")
    assert custom_code_digest("package.inner:mlp") not in ("", before)
    assert custom_code_digest("nothing.there:mlp") == ""
    assert not (here / "it_ran").exists()

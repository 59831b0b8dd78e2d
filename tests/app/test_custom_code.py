"""A config runs the user's own code, and nobody else's unless the user says so."""

import hashlib
import shutil
import sys
import sysconfig
import time
import types
from pathlib import Path

import pytest

import sharpness_phases.models
from sharpness_phases.config.trust import checked_config
from sharpness_phases.custom_code import custom_code_digest, custom_code_file, load_custom, runs_only_own_code
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


@pytest.mark.parametrize("key", ["family", "loss", "optimizer"])
@pytest.mark.parametrize(
    ("folder", "code"),
    [("elsewhere", "mine:mlp"), ("here", "os:system"), ("here", "json.tool:main"), ("here", "absent.module:mlp")],
)
def test_a_config_from_elsewhere_or_with_other_code_needs_to_be_allowed(folder, code, key, here):
    path = here.parent / folder / "own.yaml"
    path.parent.mkdir(exist_ok=True)
    text = CONFIG % (code if key == "family" else "fcn") + (f"loss: {code}\n" if key == "loss" else "")
    text += f"optimizer: {{name: '{code}'}}\n" if key == "optimizer" else ""
    path.write_text(text)
    with pytest.raises(UserError, match=f"{code}' would run code.*--allow-custom-code"):
        checked_config(str(path), None)
    assert not (here / "it_ran").exists()
    assert checked_config(str(path), None, allow_custom_code=True)


def allowed(family, here):
    (here / "own.yaml").write_text(CONFIG % family)
    try:
        return checked_config("own.yaml", None).model.family == family
    except UserError:
        return False


def test_own_code_may_be_at_any_depth_below_the_current_folder(here):
    deep = here / "src" / "models" / "deep"
    deep.mkdir(parents=True)
    (deep / "nets.py").write_text(RUNS_AT_IMPORT)
    assert allowed("src.models.deep.nets:mlp", here)


@pytest.mark.parametrize("linked", ["mine.py", "package", "package/__init__.py", "package/inner.py"])
def test_code_that_is_elsewhere_is_not_own_through_a_symbolic_link(linked, here):
    family = "mine:mlp" if linked == "mine.py" else "package.inner:mlp"
    assert allowed(family, here)
    elsewhere = here.parent / "elsewhere"
    (here / linked).rename(elsewhere)
    (here / linked).symlink_to(elsewhere)
    assert custom_code_file(family) is not None
    assert not allowed(family, here)


def test_a_config_that_is_elsewhere_is_not_own_through_a_symbolic_link(here):
    (here.parent / "elsewhere.yaml").write_text(CONFIG % "mine:mlp")
    (here / "linked.yaml").symlink_to(here.parent / "elsewhere.yaml")
    with pytest.raises(UserError, match="--allow-custom-code"):
        checked_config("linked.yaml", None)


@pytest.mark.parametrize("folder", [Path(sysconfig.get_path("stdlib")).parents[1], Path(sys.prefix).parent])
@pytest.mark.parametrize("family", ["os:system", "json.tool:main", "numpy.ctypeslib:load_library"])
def test_python_and_what_is_installed_are_not_own_where_the_current_folder_holds_them(
    family, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(folder)
    assert custom_code_file(family) is not None
    assert not runs_only_own_code(family)


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


IMPORTS = {
    "import nets.blocks": "nets/blocks.py",
    "import nets.blocks as b": "nets/blocks.py",
    "from nets import blocks": "nets/blocks.py",
    "from nets.blocks import *": "nets/blocks.py",
    "from nets.outer import f": "nets/blocks.py",  # which imports it in turn, relatively
    "from nets import init_imports": "nets/blocks.py",
    "def mlp():\n    from nets.blocks import block": "nets/blocks.py",
    "import nets.blocks, other": "other.py",
    "from nets import absent_yet": "nets/__init__.py",
}


@pytest.mark.parametrize("statement", IMPORTS)
def test_a_change_of_a_module_that_own_code_imports_is_a_change_of_the_code(statement, here):
    (here / "nets").mkdir()
    files = {"nets/__init__.py": "size = 1", "nets/blocks.py": "def block(): ...", "other.py": "a = 1"}
    files |= {"nets/outer.py": "from .blocks import block as f", "nets/init_imports.py": "from . import outer"}
    files |= {"unrelated.py": "", "mine.py": f"import numpy, os\n{statement}\n"}
    for name, text in files.items():
        (here / name).write_text(text)
    before = custom_code_digest("mine:mlp")
    (here / "unrelated.py").write_text("changed = True")
    assert custom_code_digest("mine:mlp") == before
    changed = here / IMPORTS[statement]
    changed.write_text(changed.read_text() + " ")
    assert custom_code_digest("mine:mlp") != before
    changed.write_text(changed.read_text()[:-1])
    assert custom_code_digest("mine:mlp") == before
    assert not (here / "it_ran").exists()


def test_a_module_that_comes_to_be_imported_is_a_change_of_the_code(here):
    (here / "mine.py").write_text("try:\n    import tuned.sizes\nexcept ImportError:\n    pass\n")
    before = custom_code_digest("mine:mlp")
    (here / "tuned").mkdir()
    (here / "tuned" / "sizes.py").write_text("width = 8")
    assert custom_code_digest("mine:mlp") != before


def test_code_that_imports_nothing_of_the_users_has_the_digest_of_version_0_1(here):
    (here / "mine.py").write_text("import keras\nfrom os import path\n")
    own = hashlib.sha256((here / "mine.py").read_bytes()).hexdigest()
    assert custom_code_digest("mine:mlp") == custom_code_digest("mine:mlp", of_one_file=True) == own
    (here / "package" / "__init__.py").write_text("")
    own = hashlib.sha256((here / "package" / "inner.py").read_bytes()).hexdigest()
    assert custom_code_digest("package.inner:mlp") == own


def test_code_that_is_no_python_has_a_digest_all_the_same(here):
    (here / "mine.py").write_text("def mlp(:")
    assert custom_code_digest("mine:mlp") != ""


def test_the_digest_of_code_that_did_not_change_is_found_without_reading_it(here, monkeypatch):
    import os

    (here / "mine.py").write_text("import package.inner")
    for path in here.rglob("*"):
        os.utime(path, (0, 0))
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 10_000_000_000)  # later than the files, for certain
    before = custom_code_digest("mine:mlp")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"read {path}"))
    assert custom_code_digest("mine:mlp") == before


def test_what_is_hashed_is_what_is_imported_where_a_package_and_a_module_have_one_name(here):
    (here / "package.py").write_text("raise AssertionError")
    assert custom_code_file("package:mlp") == here / "package" / "__init__.py"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Makes a user's repository with a `models` and an `app` of its own, and goes there."""

    def make(name, answer):
        folder = tmp_path / name
        files = {
            "models/__init__.py": "",
            "models/nets.py": f"def mlp(): return {answer!r}",
            "app/__init__.py": "",
            "app/losses.py": f"def mine(): return {answer!r}",
            "mine.py": "from models.nets import mlp",
        }
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        monkeypatch.chdir(folder)
        return folder

    monkeypatch.setattr(sys, "path", list(sys.path))
    names = ("models", "app", "mine")
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in before:
        del sys.modules[name]
    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
    sys.modules.update(before)


OWN = ["models.nets:mlp", "app.losses:mine", "mine:mlp"]


@pytest.mark.parametrize("location", OWN)
def test_own_packages_called_app_and_models_are_those_of_the_current_folder(location, repository):
    repository("one", "first")
    assert load_custom(location, "model.family")() == "first"


@pytest.mark.parametrize("location", OWN)
def test_another_current_folder_means_other_code(location, repository):
    repository("one", "first")
    load_custom(location, "model.family")
    repository("two", "second")
    assert load_custom(location, "model.family")() == "second"


@pytest.mark.parametrize("location", ["models.nets:mlp", "mine:mlp"])
def test_code_that_changes_within_the_life_of_the_process_is_imported_anew(location, repository):
    """Also with the same size and within the same second, in which Python would take its compiled file."""
    folder = repository("one", "first")
    assert load_custom(location, "model.family")() == "first"
    same = load_custom(location, "model.family")
    assert load_custom(location, "model.family") is same
    (folder / "models" / "nets.py").write_text("def mlp(): return 'other'")
    assert load_custom(location, "model.family")() == "other"


@pytest.mark.parametrize("location", ["models.nets:mlp", "mine:mlp"])
def test_a_module_of_the_same_name_from_elsewhere_is_named(location, repository, monkeypatch, tmp_path):
    repository("one", "first")
    other = types.ModuleType("models")
    other.__file__ = str(tmp_path / "elsewhere" / "models.py")
    monkeypatch.setitem(sys.modules, "models", other)
    with pytest.raises(UserError, match=r"'models' in the current folder is hidden by .*elsewhere/models.py; rename"):
        load_custom(location, "model.family")
    assert sys.modules["models"] is other


def test_an_installed_package_that_hides_a_folder_without_init_is_named(repository, tmp_path):
    folder = repository("one", "first")
    (folder / "models" / "__init__.py").unlink()
    installed = tmp_path / "installed" / "models"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    sys.path.insert(0, str(installed.parent))
    with pytest.raises(UserError, match=r"hidden by .*installed/models; rename yours, or add models/__init__.py"):
        load_custom("models.nets:mlp", "model.family")


@pytest.mark.parametrize("location", ["models.nets:mlp", "app.losses:mine", "models.fcn:FCN"])
def test_in_the_projects_own_folder_its_sources_are_not_taken_for_the_users(location, repository):
    checkout = repository("checkout", "")
    for name, module in (("models", sharpness_phases.models), ("app", sharpness_phases)):
        shutil.rmtree(checkout / name)
        (checkout / name).symlink_to(Path(module.__file__).resolve().parent)
    with pytest.raises(UserError, match=r"in this folder is the source of sharpness_phases itself"):
        load_custom(location, "model.family")
    assert not {"models", "app"} & sys.modules.keys()

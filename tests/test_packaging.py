"""What is installed: one import name, beside which a user's own `app` and `models` stay the user's."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("app", "models", "configs", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources, so that building leaves nothing beside them."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def pip(*arguments):
    """Run pip without a network."""
    quiet = ("--quiet", "--disable-pip-version-check")
    done = subprocess.run([sys.executable, "-m", "pip", *quiet, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def environment(folder):
    """A virtual environment with all that the tests run with, but for the project itself; returns its scripts' folder.

    Installed editable, the project is found through a `.pth` file, which Python reads in a folder of its own only.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    places = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site / "dependencies.pth").write_text("".join(f"{place}\n" for place in places))
    return folder / "bin"


OFFLINE = ("--no-deps", "--no-index")


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", folder, checkout)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def from_wheel(wheel, tmp_path_factory):
    """The scripts of an environment with the wheel, and the folder that its modules are to come from."""
    scripts = environment(tmp_path_factory.mktemp("wheel") / "venv")
    pip("--python", scripts / "python", "install", *OFFLINE, "--ignore-installed", wheel)
    return scripts, scripts.parent


@pytest.fixture(scope="module")
def editable(checkout, tmp_path_factory):
    """The same, with the checkout itself, as `make` installs it."""
    scripts = environment(tmp_path_factory.mktemp("editable") / "venv")
    into = ("--python", scripts / "python", "install", *OFFLINE, "--ignore-installed")
    pip(*into, "--no-build-isolation", "--editable", checkout)
    return scripts, checkout


@pytest.fixture(params=["from_wheel", "editable"])
def installed(request):
    return request.getfixturevalue(request.param)


def python(scripts, *arguments, folder):
    return subprocess.run([scripts / "python", *arguments], cwd=folder, capture_output=True, text=True, env={})


NETS = """
def mlp(width, depth, input_shape, classes, seed):
    import keras
    start = keras.initializers.GlorotUniform(seed)
    hidden = keras.layers.Dense(width, activation="tanh", kernel_initializer=start)
    output = keras.layers.Dense(classes, kernel_initializer=start)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), hidden, output])
"""
PACKAGES = {
    "app/__init__.py": "",
    "app/losses.py": "def mine(y_true, y_pred): return (y_true - y_pred) ** 2",
    "models/__init__.py": "",
    "models/nets.py": NETS,
    "mine.py": "from models.nets import mlp",
}
MODULES = {
    "app.py": "def mine(y_true, y_pred): return (y_true - y_pred) ** 2",
    "models.py": NETS,
    "mine.py": "from models import mlp",
}
FORMS = {
    "packages": ["models.nets:mlp", "mine:mlp", "app.losses:mine"],
    "modules": ["models:mlp", "mine:mlp", "app:mine"],
}


@pytest.fixture
def repository(tmp_path):
    """Makes a user's repository."""

    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_configs_data_and_the_report(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (top,) = (archive.read(name).decode() for name in names if name.endswith("top_level.txt"))
    assert top.split() == ["sharpness_phases"]
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"sharpness_phases"}
    missing = {
        str(Path("sharpness_phases", "" if folder == "app" else folder) / path.relative_to(ROOT / folder))
        for folder in ("app", "models", "configs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - names
    assert not missing


WORKS = """
import app, models, sharpness_phases, sharpness_phases.models
from sharpness_phases import Experiment
from sharpness_phases.config.loading import load_config, shipped_configs
from sharpness_phases.custom_code import load_custom
from sharpness_phases.data.loading import load_image_set

for module in (sharpness_phases, sharpness_phases.models):
    assert module.__file__.startswith({place!r}), module
for module in (app, models):
    assert module.__file__.startswith({repository!r}), module
assert {{"quickstart", "laptop/fcn_mse"}} <= set(shipped_configs())
load_config("paper/fcn")
assert len(load_image_set("fashion_mnist_subset").train_images) == 4096
for location in {forms!r}:
    assert callable(load_custom(location, "model.family"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMS)
def test_a_script_and_own_code_of_a_repository_with_app_and_models_work(kind, installed, repository):
    scripts, place = installed
    folder = repository(PACKAGES if kind == "packages" else MODULES)
    (folder / "script.py").write_text(WORKS.format(place=str(place), repository=str(folder), forms=FORMS[kind]))
    done = python(scripts, "script.py", folder=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_nothing_called_app_or_models_is_installed(installed, tmp_path):
    scripts, _ = installed
    code = "from importlib.util import find_spec; print(find_spec('app'), find_spec('models'))"
    assert python(scripts, "-c", code, folder=tmp_path).stdout == "None None\n"


@pytest.mark.slow
def test_the_command_line_starts_where_the_repository_has_an_app_of_its_own(installed, repository):
    scripts, _ = installed
    folder = repository(PACKAGES)
    told = python(scripts, "-m", "sharpness_phases", "run", "nowhere", folder=folder)
    script = python(scripts, scripts / "phases", "run", "nowhere", folder=folder)
    assert (told.returncode, script.returncode) == (2, 2)
    assert "nowhere: no such file, nor a shipped config (shipped: " in told.stderr
    assert script.stderr == told.stderr


@pytest.mark.slow
def test_the_command_line_measures_own_networks_and_losses(editable, repository):
    scripts, _ = editable
    folder = repository(PACKAGES)
    own = (
        "model.family=models.nets:mlp",
        "loss=app.losses:mine",
        "sweep.widths=[8]",
        "sweep.depths=[2]",
        "sweep.seeds=1",
    )
    few = ("data.train_examples=64", "training.batch_size=64", "sharpness.examples=64")
    overrides = [word for text in (*own, *few) for word in ("-s", text)]
    done = python(scripts, scripts / "phases", "sharpness", "quickstart", *overrides, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "Initial sharpness of quickstart" in done.stdout


@pytest.mark.slow
def test_a_checkout_that_is_not_installed_starts_by_its_folder(checkout, tmp_path):
    scripts = environment(tmp_path / "venv")
    assert "No module named" in python(scripts, "-m", "sharpness_phases", folder=checkout).stderr
    done = python(scripts, "-m", "app", "run", "nowhere", folder=checkout)
    assert done.returncode == 2
    assert "(shipped: " in done.stderr
    assert "quickstart" in done.stderr


@pytest.mark.slow
def test_a_checkout_starts_by_its_folder_though_another_is_installed(from_wheel, checkout, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(checkout, other)
    (other / "configs" / "mine.yaml").write_text("# Mine.\nname: mine\n")
    scripts, _ = from_wheel
    assert "mine" in python(scripts, "-m", "app", "run", "nowhere", folder=other).stderr

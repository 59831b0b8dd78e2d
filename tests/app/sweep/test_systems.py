"""Every family, loss and data set runs through an experiment, with tiny networks on real images."""

import keras
import numpy as np
import pytest

from sharpness_phases.analyzer import PhaseAnalyzer
from sharpness_phases.config.loading import ConfigError, load_config
from sharpness_phases.errors import UserError
from sharpness_phases.experiment import Experiment
from sharpness_phases.models import FAMILIES
from sharpness_phases.store.runs import RunStore

pytestmark = pytest.mark.usefixtures("kept_networks")

TINY = [
    "sweep.seeds=1",
    "data.train_examples=64",
    "training.batch_size=16",
    "training.steps=3",
    "sharpness.examples=16",
    "sweep.lr_exponents={start: 0, stop: 6, step: 1.0}",
    "tensorboard=false",
]
NETWORKS = {
    "fcn": (3, 8),
    "linear_fcn": (3, 8),
    "myrtle": (5, 2),
    "resnet": (18, 2),
    "transformer": (1, 8),
    "vit": (1, 8),
}
FAST = ("fcn",)
SLOW = [
    ("linear_fcn", "xent"),
    ("myrtle", "mse"),
    ("resnet", "xent"),
    ("transformer", "mse"),
    ("vit", "xent"),
    ("fcn", "xent"),
]
PAIRS = [(family, loss) for family in NETWORKS for loss in ("mse", "xent")]


def marked(family, loss):
    """Every family runs with one loss in `make test-all`, and with the other in `make test-long`."""
    marks = {("fcn", "mse"): []} | dict.fromkeys(SLOW, [pytest.mark.slow])
    return pytest.param(family, loss, marks=marks.get((family, loss), [pytest.mark.long]))


OF_IMAGES = [name for name in NETWORKS if not FAMILIES[name].tokens]
ANOTHER_SET = {"mse": "cifar10", "xent": "fashion_mnist"}
TOKENS = ["data.dataset=shakespeare", "data.context_length=8"]
UV = ["data={dataset: one_point}", "training.batch_size=1", "sharpness.examples=1"]


def run(folder, family, *overrides, depth=None, width=None):
    known = NETWORKS.get(family, (2, 8))
    shape = [f"sweep.depths=[{depth or known[0]}]", f"sweep.widths=[{width or known[1]}]"]
    shape += TOKENS if family in FAMILIES and FAMILIES[family].tokens else []
    config = load_config("quickstart", [f"model={{family: '{family}'}}", *TINY, *shape, *overrides])
    Experiment(config, folder).run_shard((1, 1))  # all of it, without pictures
    return PhaseAnalyzer.load(folder)


def test_every_family_is_tried():
    assert set(NETWORKS) | {"uv"} == set(FAMILIES)
    assert {family for family, _ in SLOW} == set(NETWORKS)


@pytest.mark.parametrize(("family", "loss"), [marked(family, loss) for family, loss in PAIRS])
def test_every_family_runs_with_every_loss(family, loss, tmp_path, prepared_if_any):
    """The images are of another set with another loss, where the prepared ones are at hand."""
    options = [f"loss={loss}"]
    if prepared_if_any and family in OF_IMAGES and family not in FAST:
        options += [f"data.dataset={ANOTHER_SET[loss]}", f"data.data_dir={prepared_if_any}"]
    table = run(tmp_path, family, *options).critical_constants()
    assert len(table) == 1
    assert table["lambda_0"].iloc[0] > 0


@pytest.mark.long
@pytest.mark.parametrize("dataset", ["fashion_mnist", "cifar10"])
@pytest.mark.parametrize("loss", ["mse", "xent"])
@pytest.mark.parametrize("family", OF_IMAGES)
def test_every_family_runs_on_every_prepared_data_set(family, loss, dataset, tmp_path, prepared_data):
    options = (f"loss={loss}", f"data.dataset={dataset}", f"data.data_dir={prepared_data}")
    assert len(run(tmp_path, family, *options).critical_constants()) == 1


SUMS = "data={dataset: modular_addition, modulus: 11, train_examples: 64}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (SUMS,),
        ("model={family: transformer, parameterization: mup, norm_position: post}", "loss=xent"),
        *(
            pytest.param(variant, marks=pytest.mark.long)
            for variant in (
                ("model={family: transformer, normalization: none, heads: 2}", "training.momentum=0.9"),
                ("model={family: transformer, normalization: rms, output_layer: zero}", "sharpness.chunk_size=4"),
                ("model={family: transformer, subtract_initial: true}",),
            )
        ),
    ],
)
def test_a_transformer_runs_in_every_variant_and_on_sums(overrides, tmp_path):
    assert len(run(tmp_path, "transformer", *overrides).critical_constants()) == 1


@pytest.mark.slow
def test_a_change_of_the_users_text_makes_new_runs_but_not_one_of_its_place(tmp_path):
    text, copy = tmp_path / "a.txt", tmp_path / "b.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    copy.write_text(text.read_text())

    def runs(path):
        settings = f"data={{dataset: text, path: '{path}', context_length: 8, train_examples: 64}}"
        return set(run(tmp_path / "out", "transformer", settings).runs["run_id"])

    first = runs(text)
    assert first
    assert runs(copy) == first
    copy.write_text(text.read_text().upper())
    assert runs(copy).isdisjoint(first)
    with pytest.raises(UserError, match=r"holds runs of another config \(data.path: .*b.txt there, .*a.txt here"):
        runs(text)


@pytest.mark.slow
def test_the_uv_model_runs_on_its_one_point(tmp_path):
    table = run(tmp_path, "uv", *UV, "data.train_examples=null", width=64).critical_constants()
    assert len(table) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "model.output_layer=zero",
        pytest.param("model.subtract_initial=true", marks=pytest.mark.slow),
        pytest.param("model.output_scale=0.3", marks=pytest.mark.slow),
        pytest.param("model.output_power=0.5", marks=pytest.mark.slow),
        pytest.param("model.parameterization=ntk", marks=pytest.mark.slow),
        pytest.param("model.parameterization=mup", marks=pytest.mark.slow),
    ],
)
def test_every_variant_of_the_output_and_parameterization_runs(override, tmp_path):
    loss_0 = run(tmp_path, "fcn", override).critical_constants()["loss_0"].iloc[0]
    if override in ("model.output_layer=zero", "model.subtract_initial=true"):
        assert loss_0 == pytest.approx(0.05)  # of a zero output: 1/2 of the mean over ten outputs of one 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "normalization"),
    [
        ("fcn", "batch"),
        ("fcn", "layer"),
        *(pytest.param("fcn", name, marks=pytest.mark.long) for name in ("group", "rms")),
        *(pytest.param("resnet", name, marks=pytest.mark.long) for name in ("batch", "layer", "group", "rms")),
    ],
)
def test_a_normalized_network_runs(family, normalization, tmp_path):
    assert len(run(tmp_path, family, f"model.normalization={normalization}").critical_constants()) == 1


@pytest.mark.slow
def test_lambda_0_of_a_network_with_batch_normalization_is_of_the_batch_statistics_or_of_the_moving_ones(tmp_path):
    of_batch, of_moving = (
        run(tmp_path / way, "fcn", "model.normalization=batch", f"sharpness.batch_norm={way}").critical_constants()
        for way in ("batch", "inference")
    )
    assert abs(np.log(of_batch["lambda_0"].iloc[0] / of_moving["lambda_0"].iloc[0])) > 0.1


OWN = """
import keras

def wide(width, depth, input_shape, classes, seed):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(width, activation="gelu") for _ in range(depth - 1)]
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), *layers, keras.layers.Dense(classes)])

def wrong(width, depth, input_shape, classes, seed):
    return None

def open_ended(width, depth, input_shape, classes, seed):
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(classes)])

class Bare(keras.losses.Loss):
    def __init__(self):
        super().__init__()

    def call(self, y, f):
        return keras.losses.huber(y, f)

def huber(y, f):
    return keras.losses.huber(y, f)

def of_tokens(width, depth, input_shape, classes, seed):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Embedding(classes, width), keras.layers.GRU(width, return_sequences=True)]
    return keras.Sequential([keras.Input(input_shape, dtype="int32"), *layers, keras.layers.Dense(classes)])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_the_users_own_model_and_loss_run(own, tmp_path):
    analyzer = run(tmp_path / "out", f"{own}:wide", f"loss={own}:huber")
    table = analyzer.critical_constants()
    assert table["model"].iloc[0] == f"{own}:wide"
    assert table["loss"].iloc[0] == f"{own}:huber"


@pytest.mark.slow
def test_the_users_own_model_of_tokens_runs(own, tmp_path):
    assert len(run(tmp_path, f"{own}:of_tokens", *TOKENS).critical_constants()) == 1
    with pytest.raises(UserError, match=r"with outputs \(None, 8, 66\); got outputs \(None, 66\)"):
        run(tmp_path / "wrong", f"{own}:wide", *TOKENS)


@pytest.mark.slow
def test_the_users_own_loss_class_runs(tmp_path):
    assert len(run(tmp_path, "fcn", "loss=keras.losses:LogCosh").critical_constants()) == 1


@pytest.mark.slow
def test_a_change_of_the_users_own_code_makes_new_runs(own, tmp_path):
    first = set(run(tmp_path / "out", f"{own}:wide").runs["run_id"])
    path = tmp_path / f"{own}.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert first.isdisjoint(run(tmp_path / "out", f"{own}:wide").runs["run_id"])


@pytest.mark.slow
def test_a_change_of_what_the_users_own_code_imports_makes_new_runs_that_it_computes(own, tmp_path):
    sizes, path = tmp_path / f"{own}_sizes.py", tmp_path / f"{own}.py"
    sizes.write_text("factor = 1")
    path.write_text(f"from {own}_sizes import factor\n" + OWN.replace("Dense(width", "Dense(factor * width"))
    first = run(tmp_path / "out", f"{own}:wide")
    sizes.write_text("factor = 2")
    second = run(tmp_path / "out", f"{own}:wide")
    assert set(first.runs["run_id"]).isdisjoint(second.runs["run_id"])
    assert (first.critical_constants()["lambda_0"] != second.critical_constants()["lambda_0"]).all()


@pytest.mark.slow
def test_code_that_is_changed_while_it_runs_ends_the_experiment_and_no_run_is_taken_for_one_of_the_other(own, tmp_path):
    path = tmp_path / f"{own}.py"

    class Changing:
        def started(self, cells): ...

        def finished(self, cell, computed):
            path.write_text(path.read_text() + "\n# changed\n")

    folder, two = tmp_path / "out", [f"model={{family: '{own}:wide'}}", *TINY, "sweep.depths=[2]", "sweep.seeds=2"]
    with pytest.raises(UserError, match=f"The code of {own}:wide was changed while the experiment ran. Finished runs"):
        Experiment.from_config("quickstart", [*two, "sweep.widths=[8]"], folder).run(Changing())
    kept = set(RunStore(folder / "runs").table()["run_id"])
    assert kept
    assert kept.isdisjoint(run(folder, f"{own}:wide").runs["run_id"])


def test_faults_of_the_users_own_code_are_users_errors(own, tmp_path):
    for family, expected in (
        (f"{own}:absent", "cannot be imported"),
        ("no_such_module:f", "cannot be imported"),
        (f"{own}:wrong", "must return a Keras model"),
        (f"{own}:open_ended", r"a model without inputs; begin it with keras.Input\(input_shape\)"),
    ):
        with pytest.raises(UserError, match=f"model.family: .*{expected}"):
            run(tmp_path / "out", family)
    with pytest.raises(UserError, match=f"loss: {own}:Bare.* failed: TypeError: .*A class must take `dtype`"):
        run(tmp_path / "out", "fcn", f"loss={own}:Bare")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model={family: resnet}"], "sweep.depths: depths of resnet must be among \\[18, 34\\]; got \\[4\\]"),
        (["model={family: linear_fcn, activation: relu}"], "activation of linear_fcn must be 'linear'"),
        (["model={family: transformer}"], "transformer needs tokens: shakespeare, text, modular_addition"),
        (["data.dataset=shakespeare"], "data.dataset: fcn does not take tokens; transformer does"),
        (["model={family: vit}", "sweep.widths=[6,8]"], "widths must be multiples of model.heads, 4; got 6"),
        (["model={family: vit, patch_size: 5}"], "patch_size: must divide the sides of the images, 28 and 28; got 5"),
        (["model={family: vit, normalization: group}"], "normalization of vit must be 'none' or 'layer' or 'rms'"),
        (["model={family: fcn, heads: 2, patch_size: 2}"], "heads: fcn has none; patch_size: fcn has none"),
        (["data.modulus=5"], "data.modulus: only for modular_addition; got the data set fashion_mnist_subset"),
        (["model={family: transformer}", "data={dataset: text}"], "data.path: text needs a file"),
        (
            ["model={family: transformer}", "data={dataset: modular_addition, modulus: 20}"],
            "must be at most 400, the training examples there are; got 1024",
        ),
        (
            ["model={family: linear_fcn, normalization: layer}"],
            "normalization of linear_fcn must be 'none'; got 'layer'",
        ),
        (
            ["model.normalization=batch", "model.subtract_initial=true"],
            "subtract_initial: not with batch normalization",
        ),
        (["model={family: 'a.b:c', bias: true}"], "bias: not for your own model"),
        (["model.family=a.b"], "model.family: must be one of 'fcn', 'linear_fcn'"),
        (["model={family: myrtle}", "data.dataset=one_point"], "data.dataset: myrtle needs images"),
    ],
)
def test_what_a_family_cannot_be_is_refused_in_the_config(overrides, expected):
    with pytest.raises(ConfigError, match=expected):
        load_config("quickstart", overrides)


def test_a_linear_network_is_in_ntk_parameterization_by_default():
    assert load_config("quickstart", ["model={family: linear_fcn}"]).model.parameterization == "ntk"


def test_subtracting_the_initial_output_trains_the_same_weights():
    from sharpness_phases.models import FCN
    from sharpness_phases.models.initial import subtract_initial_output

    network, copy = (FCN(8, 3).build((6,), 3, seed=seed) for seed in (0, 1))
    model = subtract_initial_output(network, copy)
    x = np.ones((2, 6), np.float32)
    assert not model(x).numpy().any()
    assert [v.shape for v in model.trainable_variables] == [v.shape for v in network.trainable_variables]
    assert isinstance(model, keras.Model)

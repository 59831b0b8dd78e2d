"""Data and networks that a number can come to grief on: a defined result, or an error that names the cause."""

import re

import numpy as np
import pytest
from tiny import TINY

import sharpness_phases.data.preprocessing as preprocessing
from sharpness_phases import Experiment, Lanczos
from sharpness_phases.data.loading import ImageSet
from sharpness_phases.errors import UserError

SMALL = [*TINY, "sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false"]


@pytest.fixture
def with_images(monkeypatch, tmp_path):
    """Run an experiment on the embedded images after a change of them."""
    honest = preprocessing.load_image_set

    def run(change, *overrides):
        def changed(name, data_dir):
            images = honest(name, data_dir)
            x, labels = change(images.train_images[:256].astype(np.float64), images.train_labels[:256])
            return ImageSet(name, x, labels, images.test_images, images.test_labels, images.classes)

        monkeypatch.setattr(preprocessing, "load_image_set", changed)
        experiment = Experiment.from_config("quickstart", [*SMALL, *overrides], tmp_path / "results")
        return experiment.run().critical_constants()

    return run


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_named(value, with_images, tmp_path):
    def spoil(x, labels):
        x[[3, 5], 0] = value
        return x, labels

    with pytest.raises(UserError, match="data.dataset: 2 of 256 images of fashion_mnist_subset hold NaN or infinite"):
        with_images(spoil)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_images_of_one_colour_leave_nothing_to_learn_from(with_images):
    with pytest.raises(UserError, match="initial sharpness of d2_w8_s0 is 0.*or the data constant"):
        with_images(lambda x, labels: (np.full_like(x, 7.0), labels))


@pytest.mark.slow
def test_a_single_class_has_its_constants(with_images):
    table = with_images(lambda x, labels: (x, np.zeros_like(labels)))
    assert table["lambda_0"][0] > 0
    assert (table["c_max"].notna() | table["c_max_censored"].ne(""))[0]


@pytest.mark.slow
def test_equal_images_have_their_constants(with_images):
    table = with_images(lambda x, labels: (np.repeat(x[:1], len(x), axis=0), labels))
    assert table["lambda_0"][0] > 0
    assert (table["c_max"].notna() | table["c_max_censored"].ne(""))[0]


OWN = """
import keras, tensorflow as tf

def dead(width, depth, input_shape, classes, seed):
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Dense(width, activation="relu", bias_initializer=keras.initializers.Constant(-1e6))(
        keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(classes, kernel_initializer="zeros", use_bias=False)(x))

def linear(width, depth, input_shape, classes, seed):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(classes, use_bias=False)(keras.layers.Flatten()(inputs)))

def endless(width, depth, input_shape, classes, seed):
    model = linear(width, depth, input_shape, classes, seed)
    model.layers[-1].kernel.assign(model.layers[-1].kernel * float("nan"))
    return model

def upside_down(targets, outputs):
    return -tf.reduce_mean((targets - outputs) ** 2, axis=-1)
"""


@pytest.mark.slow
def test_an_initial_sharpness_that_is_not_as_exact_as_asked_is_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("sharpness_phases.sweep.simulator.build_solver", lambda *_: Lanczos(1e-6, max_products=2))
    Experiment.from_config("quickstart", [*SMALL, "sharpness.tolerance=1e-6"], tmp_path).run()
    told = (
        r"d2_w8_s0: lambda_0 may be inexact: after \d products its residual is \d.*, above sharpness.tolerance 1.0e-06"
    )
    assert re.search(told, caplog.text)


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_numbers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["model={family: 'own_numbers:dead'}"], "0"),
        pytest.param(["model={family: 'own_numbers:endless'}"], "nan", marks=pytest.mark.slow),
        pytest.param(
            ["model={family: 'own_numbers:linear'}", "loss='own_numbers:upside_down'"],
            r"-?\d.*",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["dead", "NaN", "negative"],
)
def test_a_network_without_positive_sharpness_is_an_error_that_names_it(overrides, found, own, tmp_path):
    experiment = Experiment.from_config("quickstart", [*SMALL, *overrides], tmp_path / "results")
    with pytest.raises(UserError, match=f"initial sharpness of d2_w8_s0 is {found}"):
        experiment.run()
    assert not (tmp_path / "results").exists()

"""Parts of a network that are computed again: beside the same network without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import HalfMeanSquaredError, SharpnessModel, critical_learning_rate
from sharpness_phases.training.objective import Objective

layers = keras.layers


@keras.saving.register_keras_serializable("tests")
class Mixing(layers.Layer):
    """A layer with a part of its own: two inputs and two outputs, with a weight."""

    def __init__(self, computed_again=None, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4)
        self.part = computed_again(self.mixed) if computed_again else self.mixed

    def build(self, shape):
        self.dense.build(shape)

    def mixed(self, x, other):
        return tf.tanh(self.dense(x) * other), other

    def call(self, x):
        mixed, other = self.part(x, x)
        return mixed + other


def with_parts(computed_again):
    return keras.Sequential([keras.Input((4,)), layers.Dense(4, "tanh"), Mixing(computed_again), layers.Dense(3)])


def convolutions(mode):
    with keras.RematScope(mode, layer_names=["convolution", "normalization"]):
        return keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.Conv2D(3, 3, activation="tanh", name="convolution"),
                layers.BatchNormalization(name="normalization"),
                layers.Activation("gelu"),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )


def hessian(make, batch_norm="batch"):
    """The dense Hessian, from the same weights and data whatever is computed again."""
    keras.utils.set_random_seed(0)
    network = make()
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(weight + 0.1 * rng.random(weight.shape))
    x, y = rng.standard_normal((8, *network.input_shape[1:])), rng.standard_normal((8, 3))
    operator = Objective(network, HalfMeanSquaredError(), batch_norm).hessian(
        tf.constant(x, tf.float32), tf.constant(y, tf.float32)
    )

    @tf.function
    def dense():
        matvec = operator.linearize().matvec
        return tf.map_fn(matvec, tf.eye(operator.size))

    return dense().numpy()


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("computed_again", [keras.remat, tf.recompute_grad])
def test_parts_that_a_layer_computes_again_have_the_hessian_of_the_layer(computed_again):
    same(hessian(lambda: with_parts(computed_again)), hessian(lambda: with_parts(None)))


@pytest.mark.parametrize("batch_norm", ["batch", "inference"])
@pytest.mark.parametrize("mode", ["full", "activations", "list_of_layers"])
def test_layers_in_a_remat_scope_are_measured_with_what_stands_in_for_tensorflows(mode, batch_norm):
    same(hessian(lambda: convolutions(mode), batch_norm), hessian(lambda: convolutions(None), batch_norm))


def some_images():
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 6, 6, 2)), rng.integers(3, size=8)


def tracked(mode, policy="float32"):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        network = convolutions(mode)
    finally:
        keras.config.set_dtype_policy("float32")
    model = SharpnessModel(network, measurement=some_images())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.slow
def test_a_network_in_a_remat_scope_is_trained_and_tracked_like_any_other():
    def sharpness(mode):
        return tracked(mode).fit(*some_images(), batch_size=4, epochs=2, verbose=0).history["sharpness"]

    np.testing.assert_allclose(sharpness("activations"), sharpness(None), rtol=1e-3)


@pytest.mark.slow
def test_how_far_the_next_step_may_go_is_found_without_second_derivatives_of_tensorflows():
    def found(mode):
        model = tracked(mode)
        model.network.compile("sgd", model.loss)
        return critical_learning_rate(model.network, some_images())

    again, kept = found("activations"), found(None)
    assert again.eta_c == pytest.approx(kept.eta_c, rel=1e-3)
    assert again.lambda_dir == pytest.approx(kept.lambda_dir, rel=1e-2)


@pytest.mark.slow
def test_what_is_computed_again_has_the_precision_of_the_weights_too():
    kept, again = (tracked(mode, "mixed_bfloat16").sharpness().eigenvalue for mode in (None, "full"))
    assert again == pytest.approx(kept, rel=1e-4)


PEAK = """
import contextlib, json, pathlib, re, sys, time
import keras, numpy as np
from sharpness_phases import SharpnessModel
layers, width, tokens, names = keras.layers, 64, 256, [f"block{i}" for i in range(6)]

def block(name):
    x = keras.Input((tokens, width))
    attention = layers.MultiHeadAttention(8, 8)
    y = layers.Add()([x, attention(*2 * [layers.LayerNormalization()(x)])])
    z = layers.Dense(width)(layers.Dense(4 * width, "gelu")(layers.LayerNormalization()(y)))
    return keras.Model(x, layers.Add()([y, z]), name=name)

scope = keras.RematScope("list_of_layers", layer_names=names) if sys.argv[1] == "remat" else contextlib.nullcontext()
keras.utils.set_random_seed(0)
x = keras.Input((tokens,))
y = layers.Embedding(50, width)(x)
with scope:
    for name in names:
        y = block(name)(y)
network = keras.Model(x, layers.Dense(50)(y))
data = np.random.default_rng(0).integers(50, size=(2, 4, tokens))
model = SharpnessModel(network, measurement=tuple(data))
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
eigenvalue = model.sharpness().eigenvalue
after = peak()
start = time.perf_counter()
model.sharpness()
print(json.dumps([eigenvalue, after - before, time.perf_counter() - start]))
"""


def peak(how):
    """The sharpness of six blocks of attention, the memory that it took (MiB), the seconds that the next takes."""
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, how],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
    )
    assert not ran.returncode, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the memory of a process")
def test_blocks_that_are_computed_again_are_measured_in_two_thirds_of_the_memory():
    kept, memory_of_kept, seconds_of_kept = peak("kept")
    again, memory, seconds = peak("remat")
    print(f"six blocks: {memory_of_kept:.0f} MiB, {seconds_of_kept:.1f} s")
    print(f"computed again: {memory:.0f} MiB, {seconds:.1f} s")
    assert again == pytest.approx(kept, rel=1e-4)
    assert memory < 0.67 * memory_of_kept

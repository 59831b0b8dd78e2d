"""The catalogue of architectures that people train: measured, trained, saved and advised as they are written.

The oracles share no channel with the project: differences of TensorFlow's first derivatives in float64, and the second
derivatives of another framework, both with ARPACK as the solver.
"""

import catalogue.all  # noqa: F401
import keras
import numpy as np
import pytest
from catalogue import in_differences
from catalogue.architecture import ARCHITECTURES, built
from catalogue.measuring import Jax, has_jax, measured, measurement_of, names, wrapped

from sharpness_phases import SharpnessCallback, recommend_learning_rate

FAST = ["mixture_density_network", "deep_sets", "collaborative_filtering"]
"""Of different kinds, and measured with their oracle in a few seconds each."""

IN_JAX = ["captcha_reader_with_ctc", "three_dimensional_cnn", "swin_transformer", "real_nvp_flow"]
"""Some, as XLA takes half a minute for each: those that TensorFlow cannot compute in float64, and others beside."""

LARGE = set(names("applications"))
"""Networks of so many weights that the oracle of differences takes minutes."""

LOST_IN_ROUNDING = {"resnet_50_v2", "inception_time"}
"""What float32 gives up to 0.3% off, and says so."""


@pytest.fixture(autouse=True)
def forgotten():
    """Let no graph of one network stay for the next."""
    yield
    keras.backend.clear_session()


def assert_is_measured(name, oracle):
    problem = built(name)
    weights, words = problem.network.get_weights(), ARCHITECTURES[name].refused
    found = measured(problem)
    if words is not None:
        assert words in found.refusal
        return
    assert not found.refusal
    loss, sharpness = oracle(name, weights)
    assert found.loss == pytest.approx(loss, rel=1e-4)
    if name in LOST_IN_ROUNDING:
        assert not found.converged
    assert found.sharpness == pytest.approx(sharpness, rel=1e-2 if name in LOST_IN_ROUNDING else 1e-3)


@pytest.mark.parametrize("name", FAST)
def test_small_architectures_have_the_sharpness_that_differences_have(name):
    assert_is_measured(name, in_differences.largest_eigenvalue)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in names() if name not in FAST and ARCHITECTURES[name].in_double])
def test_all_architectures_have_the_sharpness_that_differences_have_or_are_refused_in_words(name):
    assert_is_measured(name, in_differences.largest_eigenvalue)


@pytest.fixture(scope="module")
def jax():
    if not has_jax():
        pytest.skip("JAX is not installed: it comes with the extra `zoo`")
    with Jax() as process:
        yield process


@pytest.mark.long
@pytest.mark.parametrize("name", IN_JAX)
def test_some_architectures_have_the_sharpness_that_another_framework_finds(name, jax):
    assert_is_measured(name, jax.largest_eigenvalue)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in names() if ARCHITECTURES[name].refused is None])
def test_the_callback_measures_them_while_they_train(name):
    problem = built(name)
    before = measured(problem)
    problem.network.compile(keras.optimizers.SGD(1e-4), problem.loss, loss_weights=problem.loss_weights)
    callback = SharpnessCallback(measurement_of(problem), unit="steps")
    problem.network.fit(problem.x, problem.y, batch_size=64, epochs=2, verbose=0, callbacks=[callback])
    assert [at.step for at in callback.history] == [0, 1, 2]
    assert callback.history[0].sharpness == pytest.approx(before.sharpness, rel=1e-3)
    assert all(np.isfinite(at.sharpness) for at in callback.history)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in names() if ARCHITECTURES[name].refused is None])
def test_what_keras_can_save_of_them_is_measured_again_after_loading(name, tmp_path):
    problem = built(name)
    try:
        problem.network.save(tmp_path / "network.keras")
        read = keras.models.load_model(tmp_path / "network.keras", compile=False, safe_mode=False)
        outputs = [keras.tree.flatten(network(problem.x, training=False)) for network in (problem.network, read)]
    except (TypeError, ValueError, NotImplementedError, NameError) as error:  # a Lambda's code may miss its module
        pytest.skip(f"Keras itself does not save and load it: {error}")
    if not all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(*outputs, strict=True)):
        pytest.skip("Keras itself gives it other weights when it loads it")
    if len(read.trainable_variables) != len(problem.network.trainable_variables):
        pytest.skip("Keras itself lets other weights be trained when it has loaded it")  # LoRA's come back as one
    model = wrapped(problem)
    before = model.sharpness()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=False)
    if problem.loss is None:
        loaded.network.compile()
    loaded.compile(keras.optimizers.SGD(1e-4), problem.loss, loss_weights=problem.loss_weights, jit_compile=False)
    loaded.measure_on(*measurement_of(problem))
    after = loaded.sharpness()
    if name in LOST_IN_ROUNDING:
        assert not (before.converged or after.converged)
        return
    assert after.eigenvalue == pytest.approx(before.eigenvalue, rel=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in names() if ARCHITECTURES[n].refused is None and n not in LARGE])
def test_a_learning_rate_is_found_for_them_and_nothing_of_them_moves(name):
    problem = built(name)
    problem.network.compile(keras.optimizers.Adam(1e-3), problem.loss, loss_weights=problem.loss_weights)
    before = problem.network.get_weights()
    examples = len(keras.tree.flatten(problem.x)[0])
    advice = recommend_learning_rate(problem.network, measurement_of(problem), batch_size=examples, steps=20, budget=40)
    assert 0 < advice.learning_rate < np.inf
    for old, new in zip(before, problem.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

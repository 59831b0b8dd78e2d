"""Every registered family keeps these promises: a new family only adds an entry to `CASES`."""

import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

import models
from app.losses import LOSSES, build_loss

CASES = {"fcn": {"width": 5, "depth": 3}}
"""Smallest useful instance of each family; inputs are (6, 6, 1) images."""

SHAPE, CLASSES = (6, 6, 1), 3


def test_every_registered_family_has_a_case():
    assert set(CASES) == set(models.FAMILIES)


@pytest.fixture(params=sorted(CASES))
def family(request):
    return request.param


def hessian(family, loss, dtype, activation="relu", **settings):
    factory = models.family(family)(**CASES[family], activation=activation, dtype=dtype, **settings)
    network = factory.build(SHAPE, CLASSES, seed=1)
    x, y = classification(12, SHAPE, CLASSES, dtype=np.dtype(dtype))
    return operator_of(network, build_loss(loss, dtype), x, y)


@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
@pytest.mark.parametrize("loss", LOSSES)
def test_products_agree_with_the_dense_hessian(family, loss, mode):
    operator = hessian(family, loss, "float64")
    dense = dense_hessian(operator)
    product = {
        "eager": lambda v: operator.linearize().matvec(v),
        "graph": tf.function(lambda v: operator.linearize().matvec(v)),
        "XLA": tf.function(lambda v: operator.linearize().matvec(v), jit_compile=True),
    }[mode]
    rng = np.random.default_rng(0)
    for _ in range(3):
        v = rng.standard_normal(operator.size)
        expected = dense @ v
        assert np.linalg.norm(product(tf.constant(v)).numpy() - expected) <= 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_products_agree_with_differences_of_the_gradient(family, loss, mode, activation):
    operator = hessian(family, loss, "float64", activation)
    product = tf.function(lambda v: operator.linearize().matvec(v), jit_compile=mode == "XLA")
    v = np.random.default_rng(1).standard_normal(operator.size)
    with_mode = operator.linearize().matvec(tf.constant(v)) if mode == "eager" else product(tf.constant(v))
    step, gradients = 1e-7, []
    variables = operator._variables
    saved = [variable.numpy() for variable in variables]
    for sign in (1, -1):
        for variable, weight, part in zip(variables, saved, operator.unflatten(tf.constant(v)), strict=True):
            variable.assign(weight + sign * step * part.numpy())
        gradients.append(operator.linearize().gradient.numpy())
    expected = (gradients[0] - gradients[1]) / (2 * step)
    assert np.linalg.norm(with_mode.numpy() - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("mode", ["graph", "XLA"])
@pytest.mark.parametrize("loss", LOSSES)
def test_float32_products_are_as_exact_as_float32_allows(family, loss, mode):
    operator, exact = hessian(family, loss, "float32"), hessian(family, loss, "float64")
    for variable, same in zip(exact._variables, operator._variables, strict=True):
        variable.assign(tf.cast(same, tf.float64))
    dense = dense_hessian(exact)
    product = tf.function(lambda v: operator.linearize().matvec(v), jit_compile=mode == "XLA")
    v = np.random.default_rng(0).standard_normal(operator.size)
    error = product(tf.constant(v, tf.float32)).numpy() - dense @ v
    assert np.linalg.norm(error) <= 1e-4 * np.linalg.norm(dense @ v)


def test_outputs_are_logits_of_the_right_shape_and_reproducible_from_the_seed(family):
    factory = models.family(family)(**CASES[family])
    x = classification(4, SHAPE, CLASSES, dtype=np.float32)[0]
    one, same, other = (factory.build(SHAPE, CLASSES, seed=seed)(x).numpy() for seed in (5, 5, 6))
    assert one.shape == (4, CLASSES)
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)

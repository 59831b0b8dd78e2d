"""Every registered family keeps these promises: a new family only adds an entry to `CASES`."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases import models
from sharpness_phases.sweep.losses import LOSSES, build_loss
from sharpness_phases.training.tracing import traced

CASES = {
    "fcn": ({"width": 5, "depth": 3}, (6, 6, 1)),
    "fcn with bias, mup": ({"width": 5, "depth": 3, "bias": True, "parameterization": "mup"}, (6, 6, 1)),
    "linear_fcn": ({"width": 5, "depth": 3, "output_power": 0.5}, (6, 6, 1)),
    "myrtle": ({"width": 2, "depth": 5}, (8, 8, 1)),
    "resnet": ({"width": 1, "depth": 18}, (8, 8, 1)),
    "resnet with layer normalization": ({"width": 2, "depth": 18, "normalization": "layer"}, (8, 8, 1)),
    "resnet with batch normalization": ({"width": 1, "depth": 18, "normalization": "batch"}, (8, 8, 1)),
    "fcn with batch normalization": ({"width": 5, "depth": 3, "normalization": "batch"}, (6, 6, 1)),
    "fcn with layer normalization": ({"width": 5, "depth": 3, "normalization": "layer"}, (6, 6, 1)),
    "fcn with rms normalization": ({"width": 5, "depth": 3, "normalization": "rms"}, (6, 6, 1)),
    "myrtle with group normalization": ({"width": 4, "depth": 5, "normalization": "group"}, (8, 8, 1)),
    "transformer": ({"width": 4, "depth": 1, "heads": 2}, (3,)),
    "transformer with no normalization, mup": (
        {"width": 4, "depth": 2, "heads": 2, "normalization": "none", "parameterization": "mup"},
        (3,),
    ),
    "transformer with rms normalization behind, bias": (
        {"width": 4, "depth": 2, "heads": 1, "normalization": "rms", "norm_position": "post", "bias": True},
        (3,),
    ),
    "vit": ({"width": 4, "depth": 1, "heads": 2}, (8, 8, 1)),
    "vit with rms normalization, mup": (
        {"width": 4, "depth": 1, "heads": 2, "normalization": "rms", "parameterization": "mup"},
        (8, 8, 1),
    ),
    "uv": ({"width": 5, "depth": 2}, (4,)),
}
"""Smallest useful instances of each family, with the shape of their inputs; the first word is the family's name."""

NORMALIZED_RESNETS = [case for case in CASES if case.startswith("resnet with")]
VARIANTS = ["vit", "resnet", *(case for case in CASES if " with " in case)]
"""Cases that have a plainer one, of their family or a smaller one of the same parts: they wait for `make test-all`, as
other modes and losses of those do."""

SLOW = pytest.mark.slow
LONG = pytest.mark.long
MODES = [pytest.param("eager", marks=LONG), "graph", pytest.param("XLA", marks=LONG)]

CLASSES = 3


def with_marks(plain, others):
    """Parameters for every case: the plain one as it is, others slow; of a variant the plain one slow, others long."""
    for case in sorted(CASES):
        first, then = (SLOW, LONG) if case in VARIANTS else ((), SLOW)
        first = LONG if case in NORMALIZED_RESNETS else first
        yield pytest.param(case, *plain, marks=first)
        for values in others:
            yield pytest.param(case, *values, marks=then)


LOSSES_OF_CASES = list(with_marks(("mse",), [("xent",)]))
DIFFERENCES = [
    *with_marks(("graph", "xent", "tanh"), [("graph", "mse", "relu")]),
    *(
        pytest.param(case, *values, marks=LONG)
        for case in sorted(CASES)
        for values in product(("eager", "XLA", "graph"), ("mse", "xent"), ("tanh", "relu"))
        if values not in (("graph", "xent", "tanh"), ("graph", "mse", "relu"))
    ),
]
"""Each loss and activation once in graphs; what only repeats both is long."""


def test_every_registered_family_and_loss_has_a_case():
    assert {"mse", "xent"} == set(LOSSES)
    assert {case.split()[0] for case in CASES} == set(models.FAMILIES)


@pytest.fixture(params=[pytest.param(case, marks=SLOW if case in VARIANTS else ()) for case in sorted(CASES)])
def family(request):
    return request.param


def factory_of(case, dtype="float32", activation=None):
    settings, _ = CASES[case]
    name = case.split()[0]
    if activation is not None and "activation" not in models.FAMILIES[name].fixed:
        settings = settings | {"activation": activation}
    return models.family(name)(**settings, dtype=dtype)


def examples(case, count, dtype):
    """Inputs and one-hot targets; of tokens, one for each."""
    shape = CASES[case][1]
    if not models.FAMILIES[case.split()[0]].tokens:
        return classification(count, shape, CLASSES, dtype=np.dtype(dtype))
    tokens, following = np.random.default_rng(0).integers(CLASSES, size=(2, count, *shape))
    return tokens, np.eye(CLASSES, dtype=dtype)[following]


def hessian(family, loss, dtype, activation=None):
    shape = CASES[family][1]
    network = factory_of(family, dtype, activation).build(shape, CLASSES, seed=1)
    x, y = examples(family, 6, dtype)
    return operator_of(network, build_loss(loss, dtype), x, y)


def some_rows(operator):
    """Indices of enough rows of the Hessian, from all its layers, to hold a product against."""
    return np.random.default_rng(0).choice(operator.size, min(operator.size, 20), replace=False)


@cache
def dense_problem(family, loss):
    """Operators in float32 and in float64 at the same weights, some rows of the dense Hessian, and their indices."""
    rounded, operator = hessian(family, loss, "float32"), hessian(family, loss, "float64")
    for variable, same in zip(operator.variables, rounded.variables, strict=True):
        variable.assign(tf.cast(same, tf.float64))
    rows = some_rows(operator)
    return rounded, operator, dense_hessian(operator, rows), rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("family", "loss"), LOSSES_OF_CASES)
def test_products_agree_with_the_dense_hessian(family, loss, mode):
    _, operator, dense, rows = dense_problem(family, loss)
    products = {
        "eager": lambda v: operator.linearize().matvec(v),
        "graph": traced(lambda v: operator.linearize().matvec(v)),
        "XLA": traced(lambda v: operator.linearize().matvec(v), jit_compile=True),
    }[mode]
    rng = np.random.default_rng(0)
    for _ in range(3):
        v = rng.standard_normal(operator.size)
        expected = dense @ v
        assert np.linalg.norm(products(tf.constant(v)).numpy()[rows] - expected) <= 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize(("family", "mode", "loss", "activation"), DIFFERENCES)
def test_products_agree_with_differences_of_the_gradient(family, loss, mode, activation):
    operator = hessian(family, loss, "float64", activation)
    compiled = traced(lambda v: operator.linearize().matvec(v), jit_compile=mode == "XLA")
    v = np.random.default_rng(1).standard_normal(operator.size)
    with_mode = operator.linearize().matvec(tf.constant(v)) if mode == "eager" else compiled(tf.constant(v))
    step, gradients = 1e-7, []
    variables = operator.variables
    saved = [variable.numpy() for variable in variables]
    for sign in (1, -1):
        for variable, weight, part in zip(variables, saved, operator.unflatten(tf.constant(v)), strict=True):
            variable.assign(weight + sign * step * part.numpy())
        gradients.append(operator.linearize().gradient.numpy())
    expected = (gradients[0] - gradients[1]) / (2 * step)
    assert np.linalg.norm(with_mode.numpy() - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize(("family", "loss"), LOSSES_OF_CASES)
def test_float32_products_are_as_exact_as_float32_allows(family, loss, mode):
    operator, _, dense, rows = dense_problem(family, loss)
    products = traced(lambda v: operator.linearize().matvec(v), jit_compile=mode == "XLA")
    v = np.random.default_rng(0).standard_normal(operator.size)
    error = products(tf.constant(v, tf.float32)).numpy()[rows] - dense @ v
    # Two channels that are nearly equal make layer normalisation divide by little.
    tolerance = 1e-3 if "normalization" in family else 1e-4
    assert np.linalg.norm(error) <= tolerance * np.linalg.norm(dense @ v)


def test_outputs_are_logits_of_the_right_shape_and_reproducible_from_the_seed(family):
    factory, shape = factory_of(family), CASES[family][1]
    x, y = examples(family, 4, "float32")
    one, same, other = (factory.build(shape, CLASSES, seed=seed)(x).numpy() for seed in (5, 5, 6))
    assert one.shape == y.shape
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)

import numpy as np
import pytest
import tensorflow as tf
from problems import classification, dense_hessian, operator_of

from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.models import FCN
from sharpness_phases.sweep.losses import build_loss


@pytest.fixture
def network():
    return FCN(width=5, depth=3, bias=True, dtype="float64").build((6,), 3, seed=0)


def test_the_documented_example_holds():
    theta = tf.Variable([2.0])
    operator = HessianOperator(
        lambda x, y: tf.reduce_mean((theta * x) ** 2) / 2, [theta], tf.constant([1.0, 3.0]), tf.zeros(2)
    )
    at = operator.linearize()
    assert at.matvec(tf.constant([1.0])).numpy() == pytest.approx([5.0])
    assert at.gradient.numpy() == pytest.approx([10.0])
    assert float(at.loss) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("chunk_size", "compiled"),
    [
        *((size, False) for size in (1, 7, 8, 24, 100)),
        (7, True),
        *(pytest.param(size, True, marks=pytest.mark.slow) for size in (1, 8, 24, 100)),
    ],
)
def test_chunks_give_the_same_loss_gradient_and_product(network, chunk_size, compiled):
    x, y = classification(24)
    whole = operator_of(network, build_loss("mse", "float64"), x, y)
    parts = operator_of(network, build_loss("mse", "float64"), x, y, chunk_size)
    v = tf.constant(np.random.default_rng(0).standard_normal(whole.size))

    def all_of(operator):
        at = operator.linearize()
        return at.loss, at.gradient, at.matvec(v)

    chunked = tf.function(lambda: all_of(parts), jit_compile=compiled, autograph=False)
    for expected, found in zip(all_of(whole), chunked(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_a_loss_may_give_a_second_mean(chunk_size):
    theta, x = tf.Variable([2.0]), tf.range(24, dtype=tf.float32)
    operator = HessianOperator(
        lambda x, y: (tf.reduce_mean(theta * x), tf.reduce_mean(x)), [theta], x, x, chunk_size, with_accuracy=True
    )
    at = operator.linearize()
    assert (float(at.loss), float(at.accuracy)) == pytest.approx((23.0, 11.5))


def test_the_hessian_is_symmetric(network):
    x, y = classification()
    dense = dense_hessian(operator_of(network, build_loss("xent", "float64"), x, y))
    np.testing.assert_allclose(dense, dense.T, atol=1e-14)


def test_a_vector_survives_unflatten_and_flatten(network):
    x, y = classification()
    operator = operator_of(network, build_loss("mse", "float64"), x, y)
    v = tf.constant(np.arange(operator.size, dtype=np.float64))
    parts = operator.unflatten(v)
    assert [part.shape for part in parts] == [w.shape for w in network.trainable_variables]
    np.testing.assert_array_equal(operator.flatten(parts), v)


def test_a_variable_without_influence_has_zero_products():
    used, unused = tf.Variable([1.0]), tf.Variable([1.0, 2.0])
    operator = HessianOperator(lambda x, y: tf.reduce_sum(used**2), [used, unused], tf.zeros(1), tf.zeros(1))
    np.testing.assert_allclose(operator.linearize().matvec(tf.ones(3)), [2.0, 0.0, 0.0])


def test_no_variables_and_empty_chunks_are_refused():
    with pytest.raises(ValueError, match="at least one trainable variable"):
        HessianOperator(lambda x, y: 0.0, [], tf.zeros(1), tf.zeros(1))
    with pytest.raises(ValueError, match="`chunk_size`.*0"):
        HessianOperator(lambda x, y: 0.0, [tf.Variable(1.0)], tf.zeros(1), tf.zeros(1), chunk_size=0)


def test_the_gradient_is_that_of_the_loss(network):
    x, y = classification()
    loss = build_loss("mse", "float64")
    operator = operator_of(network, loss, x, y)
    with tf.GradientTape() as tape:
        value = loss(y, network(x, training=False))
    expected = operator.flatten(tape.gradient(value, operator.variables))
    np.testing.assert_allclose(operator.linearize().gradient, expected, rtol=1e-12)


@pytest.mark.parametrize(("chunk_size", "expected"), [(None, 24), (7, 7), (100, 24)])
def test_it_tells_how_many_examples_are_differentiated_at_once(network, chunk_size, expected):
    operator = operator_of(network, build_loss("mse", "float64"), *classification(24), chunk_size)
    assert operator.examples_at_once == expected


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_loops_within_loops_are_differentiated_in_a_graph_as_step_by_step(chunk_size, compiled):
    theta, bias = tf.Variable([[0.5, -0.2], [0.3, 0.9]], dtype="float64"), tf.Variable([0.1, 0.2], dtype="float64")

    def loss(x, y):
        def step(i, state):
            _, state = tf.while_loop(
                lambda j, _: j < 2, lambda j, s: (j + 1, tf.tanh(s @ theta)), (0, state), maximum_iterations=2
            )
            return i + 1, state + bias

        _, state = tf.while_loop(lambda i, _: i < 3, step, (0, x), maximum_iterations=3)
        return tf.reduce_mean((state - y) ** 2)

    x, y = (tf.constant(np.random.default_rng(seed).standard_normal((4, 2))) for seed in (0, 1))
    operator = HessianOperator(loss, [theta, bias], x, y, chunk_size)
    step_by_step = operator.linearize()
    expected = np.array([step_by_step.matvec(v).numpy() for v in np.eye(6)])

    @tf.function(jit_compile=compiled)
    def in_a_graph():
        here = operator.linearize()
        return here.loss, here.gradient, tf.map_fn(here.matvec, tf.eye(6, dtype="float64"))

    found = in_a_graph()
    for each, wanted in zip(found, (step_by_step.loss, step_by_step.gradient, expected), strict=True):
        np.testing.assert_allclose(each, wanted, rtol=1e-12, atol=1e-14)

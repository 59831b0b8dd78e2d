import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases.curvature.chunks import Chunks, NotAMean
from sharpness_phases.curvature.hessian import HessianOperator


@pytest.mark.parametrize("chunk_size", [1, 5, 6, 12])
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
def test_the_mean_over_chunks_is_the_mean_over_all_examples(chunk_size, compiled):
    x, y = np.random.default_rng(0).standard_normal((2, 12, 3))
    chunks = Chunks(tf.constant(x), tf.constant(y), chunk_size)

    def means(x, y):
        return tf.reduce_mean(x * y), tf.reduce_mean(x, axis=0)

    mean = tf.function(lambda: chunks.mean(means, ([], [3]), tf.float64), jit_compile=compiled, autograph=False)
    product, first = mean()
    assert float(product) == pytest.approx((x * y).mean())
    np.testing.assert_allclose(first, x.mean(axis=0))


@pytest.mark.parametrize("reduced", [tf.reduce_sum, tf.reduce_max], ids=["sum", "maximum"])
def test_a_loss_that_is_no_mean_is_refused_in_chunks_and_right_without(reduced):
    theta, x = tf.Variable([2.0]), tf.constant([1.0, 3.0, 2.0, 5.0, 4.0, 1.0])

    def loss(x, y):
        return reduced((theta * x) ** 2) / 2

    with pytest.raises(NotAMean, match="needs a loss that is the mean.*Use a mean, or no chunks"):
        HessianOperator(loss, [theta], x, x, chunk_size=2)
    squares = x.numpy() ** 2
    product = HessianOperator(loss, [theta], x, x).linearize().matvec(tf.constant([1.0]))
    assert float(product[0]) == pytest.approx(squares.sum() if reduced is tf.reduce_sum else squares.max())


def test_a_mean_with_a_constant_beside_it_as_a_regulariser_has_may_be_chunked():
    theta, x = tf.Variable([2.0]), tf.constant([1.0, 3.0, 2.0, 5.0])
    operator = HessianOperator(
        lambda x, y: tf.reduce_mean((theta * x) ** 2) / 2 + 10 * tf.reduce_sum(theta**2), [theta], x, x, chunk_size=3
    )
    assert float(operator.linearize().matvec(tf.constant([1.0]))[0]) == pytest.approx(9.75 + 20)

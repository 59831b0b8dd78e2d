import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases.curvature.chunks import Chunks


@pytest.mark.parametrize("chunk_size", [1, 5, 6, 12])
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
def test_the_mean_over_chunks_is_the_mean_over_all_examples(chunk_size, compiled):
    x, y = np.random.default_rng(0).standard_normal((2, 12, 3))
    chunks = Chunks(tf.constant(x), tf.constant(y), chunk_size)

    def means(x, y):
        return tf.reduce_mean(x * y), tf.reduce_mean(x, axis=0)

    mean = tf.function(lambda: chunks.mean(means, ([], [3]), tf.float64), jit_compile=compiled)
    product, first = mean()
    assert float(product) == pytest.approx((x * y).mean())
    np.testing.assert_allclose(first, x.mean(axis=0))

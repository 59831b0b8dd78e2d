"""How near the products come to the machine's limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.sweep.pace import product_flops
from sharpness_phases.training.device import matrix_product_rate

_FEW, _MANY = 2, 12
"""Products of two timed loops, whose difference is the time of ten products without the loops' start-up.

Chosen, not measured: closer, and the difference of the two times is lost in their spread; further apart, and the
measurement takes longer."""

_REPEATS = 7
"""Times each loop is timed, for the shortest.

With three, the vector work of Lanczos came out as 13, 12, 3% of the products' time on CIFAR-10 (d = 8, w = 256); with
seven as 6 to 7% in three repetitions (`docs/performance.md`)."""

_MATRIX = 2048
"""Rows and columns of the factors of the matrix product whose rate is the limit.

Chosen, not measured: with small factors the start of a product counts, and the limit comes out too low."""

_NEVER = 1e-30
"""A relative residual that float32 and float64 do not reach, so that Lanczos uses all its products."""


class Roofline(NamedTuple):
    """Rates inside the products.

    Attributes:
        matrix_rate: Floating-point operations per second of a large float32 matrix product, in the same run.
        product_flops: Operations of one Hessian-vector product on the measurement set.
        product_seconds: Time of one.
        lanczos_seconds: Time of one within Lanczos: with its vector work.
    """

    matrix_rate: float
    product_flops: float
    product_seconds: float
    lanczos_seconds: float

    @property
    def share(self) -> float:
        """Rate inside the products over the rate of the matrix product."""
        return self.product_flops / self.product_seconds / self.matrix_rate

    @property
    def vector_share(self) -> float:
        """Vector work of Lanczos over the time of the products."""
        return self.lanczos_seconds / self.product_seconds - 1

    @property
    def overhead_seconds(self) -> float:
        """Time of a product within Lanczos beyond its arithmetic at the matrix product's rate."""
        return self.lanczos_seconds - self.product_flops / self.matrix_rate


def measure_roofline(operator: HessianOperator) -> Roofline:
    """Measure the rates of one network's products.

    Args:
        operator: The Hessian.

    Returns:
        The rates; every time is the shortest of seven, matrix products measured in between.
    """
    start = tf.math.l2_normalize(tf.random.stateless_normal([operator.size], [0, 0], dtype=operator.dtype))
    flops = product_flops(operator)

    def plain(count: int) -> Callable[[], Scalar]:
        def run() -> Scalar:
            matvec = operator.linearize().matvec
            loop = tf.while_loop(
                lambda i, v: i < count, lambda i, v: (i + 1, matvec(v)), (tf.constant(0), start), parallel_iterations=1
            )
            return tf.reduce_sum(loop[1])

        return tf.function(run)

    def lanczos(count: int) -> Callable[[], Scalar]:
        solver = Lanczos(tolerance=_NEVER, max_products=count)
        return tf.function(lambda: solver.solve(operator.linearize().matvec, start).eigenvalue)

    loops = [make(count) for make in (plain, lanczos) for count in (_FEW, _MANY)]
    times: list[list[float]] = [[] for _ in loops]
    rates = []
    for _ in range(_REPEATS):
        rates.append(matrix_product_rate(_MATRIX))
        for loop, found in zip(loops, times, strict=True):
            found.append(_seconds(loop))
    few, many, few_lanczos, many_lanczos = (min(found) for found in times)
    count = _MANY - _FEW
    return Roofline(max(rates), flops, (many - few) / count, (many_lanczos - few_lanczos) / count)


def _seconds(function: Callable[[], Scalar]) -> float:
    """Time of a compiled function, after a call that compiles it."""
    function().numpy()
    begin = time.perf_counter()
    function().numpy()
    return time.perf_counter() - begin

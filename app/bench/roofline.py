"""How near the products come to the machine's limit: `python -m sharpness_phases.bench.roofline CONFIG [-s KEY=VALUE]`.

Where others use the processor, the shortest of seven times is that of an undisturbed computation for a short one only,
and a long product looks slower than a short matrix product. So the processor time of both is compared, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from sharpness_phases.config.loading import load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.runs.spec import Cell
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.pace import product_flops
from sharpness_phases.sweep.simulator import Simulator
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.tracing import traced

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


_MATRIX_PRODUCTS = 5
"""Matrix products timed in each repetition, for the shortest: as long together as the loops of a small network."""


class Times(NamedTuple):
    """How long a computation took.

    Attributes:
        wall: Seconds by the clock.
        processor: Seconds of this process on all cores together; without meaning where a GPU computes.
    """

    wall: float
    processor: float


class Roofline(NamedTuple):
    """Rates inside the products.

    Attributes:
        matrix_rate: Floating-point operations per second of a large float32 matrix product, in the same run.
        product_flops: Operations of one Hessian-vector product on the measurement set.
        product_seconds: Time of one.
        lanczos_seconds: Time of one within Lanczos: with its vector work.
        matrix_core_rate: Operations of the matrix product per second of processor time.
        product_core_seconds: Processor time of a Hessian-vector product.
    """

    matrix_rate: float
    product_flops: float
    product_seconds: float
    lanczos_seconds: float
    matrix_core_rate: float
    product_core_seconds: float

    @property
    def share(self) -> float:
        """Rate inside the products over the rate of the matrix product."""
        return self.product_flops / self.product_seconds / self.matrix_rate

    @property
    def core_share(self) -> float:
        """The same by processor time: what `share` would be with no core idle, on a busy machine, too."""
        return self.product_flops / self.product_core_seconds / self.matrix_core_rate

    @property
    def vector_share(self) -> float:
        """Vector work of Lanczos over the time of the products."""
        return self.lanczos_seconds / self.product_seconds - 1

    @property
    def overhead_seconds(self) -> float:
        """Time of a product within Lanczos beyond its arithmetic at the matrix product's rate."""
        return self.lanczos_seconds - self.product_flops / self.matrix_rate


def hessian_of(config: ExperimentConfig, network: keras.Model, simulator: Simulator) -> HessianOperator:
    """The Hessian of a config's loss on its measurement set.

    Args:
        config: The experiment.
        network: A network of it.
        simulator: Has the measurement set.

    Returns:
        The operator, at the network's weights.
    """
    loss = build_loss(config.loss, of_labels=config.data.info.has_labels)
    return Objective(network, loss, config.sharpness.batch_norm).hessian(*simulator.measurement)


def measure_roofline(operator: HessianOperator) -> Roofline:
    """Measure the rates of one network's products.

    Args:
        operator: The Hessian.

    Returns:
        The rates; every time is the shortest of seven, matrix products measured in between.
    """
    start = tf.math.l2_normalize(tf.random.stateless_normal([operator.size], [0, 0], dtype=operator.dtype))

    def plain(count: int) -> Scalar:
        matvec = operator.linearize().matvec
        loop = tf.while_loop(
            lambda i, v: i < count, lambda i, v: (i + 1, matvec(v)), (tf.constant(0), start), parallel_iterations=1
        )
        return tf.reduce_sum(loop[1])

    def lanczos(count: int) -> Scalar:
        solver = Lanczos(tolerance=_NEVER, max_products=count)
        return solver.solve(operator.linearize().matvec, start).eigenvalue

    factor = tf.random.stateless_uniform([_MATRIX, _MATRIX], [0, 0])
    matrix_product = traced(lambda: tf.linalg.matmul(factor, factor))
    loops = [traced(lambda k=kind, n=count: k(n)) for kind in (plain, lanczos) for count in (_FEW, _MANY)]
    matrix = list[Times]()
    times: list[list[Times]] = [[] for _ in loops]
    for _ in range(_REPEATS):
        matrix += [_times(matrix_product) for _ in range(_MATRIX_PRODUCTS)]
        for loop, found in zip(loops, times, strict=True):
            found.append(_times(loop))
    of_matrix, few, many, few_lanczos, many_lanczos = (_shortest(found) for found in (matrix, *times))
    flops, count = 2.0 * _MATRIX**3, _MANY - _FEW
    return Roofline(
        matrix_rate=flops / of_matrix.wall,
        product_flops=product_flops(operator),
        product_seconds=(many.wall - few.wall) / count,
        lanczos_seconds=(many_lanczos.wall - few_lanczos.wall) / count,
        matrix_core_rate=flops / of_matrix.processor,
        product_core_seconds=(many.processor - few.processor) / count,
    )


def _times(function: Callable[[], tf.Tensor]) -> Times:
    """Times of a compiled function, after a call that compiles it or warms the caches."""
    function().numpy()
    wall, processor = time.perf_counter(), time.process_time()
    function().numpy()
    return Times(time.perf_counter() - wall, time.process_time() - processor)


def _shortest(found: list[Times]) -> Times:
    return Times(min(each.wall for each in found), min(each.processor for each in found))


def main() -> None:
    """Measure the products of every network of a config, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("-s", "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    wanted = parser.parse_args()
    config = load_config(wanted.config, wanted.overrides)
    simulator = Simulator(config)
    for depth in config.sweep.depths:
        for width in config.sweep.widths:
            found = measure_roofline(hessian_of(config, simulator.network(Cell(depth, width, 0)), simulator))
            print(
                f"d = {depth}, w = {width}: {found.product_flops:.2e} FLOPs; by processor time "
                f"{found.core_share:.2f} of a matrix product's {found.matrix_core_rate / 1e9:.0f} GFLOP/s a core, "
                f"by the clock {found.share:.2f} of {found.matrix_rate / 1e9:.0f} GFLOP/s",
                flush=True,
            )


if __name__ == "__main__":
    main()

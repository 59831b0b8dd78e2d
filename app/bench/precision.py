"""What the arithmetic does to the sharpness: float32 and TensorFloat-32 held against float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import keras
import tensorflow as tf

from sharpness_phases.config.over import require_one_value
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.errors import UserError
from sharpness_phases.runs.axis import preconditions
from sharpness_phases.runs.spec import Cell, cells
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.simulator import Simulator
from sharpness_phases.training.measurement_set import Examples

MatrixProduct: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""The product (m, n) of matrices (m, k) and (k, n)."""

TENSOR_FLOAT_32_BITS = 10
"""Bits of the mantissa that TensorFloat-32 keeps of a factor (NVIDIA, A100 architecture whitepaper, 2020)."""

_FLOAT_32_BITS = 23
"""Bits of the mantissa of a float32 (IEEE 754), the leading 1 not counted."""

_SOLVER = Lanczos(tolerance=1e-3, max_products=60)
"""The tolerance that a sharpness has by default, for each of the three arithmetics.

The 60 products are chosen, not measured: several times the 4 to 9 that lambda_0 took on CIFAR-10
(`docs/performance.md`). Fewer, and some network may not converge; more change nothing where all converge."""


class Precision(NamedTuple):
    """The initial sharpness of one network in three arithmetics.

    Attributes:
        cell: The network.
        sharpness: lambda_0 in float64.
        float_32: Relative difference of float32.
        tensor_float_32: Relative difference of float32 with factors of matrix products rounded to TensorFloat-32.
    """

    cell: Cell
    sharpness: float
    float_32: float
    tensor_float_32: float


def measure_precision(config: ExperimentConfig) -> Iterator[Precision]:
    """Measure lambda_0 of every network of an experiment in three arithmetics; TensorFloat-32 is emulated.

    A network with another layer than a dense one, and data that cannot be loaded, are told by a `UserError`.

    Args:
        config: The experiment, of networks that are chains of dense layers.

    Yields:
        The results, network by network.

    Raises:
        UserError: If the optimizer has a preconditioner, and with it another lambda_0.
    """
    require_one_value(config.sweep.over, "phases bench")
    if preconditions(config.trained_by):
        raise UserError("phases bench: `optimizer` must be sgd, whose lambda_0 is that of the Hessian")
    simulator = Simulator(config)
    for cell in cells(config):
        network = simulator.network(cell)
        exact, single, rounded = (
            _sharpness(network, config.loss, simulator.measurement, dtype, product)
            for dtype, product in (
                ("float64", tf.linalg.matmul),
                ("float32", tf.linalg.matmul),
                ("float32", rounded_product),
            )
        )
        yield Precision(cell, exact, single / exact - 1, rounded / exact - 1)


@tf.custom_gradient
def rounded_product(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Matrix product whose factors, and those of its derivatives of every order, are rounded to TensorFloat-32.

    Args:
        a: float32 tensor of shape (m, k).
        b: float32 tensor of shape (k, n).

    Returns:
        The product (m, n), and its gradient.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return rounded_product(upstream, tf.transpose(b)), rounded_product(tf.transpose(a), upstream)

    return tf.linalg.matmul(round_mantissa(a), round_mantissa(b)), gradient


def round_mantissa(x: tf.Tensor, bits: int = TENSOR_FLOAT_32_BITS) -> tf.Tensor:
    """Round float32 numbers to the nearest whose mantissa has `bits` bits.

    Args:
        x: A float32 tensor of finite numbers.
        bits: Bits to keep, of 23.

    Returns:
        A tensor of the same shape.
    """
    dropped = _FLOAT_32_BITS - bits
    as_integers = tf.bitcast(x, tf.int32) + (1 << (dropped - 1))
    return tf.bitcast(tf.bitwise.bitwise_and(as_integers, -(1 << dropped)), tf.float32)


def _sharpness(
    network: keras.Model,
    loss_name: str,
    measurement: tuple[Examples, Examples],
    dtype: str,
    product: MatrixProduct,
) -> float:
    kernels = [tf.Variable(tf.cast(v.value, dtype)) for v in network.trainable_variables]
    loss = build_loss(loss_name, dtype)
    operator = HessianOperator(
        lambda x, y: loss(y, _outputs(network, kernels, x, product)),
        kernels,
        *(tf.cast(part, dtype) for part in measurement),
    )

    @tf.function
    def solve() -> Scalar:
        at = operator.linearize()
        return _SOLVER.solve(at.matvec, at.gradient).eigenvalue

    return float(solve())


def _outputs(network: keras.Model, kernels: list[tf.Variable], x: tf.Tensor, product: MatrixProduct) -> tf.Tensor:
    """The network's outputs with other kernels and another matrix product.

    Args:
        network: A chain of dense layers without biases.
        kernels: The kernels (k, n), layer by layer.
        x: Inputs (M, ...).
        product: The matrix product.

    Returns:
        Outputs (M, K).

    Raises:
        UserError: If a layer is none of a chain of dense layers.
    """
    rest = iter(kernels)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dense) and not layer.use_bias:
            x = layer.activation(product(x, next(rest)))
        elif isinstance(layer, keras.layers.Activation):
            x = layer.activation(x)
        elif isinstance(layer, keras.layers.Flatten):
            x = tf.reshape(x, [len(x), -1])
        elif isinstance(layer, keras.layers.Rescaling):
            x = x * layer.scale
        elif not isinstance(layer, keras.layers.InputLayer):
            raise UserError(
                f"phases precision: only chains of dense layers without biases; {layer.name} is not one "
                f"({type(layer).__name__})"
            )
    return x

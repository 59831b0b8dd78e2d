"""The device that computes, and its arithmetic."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.profiler.internal import flops_registry  # noqa: F401  (which registers them)

from sharpness_phases.training.tracing import traced


def set_precision(tensor_float_32: bool) -> None:
    """Choose what a float32 matrix product or convolution means on a recent GPU.

    TensorFloat-32, TensorFlow's default there, keeps 10 bits of a factor's mantissa: too few for a sharpness good to
    1e-3.

    Args:
        tensor_float_32: Whether factors may be rounded so.
    """
    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)


@contextmanager
def double_precision() -> Iterator[None]:
    """Have Keras build and compute in float64, learning rates and sums of losses, too, where nothing else is said."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def uses_xla(setting: str) -> bool:
    """Whether to compile by XLA.

    On a CPU, TensorFlow's own kernels are as fast for dense networks, far faster for convolutions, and need no
    compilation; on a GPU, XLA saves the start of many small kernels.

    Args:
        setting: "always", "never", or "auto" for on a GPU.

    Returns:
        The decision.
    """
    return setting == "always" or (setting == "auto" and bool(tf.config.list_physical_devices("GPU")))


def share_memory() -> None:
    """Take a GPU's memory as it is needed, not all of it at once; without effect once the GPU is in use."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # "Physical devices cannot be modified after being initialized"
            return


def limit_threads(count: int) -> None:
    """Share a machine's cores with other processes; without effect once TensorFlow has begun to compute.

    Args:
        count: Threads within one operation.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError:  # "cannot be modified after initialization"
        return


def set_determinism(deterministic: bool) -> None:
    """Have the same inputs give the same bits, on a GPU too; once on in a process, it stays on.

    Args:
        deterministic: Whether kernels that add in an order of their own are replaced or refused.
    """
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def describe_device(xla: str = "never") -> str:
    """What computes, such as "CPU: Intel Xeon, 2 cores" or "GPU: NVIDIA H200, compiled by XLA".

    Args:
        xla: The setting of `uses_xla`.

    Returns:
        The description.
    """
    compiled = ", compiled by XLA" if uses_xla(xla) else ""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)
        return f"GPU: {name}{compiled}"
    return f"CPU: {_cpu_name()}, {os.cpu_count()} cores{compiled}"


def matrix_product_rate(size: int = 1024, seconds: float = 0.5) -> float:
    """Measure the device's rate of float32 matrix products.

    Args:
        size: Rows and columns of the factors.
        seconds: How long to measure, after as long a warm-up.

    Returns:
        Floating-point operations per second.
    """
    factor = tf.random.stateless_uniform([size, size], [0, 0])
    product = tf.function(lambda a: tf.linalg.matmul(a, a))

    def measure() -> float:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            product(factor).numpy()
            count += 1
        return count * 2 * size**3 / (time.perf_counter() - start)

    measure()
    return measure()


def counted_flops(function: Callable[..., tf.Tensor], *specs: tf.TensorSpec) -> float:
    """Floating-point operations of a function's graph, as TensorFlow's profiler counts them.

    Args:
        function: A Python function on tensors, without loops.
        specs: Shapes and types of its arguments.

    Returns:
        The number of operations.
    """
    return flops_of(needed_operations(traced(function).get_concrete_function(*specs)))


def needed_operations(function: tf.types.experimental.ConcreteFunction) -> list[tf.Operation]:
    """What a function's outputs need: TensorFlow leaves out the rest of its graph before it runs it."""
    needed: dict[tf.Operation, None] = {}
    waiting = [tensor.op for tensor in function.outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed[operation] = None
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return list(needed)


def flops_of(operations: Iterable[tf.Operation]) -> float:
    """Floating-point operations of a graph without loops, as TensorFlow's profiler counts them."""
    return float(sum(map(_flops, operations)))


def _flops(operation: tf.Operation) -> float:
    if operation.type.startswith("BatchMatMul"):  # of a transposed factor, TensorFlow counts along the wrong axis
        inner = operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1]
        outputs = operation.outputs[0].shape.num_elements()
        return 0.0 if inner is None or outputs is None else 2.0 * inner * outputs
    try:
        return ops.get_stats_for_node_def(operation.graph, operation.node_def, "flops").value or 0.0
    except ValueError:  # the shape of what it reads is not known
        return 0.0


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

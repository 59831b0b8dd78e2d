"""How fast the work on one network goes: on this machine, by timing some passes through it, or at a given rate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.operator import Vector
from sharpness_phases.runs.axis import preconditions
from sharpness_phases.runs.spec import Cell
from sharpness_phases.sweep.expected_work import Work
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.networks import build_network
from sharpness_phases.training.device import counted_flops, flops_of, needed_operations, uses_xla
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.tracing import traced
from sharpness_phases.training.tracker import sample_size

GRADIENT = 3
"""Forward passes that a gradient costs, its own forward pass included: going back takes two matrix products a layer."""

_TIMED_FLOPS = 1e10
"""Operations of a product that is timed, at most: so many examples are taken, and the others' time is in proportion.

Chosen so: a tenth of a second on a machine of 1e11 operations per second, well above what a pass costs beside them.
"""

_TIMED_EXAMPLES, _FEWER = 128, 4
"""Examples that are timed at least, and by how much fewer for a second time, which tells what does not grow with them.

Chosen so: the weights of 31 million parameters are read and written in a time in which two cores multiply 100 examples,
so that the time of 26 examples, taken for that of their arithmetic, made a plan four times too long."""

_REPEATS, _SECONDS = 3, 0.1
"""Passes that are timed at least, and how long at least; chosen so."""


_OPERATION_SECONDS = 2e-6
"""Seconds that an operation of a graph takes beside its arithmetic, at least: 70 operations of the uv model on a single
example take 0.09 ms."""

_SOLVER_SECONDS = 1.25
"""Seconds to trace and compile the loop of a solver and the loop of steps around it, whatever the network; there is one
solver for the measurement set and one for its sample. Fitted, with the next, to the first initialisations of fully
connected networks (d = 4), with and without a sample, and of a decoder (docs/performance.md, "What a plan says")."""

_TRACES = 3.3
"""How often a network is traced and compiled for its runs, in units of what it takes here for one gradient and one
product."""

_OPERATION_SETUP_SECONDS = 2e-3
"""What that unit is at a rate that is given, for each operation of both: 0.3 s in a fully connected network of d = 4,
whose gradient and product have 165 operations."""

_STEP_SECONDS = 5e-4
"""Seconds that an optimizer step costs beside its passes; chosen by order of magnitude, and felt in small networks."""

_RUN_SECONDS = 1e-2
"""Seconds that a run costs beside its steps: the weights are put back, and it is written to a file; likewise."""

_SAMPLE_PRODUCTS = 3
"""Products on the sample for an estimate, whose overhead is that of a product on the whole set
(`sharpness_phases.training.tracker.SAMPLE_RANDOM_SHARE`)."""

_PRUNED = 1 / 3
"""Share of a gradient's time that TensorFlow leaves out where it is asked only for a product at that gradient: the
gradients by the weights themselves, one of three matrix products a layer."""


class Line(NamedTuple):
    """Seconds of a pass, by its number of examples.

    Attributes:
        overhead: Those of no examples.
        each: Those of one more.
    """

    overhead: float
    each: float

    def of(self, examples: float) -> float:
        """The seconds of so many examples."""
        return self.overhead + self.each * examples


class Pace(NamedTuple):
    """What the parts of the work on one network cost.

    Attributes:
        parameters: Number of trainable parameters.
        forward: Floating-point operations of the output for one example.
        product: Those of a Hessian-vector product for one example, at a gradient that is there.
        setup: Seconds to build and compile all that runs need.
        gradient_time: Of the gradient of the loss, its forward pass included.
        product_time: Of a product.
    """

    parameters: int
    forward: float
    product: float
    setup: float
    gradient_time: Line
    product_time: Line

    def flops(self, work: Work, config: ExperimentConfig) -> float:
        """Floating-point operations of some work."""
        examples = config.sharpness.examples
        evaluated = (work.steps + work.line_points + work.measurements * GRADIENT) * examples
        sampled = work.estimates * GRADIENT * sample_size(examples)
        trained = work.steps * GRADIENT * config.training.batch_size
        return self.forward * (trained + evaluated + sampled) + self.product * work.products * examples

    def seconds(self, work: Work, config: ExperimentConfig) -> float:
        """Time of some work."""
        examples = config.sharpness.examples
        gradient, evaluation = self.gradient_time.of(examples), self.gradient_time.of(examples) / GRADIENT
        step = self.gradient_time.of(config.training.batch_size) + evaluation + _STEP_SECONDS
        estimate = self.gradient_time.of(sample_size(examples)) + _SAMPLE_PRODUCTS * self.product_time.overhead
        return (
            work.runs * _RUN_SECONDS
            + work.steps * step
            + work.measurements * gradient
            + work.estimates * estimate
            + work.products * self.product_time.of(examples)
            + work.line_points * evaluation
        )


def pace_of(config: ExperimentConfig, depth: int, width: int, rate: float | None = None) -> Pace:
    """Count the operations of a network's passes, and time some on made-up examples.

    Args:
        config: The experiment.
        depth: Depth of the network.
        width: Its width.
        rate: Floating-point operations per second of a device; nothing is timed then. None: that of this machine.

    Returns:
        What its parts cost.
    """
    begin = time.perf_counter()
    network = build_network(config.model, Cell(depth, width, 0), config.data.info)
    forward = forward_flops(network)
    examples = 1 if rate else _enough(forward, config.sharpness.examples)
    hessian = _hessian(config, network, examples)
    compiled = uses_xla(config.device.xla) and rate is None
    gradient, both = _passes(hessian, compiled)
    operations = [needed_operations(each) for each in (gradient, both)]
    flops = [flops_of(each) / examples for each in operations]
    redone = config.sharpness.chunk_size is not None  # chunks keep nothing between products
    product = flops[1] - (0 if redone else flops[0])
    count, together = map(len, operations)
    overheads = count * _OPERATION_SECONDS, (together - count) * _OPERATION_SECONDS
    parameters = hessian.size
    if rate is not None:
        lines = Line(overheads[0], GRADIENT * forward / rate), Line(overheads[1], product / rate)
        return Pace(parameters, forward, product, _setup(config, together * _OPERATION_SETUP_SECONDS), *lines)
    vector = tf.ones([parameters], hessian.dtype)
    gradient()
    both(vector)
    setup = _setup(config, time.perf_counter() - begin)
    timed = [(examples, _times(gradient, both, vector, redone))]
    if examples < config.sharpness.examples:
        fewer = examples // _FEWER
        timed.append((fewer, _times(*_passes(_hessian(config, network, fewer), compiled), vector, redone)))
    of_gradient, of_product = (_line([(n, times[i]) for n, times in timed], overheads[i]) for i in range(2))
    return Pace(parameters, forward, product, setup, of_gradient, of_product)


def forward_flops(network: keras.Model) -> float:
    """Floating-point operations of a network's output for one example, as TensorFlow's profiler counts them.

    Args:
        network: A built Keras model with one input.

    Returns:
        The number of operations.
    """
    spec = tf.TensorSpec([1, *network.input_shape[1:]], network.input.dtype)
    return counted_flops(lambda x: network(x, training=False), spec)


def product_flops(operator: HessianOperator) -> float:
    """Floating-point operations of one product at a gradient that is there.

    Args:
        operator: The Hessian.

    Returns:
        The number, of the whole measurement set.
    """
    gradient, both = _passes(operator)
    return flops_of(needed_operations(both)) - flops_of(needed_operations(gradient))


def _setup(config: ExperimentConfig, once: float) -> float:
    """Seconds to build and compile all that runs need, where a gradient and a product take so many."""
    sampled = sample_size(config.sharpness.examples) and not preconditions(config.trained_by)
    return (2 if sampled else 1) * _SOLVER_SECONDS + _TRACES * once


def _enough(forward: float, most: int) -> int:
    """Examples to be timed."""
    return min(most, max(_TIMED_EXAMPLES, round(_TIMED_FLOPS / (2 * GRADIENT * max(forward, 1.0)))))


def _hessian(config: ExperimentConfig, network: keras.Model, examples: int) -> HessianOperator:
    """The Hessian on made-up examples of the first class."""
    shape, info = [examples, *network.input_shape[1:]], config.data.info
    real = tf.as_dtype(network.input.dtype).is_floating
    x = tf.random.stateless_normal(shape, [0, 0], dtype=network.input.dtype) if real else tf.zeros(shape, tf.int32)
    labels = tf.zeros([examples, *network.output_shape[1:-1]], tf.int32)
    y = labels if info.has_labels else tf.one_hot(labels, network.output_shape[-1])
    return Objective(network, build_loss(config.loss, of_labels=info.has_labels)).hessian(x, y)


def _passes(
    operator: HessianOperator, compiled: bool = False
) -> tuple[tf.types.experimental.ConcreteFunction, tf.types.experimental.ConcreteFunction]:
    """The gradient, and a product beside it."""

    def product(vector: Vector) -> tuple[Vector, Vector]:
        here = operator.linearize()
        return here.gradient, here.matvec(vector)

    spec = tf.TensorSpec([operator.size], operator.dtype)
    gradient = traced(lambda: operator.linearize().gradient, jit_compile=compiled)
    both = traced(product, jit_compile=compiled)
    return gradient.get_concrete_function(), both.get_concrete_function(spec)


def _times(
    gradient: tf.types.experimental.ConcreteFunction,
    both: tf.types.experimental.ConcreteFunction,
    vector: Vector,
    redone: bool,
) -> tuple[float, float]:
    """Seconds of a gradient, and of a product at a gradient that is there, or with it where it is `redone`."""
    alone, together = _median_time(lambda: gradient()), _median_time(lambda: both(vector)[1])
    return alone, max(together - (_PRUNED if redone else 1) * alone, alone / GRADIENT)


def _line(timed: Sequence[tuple[int, float]], least: float) -> Line:
    """The line through the times of some numbers of examples.

    Args:
        timed: Examples and seconds: the most first, and where that is not all that there are, fewer.
        least: What is known to be overhead.

    Returns:
        The line through the first, with an overhead that is at least this, and at most all of the time.
    """
    examples, seconds = timed[0]
    overhead = least
    if len(timed) > 1:
        fewer, sooner = timed[1]
        overhead = max(least, (examples * sooner - fewer * seconds) / (examples - fewer))
    overhead = min(overhead, seconds)
    return Line(overhead, (seconds - overhead) / examples)


def _median_time(function: Callable[[], tf.Tensor]) -> float:
    """Seconds of a call, the median of some."""
    times: list[float] = []
    while len(times) < _REPEATS or sum(times) < _SECONDS:
        begin = time.perf_counter()
        function().numpy()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)

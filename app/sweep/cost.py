"""What an experiment will cost, before it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.runs.axis import preconditions
from sharpness_phases.runs.spec import Cell, saturation_steps
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.networks import build_network
from sharpness_phases.training.device import counted_flops
from sharpness_phases.training.line import LINE_POINTS
from sharpness_phases.training.objective import Objective

_ADAPTIVE_RUNS = 14
"""Training runs that an adaptive search takes for an initialisation.

Counted, as the next three are, in the stored runs of configs/quickstart.yaml: 13.6. It depends on the experiment: 47 in
configs/laptop/fcn_xent.yaml, where rises late in the run cast many doubts.
"""

_ADAPTIVE_STEPS = 0.55
"""Share of the T steps that a run of an adaptive search takes until its question is answered; counted there."""

_ADAPTIVE_MEASUREMENTS = 5
"""Sharpnesses on the whole measurement set in an adaptive search; counted there: 5.3, lambda_0 included."""

_ADAPTIVE_PRODUCTS = 41
"""Hessian-vector products of all measurements in an adaptive search by Lanczos; counted there: 40.9."""

_PRECONDITIONED_SEARCH = (32, 101)
"""Sharpnesses and products of an adaptive search where the optimizer has a preconditioner, which has no sample that
says where to measure: counted in the stored runs of configs/laptop/adam_fcn.yaml, 31.7 and 101, in 20.8 runs."""

_COLD_PRODUCTS = 12
"""Products by Lanczos from a random vector until it is proved that no larger eigenvalue is hidden.

Chosen within what was counted: 9 to 14 in the networks of docs/performance.md. The 16 of lambda_0 in
configs/quickstart.yaml are with those on the sample.
"""

_POWER_PRODUCTS = 21
"""Products of a measurement by power iteration: 20 iterations, as published, and one product for the eigenvalue."""

_BARRIER_LINES = 6
"""Lines from theta_0 to theta_T that an adaptive search measures to find c_barrier by bisection.

About log2 of the indices up to divergence, which are 44 in configs/quickstart.yaml.
"""

_LAST_C = 12.0
"""The c at which an exhaustive search is expected to meet divergence and end.

Chosen so; the median c_max is 10.6 in configs/quickstart.yaml and 19.9 in configs/laptop/fcn_xent.yaml. A network that
survives to twice this c takes ten runs more on a grid in steps of 2^0.1.
"""

_GRADIENT = 3
"""Forward passes that a gradient costs, its own forward pass included: going back takes two matrix products a layer."""

_BUILD_SECONDS = 1.0
"""Seconds to build and trace an architecture; chosen by order of magnitude, and never multiplied by the runs."""

_STEP_SECONDS = 4e-3
"""Seconds that an optimizer step costs beside its arithmetic; chosen by order of magnitude.

It decides the estimate where arithmetic is little: small networks, or a fast device.
"""


@dataclass(frozen=True)
class Work:
    """What runs of one initialisation take.

    Attributes:
        runs: Number of training runs.
        steps: Optimizer steps of all of them; the loss on the measurement set is evaluated after each.
        measurements: Measurements of the sharpness on the whole measurement set.
        products: Hessian-vector products of these measurements.
        line_points: Evaluations of the loss on lines from theta_0 to theta_T.
    """

    runs: int = 0
    steps: int = 0
    measurements: int = 0
    products: int = 0
    line_points: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.runs + other.runs,
            self.steps + other.steps,
            self.measurements + other.measurements,
            self.products + other.products,
            self.line_points + other.line_points,
        )


class Estimate(NamedTuple):
    """Cost of all runs of one architecture.

    Attributes:
        depth: Depth of the network.
        width: Its width.
        parameters: Number of trainable parameters.
        initialisations: Number of initialisations.
        runs: Number of training runs.
        hvps: Number of Hessian-vector products.
        flops: Floating-point operations.
        seconds: Time.
    """

    depth: int
    width: int
    parameters: int
    initialisations: int
    runs: int
    hvps: int
    flops: float
    seconds: float


def estimate(config: ExperimentConfig, rate: float) -> list[Estimate]:
    """Estimate the cost of an experiment from counts of operations; data are not loaded.

    Args:
        config: The experiment.
        rate: Floating-point operations per second of the device.

    Returns:
        An entry for every (depth, width), as if nothing had been run yet.
    """
    return [_estimate(config, depth, width, rate) for depth in config.sweep.depths for width in config.sweep.widths]


def _estimate(config: ExperimentConfig, depth: int, width: int, rate: float) -> Estimate:
    n = config.sweep.seeds
    network = build_network(config.model, Cell(depth, width, 0), config.data.info)
    parameters = sum(weight.shape.num_elements() for weight in (v.value for v in network.trainable_variables))
    work = _work(config)
    flops = _flops(work, config, forward_flops(network), _product_flops_of_one_example(config, network))
    seconds = flops / rate + work.steps * _STEP_SECONDS
    return Estimate(
        depth, width, parameters, n, n * work.runs, n * work.products, n * flops, n * seconds + _BUILD_SECONDS
    )


def _flops(work: Work, config: ExperimentConfig, forward: float, product: float) -> float:
    """Floating-point operations of some work; a forward pass and a product are those of one example."""
    examples = config.sharpness.examples
    evaluated = (work.steps + work.line_points + work.measurements * _GRADIENT) * examples
    trained = work.steps * _GRADIENT * config.training.batch_size
    return forward * (trained + evaluated) + product * work.products * examples


def _work(config: ExperimentConfig) -> Work:
    """All that an initialisation takes."""
    work = _adaptive_search(config) if config.sweep.search == "adaptive" else _whole_grid(config)
    if config.analysis.saturation:
        work += _saturation(config)
    if config.analysis.barrier:
        work += _barrier(config, work.runs)
    return work


def _adaptive_search(config: ExperimentConfig) -> Work:
    steps = round(_ADAPTIVE_RUNS * _ADAPTIVE_STEPS * config.transient_steps)
    measurements, products = _ADAPTIVE_MEASUREMENTS, _ADAPTIVE_PRODUCTS
    if preconditions(config.trained_by):
        measurements, products = _PRECONDITIONED_SEARCH
    products = measurements * _POWER_PRODUCTS if _by_power_iteration(config) else products
    return Work(_ADAPTIVE_RUNS, steps, measurements, products)


def _whole_grid(config: ExperimentConfig) -> Work:
    runs, steps, transient = len(_exponents_below_divergence(config)), config.training.steps, config.transient_steps
    measurements = runs * (transient + (steps - transient) // config.sharpness.every)
    each = _POWER_PRODUCTS if _by_power_iteration(config) else _COLD_PRODUCTS
    return Work(runs, runs * steps, measurements, (measurements + 1) * each)


def _saturation(config: ExperimentConfig) -> Work:
    """The long runs up to the step tau at which the saturated sharpness is measured, once in each."""
    lengths = [saturation_steps(config, x) for x in _exponents_below_divergence(config)]
    each = _POWER_PRODUCTS if _by_power_iteration(config) else _COLD_PRODUCTS
    return Work(len(lengths), sum(lengths), len(lengths), len(lengths) * each)


def _barrier(config: ExperimentConfig, runs: int) -> Work:
    """Lines from theta_0 to theta_T: of all runs there are, or at the end of runs of their own."""
    if config.sweep.search == "exhaustive":
        return Work(line_points=runs * LINE_POINTS)
    lines = _BARRIER_LINES
    return Work(runs=lines, steps=lines * config.transient_steps, line_points=lines * LINE_POINTS)


def _by_power_iteration(config: ExperimentConfig) -> bool:
    return config.sharpness.solver == "power"


def _exponents_below_divergence(config: ExperimentConfig) -> list[float]:
    return [x for x in config.sweep.lr_exponents.exponents() if 2.0**x < _LAST_C]


def forward_flops(network: keras.Model) -> float:
    """Floating-point operations of a network's output for one example, as TensorFlow's profiler counts them.

    Args:
        network: A built Keras model with one input.

    Returns:
        The number of operations.
    """
    spec = tf.TensorSpec([1, *network.input_shape[1:]], network.input.dtype)
    return counted_flops(lambda x: network(x, training=False), spec)


def _product_flops_of_one_example(config: ExperimentConfig, network: keras.Model) -> float:
    x, outputs = tf.zeros([1, *network.input_shape[1:]], network.input.dtype), [1, *network.output_shape[1:]]
    labels = config.data.info.has_labels
    y = tf.zeros(outputs[:-1], tf.int32) if labels else tf.zeros(outputs)
    return product_flops(Objective(network, build_loss(config.loss, of_labels=labels)).hessian(x, y))


def product_flops(operator: HessianOperator) -> float:
    """Floating-point operations of one product at a gradient that is there.

    Args:
        operator: The Hessian.

    Returns:
        The number, of the whole measurement set.
    """
    spec = tf.TensorSpec([operator.size], operator.dtype)
    both = counted_flops(lambda vector: operator.linearize().matvec(vector), spec)
    return both - counted_flops(lambda: operator.linearize().gradient)

"""What an experiment will cost, before it is run."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.data.catalogue import DATA_SETS
from sharpness_phases.runs.spec import Cell, saturation_steps
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.networks import build_network
from sharpness_phases.training.device import counted_flops
from sharpness_phases.training.runner import LINE_POINTS

# Per initialisation, counted in the stored runs of configs/quickstart.yaml.
_ADAPTIVE_RUNS = 14
_ADAPTIVE_STEPS = 0.54  # share of T that a run takes before its question is answered
_ADAPTIVE_MEASUREMENTS = 8  # of the sharpness on the whole set; a sample answers as often
_ADAPTIVE_PRODUCTS = 28
_COLD_PRODUCTS = 7
_WARM_PRODUCTS = 4  # of a measurement to full tolerance
_POWER_PRODUCTS = 21
_BARRIER_LINES = 6  # that an adaptive search measures
_LAST_C = 12.0  # where an exhaustive search typically meets divergence

_GRADIENT = 3  # forward passes that a gradient costs, the forward pass included
_BUILD_SECONDS = 1.0  # building and tracing an architecture
_STEP_SECONDS = 4e-3  # what a step costs beside its arithmetic


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
    info, training, sweep = DATA_SETS[config.data.dataset], config.training, config.sweep
    network = build_network(config.model, Cell(depth, width, 0), info.shape, info.classes)
    parameters = sum(weight.shape.num_elements() for weight in (v.value for v in network.trainable_variables))
    forward, product = forward_flops(network), _product_flops_of_one_example(config, network)
    power = config.sharpness.solver == "power"
    if sweep.search == "adaptive":
        runs, steps = _ADAPTIVE_RUNS, round(_ADAPTIVE_RUNS * _ADAPTIVE_STEPS * config.transient_steps)
        measurements = _ADAPTIVE_MEASUREMENTS
        products = _ADAPTIVE_MEASUREMENTS * _POWER_PRODUCTS if power else _ADAPTIVE_PRODUCTS
    else:
        runs = sum(2.0**x < _LAST_C for x in sweep.lr_exponents.exponents())
        steps = runs * training.steps
        measurements = runs * (
            config.transient_steps + (training.steps - config.transient_steps) // config.sharpness.every
        )
        products = measurements * (_POWER_PRODUCTS if power else _WARM_PRODUCTS) + _COLD_PRODUCTS
    if config.analysis.saturation:
        lengths = [saturation_steps(config, x) for x in sweep.lr_exponents.exponents() if 2.0**x < _LAST_C]
        runs, steps = runs + len(lengths), steps + sum(lengths)
        measurements += len(lengths)
        products += len(lengths) * (_POWER_PRODUCTS if power else _COLD_PRODUCTS)
    evaluations = steps
    if config.analysis.barrier and sweep.search == "exhaustive":
        evaluations += runs * LINE_POINTS
    elif config.analysis.barrier:
        runs, steps = runs + _BARRIER_LINES, steps + _BARRIER_LINES * config.transient_steps
        evaluations = steps + _BARRIER_LINES * LINE_POINTS
    examples = config.sharpness.examples
    flops = forward * (steps * _GRADIENT * training.batch_size + (evaluations + measurements * _GRADIENT) * examples)
    flops += product * products * examples
    seconds = flops / rate + steps * _STEP_SECONDS
    n = sweep.seeds
    return Estimate(depth, width, parameters, n, n * runs, n * products, n * flops, n * seconds + _BUILD_SECONDS)


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
    loss = build_loss(config.loss)
    variables = [v.value for v in network.trainable_variables]
    x, y = tf.zeros([1, *network.input_shape[1:]], network.input.dtype), tf.zeros([1, network.output_shape[-1]])
    return product_flops(HessianOperator(lambda x, y: loss(y, network(x, training=False)), variables, x, y))


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

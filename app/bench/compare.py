"""The default way and the published protocol on the same networks, data and batches, side by side in one run."""

from __future__ import annotations

import gc
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd

from sharpness_phases.analysis.critical import critical_constants
from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.analysis.tables import constants_table
from sharpness_phases.bench.comparison import Comparison, Way
from sharpness_phases.bench.protocol import ReferenceProtocol
from sharpness_phases.bench.roofline import hessian_of, measure_roofline
from sharpness_phases.bench.work import Cost, Prices, Work, timed
from sharpness_phases.config.optimizer import OptimizerConfig
from sharpness_phases.config.over import require_one_value
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.errors import UserError
from sharpness_phases.runs.axis import optimizer_in_words
from sharpness_phases.runs.spec import Cell, cells, criteria
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.cell_sweep import CellSweep
from sharpness_phases.sweep.pace import forward_flops, product_flops
from sharpness_phases.sweep.simulator import Simulator
from sharpness_phases.training.tracker import sample_size


def compare(config: ExperimentConfig, repeats: int = 3) -> Iterator[Comparison]:
    """Measure both ways, network by network.

    Args:
        config: The experiment; every initialisation of it is measured. Its search, solver and what it analyses beyond
            c_loss, c_sharp and c_max in the first T steps do not matter.
        repeats: Repetitions of the default way before the others, and again after them, of which the median counts;
            the others, far longer, run once.

    Yields:
        The comparison of each initialisation.

    Raises:
        UserError: If the config trains by another optimizer than plain gradient descent, which the protocol has.
    """
    require_one_value(config.sweep.over, "phases bench")
    if not config.warmup.is_none:
        raise UserError("phases bench: there must be no warm-up, as in the published protocol")
    if config.trained_by != OptimizerConfig():
        found = optimizer_in_words(config.trained_by)
        raise UserError(
            "phases bench: `optimizer` must be plain sgd, and training.momentum 0, as in the published protocol; got "
            f"{found}"
        )
    config = transient_alone(config)
    simulator = Simulator(config)
    for cell in cells(config):
        yield _compare(config, cell, simulator, repeats)
        gc.collect()  # the protocol's copy of the data, whose memory would count for the next one


def _compare(config: ExperimentConfig, cell: Cell, simulator: Simulator, repeats: int) -> Comparison:
    network = simulator.network(cell)
    weights = network.get_weights()
    operator = hessian_of(config, network, simulator)
    prices = _prices(config, network, operator)
    protocol = ReferenceProtocol(config, network, simulator.data, simulator.measurement)

    _, first = timed(lambda: _sweep(config, cell, simulator))  # builds and compiles
    repetitions = [_own_way(config, cell, simulator, prices) for _ in range(repeats)]
    exhaustive = _own_way(_whole_grid(config), cell, simulator, prices)
    initial = _initial_sharpness(simulator, cell, protocol, repeats)
    reference = _protocol_way(config, cell, protocol, weights, prices)
    repetitions += [_own_way(config, cell, simulator, prices) for _ in range(repeats)]
    default = _median(repetitions)

    network.set_weights(weights)
    roofline = measure_roofline(operator)
    return Comparison(
        depth=cell.depth,
        width=cell.width,
        seed=cell.seed,
        setup_seconds=max(0.0, first.seconds - default.seconds),
        default=default,
        exhaustive=exhaustive,
        protocol=reference,
        forward_over_reverse=protocol.forward_over_reverse,
        grid_steps=_grid_steps(default, reference, config.sweep.lr_exponents.step),
        lambda_0_seconds=initial.seconds,
        lambda_0_products=initial.products,
        power_seconds=initial.power_seconds,
        matrix_rate=roofline.matrix_rate,
        roofline=roofline.share,
        core_roofline=roofline.core_share,
        vector_share=roofline.vector_share,
        overhead_seconds=roofline.overhead_seconds,
    )


def _prices(config: ExperimentConfig, network: keras.Model, operator: HessianOperator) -> Prices:
    """Floating-point operations of one example in each part of the work."""
    examples = config.sharpness.examples
    return Prices(forward_flops(network), product_flops(operator) / examples, config.training.batch_size, examples)


def _grid_steps(default: Way, reference: Way, step: float) -> dict[str, float]:
    """By how many grid steps of log2 c each constant of the default way is above the protocol's; NaN if censored."""
    return {
        name: round(float(np.log2(default.constants[name] / reference.constants[name])) / step, 3)
        for name in BOUNDARIES
    }


def _protocol_way(
    config: ExperimentConfig, cell: Cell, protocol: ReferenceProtocol, weights: list[np.ndarray], prices: Prices
) -> Way:
    """One initialisation by the published protocol."""
    (runs, work), cost = timed(lambda: protocol.run(weights, cell.seed))
    grid = [2.0**x for x in config.sweep.lr_exponents.exponents()]
    found = critical_constants(grid, {i: [run] for i, run in runs.items()}, criteria(config))
    return _way(cost, work, prices, {name: found[name].value for name in BOUNDARIES})


def _own_way(config: ExperimentConfig, cell: Cell, simulator: Simulator, prices: Prices) -> Way:
    """One initialisation as `phases run` carries it out, into an empty store."""
    table, cost = timed(lambda: _sweep(config, cell, simulator))
    work = _work_of(table, config.sharpness.examples)
    row = constants_table(table, config.sweep.lr_exponents.exponents(), criteria(config)).iloc[0]
    return _way(cost, work, prices, {name: float(row[name]) for name in BOUNDARIES})


def _work_of(table: pd.DataFrame, examples: int) -> Work:
    """The work that stored runs have taken, counted from their rows.

    After a step the loss alone was evaluated; or the sharpness was estimated, from the gradient and products on the
    sample, with the loss evaluated on the whole set; or it was measured there, and the loss came with the gradient.

    Args:
        table: The runs of one initialisation, a row per step.
        examples: Size of the measurement set.

    Returns:
        The work.
    """
    after_a_step = table[table["step"] > 0]
    with_sharpness = after_a_step[after_a_step["sharpness"].notna()]
    estimated = int(with_sharpness["residual"].isna().sum())
    lambda_0 = 1
    measured = len(with_sharpness) - estimated + lambda_0
    sampled = (len(with_sharpness) + lambda_0) * sample_size(examples) / examples
    runs_after_the_first = max(0, after_a_step["run_id"].nunique() - 1)  # they share the gradient of their first step
    return Work(
        steps=len(after_a_step) - runs_after_the_first,
        evaluated=(len(after_a_step) - len(with_sharpness) + estimated) * examples,
        gradients=measured + sampled,
        products=int(table["hvps"].sum()),
    )


def _sweep(config: ExperimentConfig, cell: Cell, simulator: Simulator) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder), writable=True)
        CellSweep(config, cell, store, simulator).complete()
        return store.table()


def _way(cost: Cost, work: Work, prices: Prices, constants: dict[str, float]) -> Way:
    return Way(cost.seconds, work.products, prices.flops(work), cost.memory, constants)


def _median(ways: list[Way]) -> Way:
    """The way with the median of the times; all have computed the same."""
    seconds = statistics.median_low(way.seconds for way in ways)
    return next(way for way in ways if way.seconds == seconds)


def transient_alone(config: ExperimentConfig) -> ExperimentConfig:
    """The config with the default search and solver, and with what the protocol measures, too."""
    return config.changed(
        analysis={"transient_steps": None, "barrier": False, "saturation": False},
        training={"steps": config.transient_steps},
        sharpness={"solver": "lanczos", "every": 1},
        sweep={"search": "adaptive"},
    )


def _whole_grid(config: ExperimentConfig) -> ExperimentConfig:
    """The config with an exhaustive search of the c that the protocol takes: those from 1 on."""
    grid = config.sweep.lr_exponents
    first = next((x for x in grid.exponents() if x >= 0), grid.stop)
    return config.changed(sweep={"search": "exhaustive", "lr_exponents": {"start": first}})


class _InitialSharpness(NamedTuple):
    """Cost of lambda_0.

    Attributes:
        seconds: Median time of the default way.
        products: Products of the default way.
        power_seconds: Median time of the protocol.
    """

    seconds: float
    products: int
    power_seconds: float


def _initial_sharpness(
    simulator: Simulator, cell: Cell, protocol: ReferenceProtocol, repeats: int
) -> _InitialSharpness:
    """Lambda_0 by the default way and by the protocol in turns, so that a change of the machine's speed meets both."""
    weights = simulator.network(cell).get_weights()
    runner = simulator.runner(cell)
    ours, theirs, products = [], [], 0
    for _ in range(repeats):
        state, cost = timed(lambda: runner.initial_state(weights))
        ours.append(cost.seconds)
        products = state.hvps
        theirs.append(timed(lambda: protocol.initial_sharpness(weights))[1].seconds)
    return _InitialSharpness(statistics.median(ours), products, statistics.median(theirs))

"""The default way and the published protocol on the same networks, data and batches, side by side in one run."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sharpness_phases.analysis.critical import critical_constants
from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.analysis.tables import constants_table
from sharpness_phases.bench.protocol import ReferenceProtocol
from sharpness_phases.bench.roofline import measure_roofline
from sharpness_phases.bench.work import Cost, Prices, Work, timed
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.errors import UserError
from sharpness_phases.runs.spec import Cell, cells, criteria
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.cell_sweep import CellSweep
from sharpness_phases.sweep.cost import forward_flops, product_flops
from sharpness_phases.sweep.losses import build_loss
from sharpness_phases.sweep.simulator import Simulator
from sharpness_phases.training.tracker import ESTIMATE_ERROR, sample_size

_ESTIMATED = 0.9 * ESTIMATE_ERROR  # relative residual that a measurement on the whole set hardly ever has


@dataclass(frozen=True)
class Way:
    """One way to the constants of one initialisation.

    Attributes:
        seconds: Time, without building and compiling; of several repetitions the median.
        products: Hessian-vector products.
        flops: Floating-point operations.
        memory: Largest resident memory of the process meanwhile, in bytes.
        constants: c_loss, c_sharp and c_max; NaN where censored.
    """

    seconds: float
    products: int
    flops: float
    memory: int
    constants: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Both ways on one initialisation.

    Attributes:
        depth: Depth of the network.
        width: Its width.
        seed: Its initialisation.
        setup_seconds: Building and compiling for the default way, once for all initialisations of the architecture.
        default: Adaptive search with Lanczos.
        exhaustive: Every c from 1 up to divergence with Lanczos, as in the protocol.
        protocol: The published protocol.
        forward_over_reverse: Whether the protocol's products were faster that way.
        grid_steps: Default minus protocol, for each constant, in steps of the grid; NaN where one is censored.
        lambda_0_seconds: Time of lambda_0 in the default way, cold, to the config's tolerance.
        lambda_0_products: Its products.
        power_seconds: Time of the protocol's 21 products.
        matrix_rate: Floating-point operations per second of a large float32 matrix product.
        roofline: Rate inside the products over the matrix product's.
        vector_share: Vector work of Lanczos over the time of its products.
        overhead_seconds: Time of a product within Lanczos beyond its arithmetic at the matrix product's rate.
    """

    depth: int
    width: int
    seed: int
    setup_seconds: float
    default: Way
    exhaustive: Way
    protocol: Way
    forward_over_reverse: bool
    grid_steps: dict[str, float]
    lambda_0_seconds: float
    lambda_0_products: int
    power_seconds: float
    matrix_rate: float
    roofline: float
    vector_share: float
    overhead_seconds: float

    @property
    def speedup(self) -> float:
        """Time of the protocol over that of the default way."""
        return self.protocol.seconds / self.default.seconds

    @property
    def exhaustive_speedup(self) -> float:
        """Time of the protocol over that of the exhaustive search with Lanczos."""
        return self.protocol.seconds / self.exhaustive.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, null for NaN."""
        return _without_nan(asdict(self) | {"speedup": self.speedup, "exhaustive_speedup": self.exhaustive_speedup})


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
        UserError: If the config trains with momentum, which the protocol does not.
    """
    if config.training.momentum:
        raise UserError("phases bench: training.momentum must be 0, as in the published protocol")
    config = _transient_alone(config)
    simulator = Simulator(config)
    for cell in cells(config):
        yield _compare(config, cell, simulator, repeats)
        gc.collect()  # the protocol's copy of the data, whose memory would count for the next one


def _compare(config: ExperimentConfig, cell: Cell, simulator: Simulator, repeats: int) -> Comparison:
    network = simulator.network(cell)
    weights = network.get_weights()
    operator = HessianOperator(
        lambda x, y: build_loss(config.loss)(y, network(x, training=False)),
        [v.value for v in network.trainable_variables],
        *simulator.measurement,
    )
    examples = config.sharpness.examples
    prices = Prices(forward_flops(network), product_flops(operator) / examples, config.training.batch_size, examples)
    protocol = ReferenceProtocol(config, network, simulator.data, simulator.measurement)

    first = time.perf_counter()
    _sweep(config, cell, simulator)
    first = time.perf_counter() - first
    default = [_own_way(config, cell, simulator, prices) for _ in range(repeats)]
    exhaustive = _own_way(_whole_grid(config), cell, simulator, prices)
    lambda_0_seconds, lambda_0_products, power_seconds = _initial_sharpness(simulator, cell, protocol, repeats)
    (runs, work), cost = timed(lambda: protocol.run(weights, cell.seed))
    default += [_own_way(config, cell, simulator, prices) for _ in range(repeats)]
    grid = [2.0**x for x in config.sweep.lr_exponents.exponents()]
    found = critical_constants(grid, {i: [run] for i, run in runs.items()}, criteria(config))
    reference = _way(cost, work, prices, {name: found[name].value for name in BOUNDARIES})
    ours = _median(default)
    network.set_weights(weights)
    roofline = measure_roofline(operator)
    step = config.sweep.lr_exponents.step
    return Comparison(
        depth=cell.depth,
        width=cell.width,
        seed=cell.seed,
        setup_seconds=max(0.0, first - ours.seconds),
        default=ours,
        exhaustive=exhaustive,
        protocol=reference,
        forward_over_reverse=protocol.forward_over_reverse,
        grid_steps={
            name: round(float(np.log2(ours.constants[name] / reference.constants[name])) / step, 3)
            for name in BOUNDARIES
        },
        lambda_0_seconds=lambda_0_seconds,
        lambda_0_products=lambda_0_products,
        power_seconds=power_seconds,
        matrix_rate=roofline.matrix_rate,
        roofline=roofline.share,
        vector_share=roofline.vector_share,
        overhead_seconds=roofline.overhead_seconds,
    )


def _own_way(config: ExperimentConfig, cell: Cell, simulator: Simulator, prices: Prices) -> Way:
    """One initialisation as `phases run` carries it out, into an empty store."""
    table, cost = timed(lambda: _sweep(config, cell, simulator))
    later, examples = table[table["step"] > 0], config.sharpness.examples
    known = later[later["sharpness"].notna()]
    estimated = int((known["residual"] > _ESTIMATED * known["sharpness"].abs()).sum())
    measured = len(known) - estimated + 1  # the loss comes with these
    work = Work(
        steps=len(later) - max(0, later["run_id"].nunique() - 1),  # runs share the gradient of their first step
        evaluated=(len(later) - len(known) + estimated) * examples,
        gradients=measured + (len(known) + 1) * sample_size(examples) / examples,
        products=int(table["hvps"].sum()),
    )
    row = constants_table(table, config.sweep.lr_exponents.exponents(), criteria(config)).iloc[0]
    return _way(cost, work, prices, {name: float(row[name]) for name in BOUNDARIES})


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


def _transient_alone(config: ExperimentConfig) -> ExperimentConfig:
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


def _initial_sharpness(
    simulator: Simulator, cell: Cell, protocol: ReferenceProtocol, repeats: int
) -> tuple[float, int, float]:
    """Median times of lambda_0 by the default way and by the protocol, interleaved; and the default way's products."""
    weights = simulator.network(cell).get_weights()
    runner = simulator.runner(cell)
    ours, theirs, products = [], [], 0
    for _ in range(repeats):
        state, cost = timed(lambda: runner.initial_state(weights))
        ours.append(cost.seconds)
        products = state.hvps
        theirs.append(timed(lambda: protocol.initial_sharpness(weights))[1].seconds)
    return statistics.median(ours), products, statistics.median(theirs)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value

"""The runs, steps and measurements that an initialisation is expected to take, before any of its runs is known."""

from __future__ import annotations

from typing import NamedTuple

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.axis import preconditions
from sharpness_phases.runs.spec import saturation_steps
from sharpness_phases.training.line import LINE_POINTS
from sharpness_phases.training.tracker import sample_size

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


class Work(NamedTuple):
    """What runs of one initialisation take.

    Attributes:
        runs: Number of training runs.
        steps: Optimizer steps of all of them; the loss on the measurement set is evaluated after each.
        measurements: Measurements of the sharpness on the whole measurement set.
        estimates: Those on a sample of it.
        products: Hessian-vector products of all of them; one on the sample counts as its share of the examples.
        line_points: Evaluations of the loss on lines from theta_0 to theta_T.
    """

    runs: float = 0
    steps: float = 0
    measurements: float = 0
    estimates: float = 0
    products: float = 0
    line_points: float = 0

    def plus(self, other: Work) -> Work:
        """The work of both."""
        return Work(*(a + b for a, b in zip(self, other, strict=True)))


class _Search(NamedTuple):
    """What an adaptive search takes for an initialisation.

    Attributes:
        runs: Number of training runs.
        steps: Share of the T steps that a run takes until its question is answered.
        looks: Steps at which the sharpness is looked at: measured, or estimated where there is a sample.
        measurements: Where there is a sample, sharpnesses on the whole measurement set, lambda_0 included.
        products: Where there is a sample, products by Lanczos.
    """

    runs: float
    steps: float
    looks: float
    measurements: float
    products: float


_SEARCHES = {
    "mse": _Search(14, 0.55, 15, 6, 42),
    "xent": _Search(40, 0.87, 140, 22, 160),
    "zero": _Search(27, 0.67, 38, 8, 100),
}
"""By the loss; and where the network's output is zero before training (mse). Counted, as docs/performance.md says
("What a plan says")."""

_SHARE_WITH_PRECONDITIONER, _LOOKS_OF_A_RUN_WITH_PRECONDITIONER = 0.8, 5.7
"""Where the optimizer has a preconditioner, the share of the grid that is asked, and looks of a run, none of which has
a sample: 0.88 and 6.4 counted in configs/laptop/adam_fcn.yaml, 0.71 and 4.9 in adam_transformer.yaml."""

_MOST_LOOKS_WITHOUT_SAMPLE = 40
"""Looks at most where there is no sample: between the 17 and 29 counted with MSE and those of a decoder with
cross-entropy, all of whose 24 products are fewer."""

_PRODUCTS_OF_A_LOOK = 3.3
"""Products of a measurement that only decides about a threshold: 2.4 to 4.2, counted there."""


def expected_work(config: ExperimentConfig) -> Work:
    """All that an initialisation takes.

    Args:
        config: The experiment.

    Returns:
        The work.
    """
    work = _adaptive_search(config) if config.sweep.search == "adaptive" else _whole_grid(config)
    if config.analysis.saturation:
        work = work.plus(_saturation(config))
    return work.plus(_barrier(config, work.runs)) if config.analysis.barrier else work


def _adaptive_search(config: ExperimentConfig) -> Work:
    found, by_power = _usual_search(config), _by_power_iteration(config)
    preconditioned = preconditions(config.trained_by)
    steps = found.runs * found.steps * config.transient_steps
    if sample_size(config.sharpness.examples) and not by_power and not preconditioned:
        return Work(found.runs, steps, found.measurements, found.looks, found.products)
    each = _POWER_PRODUCTS if by_power else _PRODUCTS_OF_A_LOOK
    looks = found.looks if preconditioned else min(found.looks, _MOST_LOOKS_WITHOUT_SAMPLE)
    return Work(found.runs, steps, 1 + looks, 0, _COLD_PRODUCTS + looks * each)


def _usual_search(config: ExperimentConfig) -> _Search:
    if preconditions(config.trained_by):
        runs = _SHARE_WITH_PRECONDITIONER * len(config.sweep.lr_exponents.exponents())
        return _Search(runs, 0.82, _LOOKS_OF_A_RUN_WITH_PRECONDITIONER * runs, 0, 0)
    if config.loss == "xent":
        return _SEARCHES["xent"]
    return _SEARCHES["zero" if config.model.output_layer == "zero" or config.model.subtract_initial else "mse"]


def _whole_grid(config: ExperimentConfig) -> Work:
    runs, steps, transient = len(_exponents_below_divergence(config)), config.training.steps, config.transient_steps
    measurements = runs * (transient + (steps - transient) // config.sharpness.every)
    each = _POWER_PRODUCTS if _by_power_iteration(config) else _COLD_PRODUCTS
    return Work(runs, runs * steps, measurements, 0, (measurements + 1) * each)


def _saturation(config: ExperimentConfig) -> Work:
    """The long runs up to the step tau at which the saturated sharpness is measured, once in each."""
    lengths = [saturation_steps(config, x) for x in _exponents_below_divergence(config)]
    each = _POWER_PRODUCTS if _by_power_iteration(config) else _COLD_PRODUCTS
    return Work(len(lengths), sum(lengths), len(lengths), 0, len(lengths) * each)


def _barrier(config: ExperimentConfig, runs: float) -> Work:
    """Lines from theta_0 to theta_T: of all runs there are, or at the end of runs of their own."""
    if config.sweep.search == "exhaustive":
        return Work(line_points=runs * LINE_POINTS)
    lines = _BARRIER_LINES
    return Work(runs=lines, steps=lines * config.transient_steps, line_points=lines * LINE_POINTS)


def _by_power_iteration(config: ExperimentConfig) -> bool:
    return config.sharpness.solver == "power"


def _exponents_below_divergence(config: ExperimentConfig) -> list[float]:
    return [x for x in config.sweep.lr_exponents.exponents() if 2.0**x < _LAST_C]

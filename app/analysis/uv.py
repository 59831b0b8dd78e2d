"""The uv model, solved exactly: the project's oracle.

f(x) = v.u x / sqrt(n) on the one example (x, y) = (1, y) with L = D^2 / 2, D = f - y (Kalra & Barkeshli 2023, Sec. 5;
Lewkowycz et al. 2020: y = 0). lambda is the trace of the Hessian, (|u|^2 + |v|^2) / n, and its top eigenvalue where
the loss is 0. What a target y != 0 leads to stands in `analysis.bifurcation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from sharpness_phases.analysis.boundaries import boundary
from sharpness_phases.analysis.critical import Constant, critical_constants
from sharpness_phases.runs.questions import Criteria
from sharpness_phases.runs.trajectory import Trajectory, has_diverged

_ROUNDINGS = 4.0
"""Rounding errors of a float32 run, in units of that of the sum v.u. However small f_0 is, the sum's terms are of the
size of |u| |v|, so that its error relative to f_0 is 2^-24 / (2 sqrt(a)) with a = f_0^2 / (n lambda_0^2), and that of
the loss 2^-24 / sqrt(a). Measured at n = 8, a = 2e-7, c = 2: over ten steps the loss wandered by 2.1 units, where the
exact one fell by 1.4. Of 160 initialisations (n = 2, 4, 8, 64) it was the only one that rounding decided."""

_DIFFERENCES = ("f", "sharpness")  # the columns of `largest_differences` beside the width


def recursion(
    f_0: float, lambda_0: float, n: int, learning_rate: float, steps: int, target: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent on the uv model, exactly (Kalra & Barkeshli 2023, Sec. 5).

    With D_t = f_t - y: f_{t+1} = f_t - eta D_t lambda_t + eta^2 D_t^2 f_t / n and
    lambda_{t+1} = lambda_t + (eta D_t / n) (eta D_t lambda_t - 4 f_t). For y = 0 these are
    f_{t+1} = f_t (1 - eta lambda_t + eta^2 f_t^2 / n) and
    lambda_{t+1} = lambda_t + (eta f_t^2 / n) (eta lambda_t - 4).

    Args:
        f_0: Output before training.
        lambda_0: Trace of the Hessian before training.
        n: Width.
        learning_rate: Constant learning rate eta.
        steps: Number of steps.
        target: y.

    Returns:
        f_t and lambda_t for t = 0..steps, float64, each of shape (steps + 1,); infinite or NaN once they overflow.
    """
    f, trace = np.empty(steps + 1), np.empty(steps + 1)
    f[0], trace[0] = f_0, lambda_0
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            move = learning_rate * (f[t] - target)  # eta D
            f[t + 1] = f[t] - move * trace[t] + move**2 * f[t] / n
            trace[t + 1] = trace[t] + move / n * (move * trace[t] - 4 * f[t])
    return f, trace


def top_eigenvalue(f: np.ndarray | float, trace: np.ndarray | float, n: int, target: float = 0.0) -> np.ndarray:
    """Largest eigenvalue of the Hessian: (lambda + sqrt(lambda^2 + 4 D (D + 2 f) / n)) / 2 with D = f - y.

    In p = (u + v) / sqrt(2) and q = (u - v) / sqrt(2) the Hessian is J J^T + (D / sqrt(n)) diag(I, -I) with the
    gradient J = (p, -q) / sqrt(n) of f. Its eigenvalues in the span of (p, 0) and (0, q) solve
    mu^2 - lambda mu - D (D + 2 f) / n = 0, all others are +- D / sqrt(n), which are never the largest alone. For y = 0
    the last term is 3 f^2 / n.

    Args:
        f: Output.
        trace: Trace lambda of the Hessian.
        n: Width.
        target: y.

    Returns:
        The eigenvalue, of the arguments' shape.
    """
    error = np.subtract(f, target)
    # With u = v or u = -v the root is that of a square, which rounding may make negative where it is 0.
    root = np.sqrt(np.maximum(np.square(trace) + 4 * error * (error + 2 * np.asarray(f)) / n, 0.0))
    return (trace + root) / 2


def critical_loss_constant(f_0: float, lambda_0: float, n: int) -> float:
    """c_loss at the first step: the learning-rate constant c = eta lambda_0 above which the loss rises there.

    With a = f_0^2 / (n lambda_0^2) the first step multiplies f by 1 - c + a c^2, so that the loss rises iff
    |1 - c + a c^2| > 1: where c - a c^2 > 2, which begins at (1 - sqrt(1 - 8a)) / (2a), between 2 and 4, if a <= 1/8;
    and where c > 1/a. For a > 1/8 the second is the only one, and 1/a lies between 4 and 8, as no network has an a
    above 1/4. At a = 1/8 itself the loss comes back to L_0 at c = 4 and exceeds it only beyond c = 8; 4 is the limit
    from below. The constant jumps there, so that it is as uncertain as a is.

    Args:
        f_0: Output before training.
        lambda_0: Trace of the Hessian before training.
        n: Width.

    Returns:
        c_loss; 2 for a = 0, the limit of wide networks.

    Raises:
        ValueError: If lambda_0 is not above 0: c has no meaning then.
    """
    if not lambda_0 > 0:
        raise ValueError(f"`lambda_0` must be above 0. Received: {lambda_0!r}.")
    a = (f_0 / lambda_0) ** 2 / n
    if a > 1 / 8:
        return 1 / a
    return 4 / (1 + math.sqrt(1 - 8 * a))  # the first root, without cancellation as a -> 0


def exact_constants(
    loss_0: float, sharpness_0: float, n: int, grid: Sequence[float], criteria: Criteria
) -> dict[str, Constant]:
    """The critical constants that exact training has on a grid of c: the recursions over T steps at every c.

    They obey the definitions of `analysis.critical`, censoring included. c_loss is that of all T steps: the loss may
    fall at the first one and rise above L_0 later, so that it can be smaller than `critical_loss_constant`.

    Args:
        loss_0: Loss before training, f_0^2 / 2.
        sharpness_0: Top eigenvalue of the Hessian before training, the unit of c: eta = c / sharpness_0.
        n: Width.
        grid: The c of the grid, increasing.
        criteria: Number of steps T, and what counts as rising; a barrier is not asked for.

    Returns:
        c_loss, c_sharp and c_max.
    """
    runs = _exact_runs(loss_0, sharpness_0, n, grid, criteria.steps)
    return critical_constants(grid, runs, replace(criteria, barrier=False))


class Comparison(NamedTuple):
    """One width of an experiment of the uv model against the exact solution: a row of `compare_with_exact`.

    A boundary is that of `analysis.boundaries.boundary` over all initialisations: 0 or infinity where it is censored.

    Attributes:
        width: n.
        initialisations: How many there are; the next four counts add up to it.
        compared: Those with a c_loss inside the grid, both measured and exact.
        low: Those whose c_loss is censored `low`, both measured and exact.
        high: Those whose c_loss is censored `high`, both measured and exact.
        otherwise: Those where one of the two is censored and the other is not, or on the other side.
        by_rounding: Of the compared, those whose two constants differ, but not by more than float32 can tell: a loss
            that comes so near to L_0 that its rounding decides.
        c_loss: Boundary of the measured constants.
        c_loss_exact: Boundary of the exact ones on the grid, `exact_constants`.
        c_loss_first_step: Boundary of those of the first step alone, `critical_loss_constant`, in units of the measured
            sharpness, which is the top eigenvalue of the Hessian and not its trace.
        grid_steps: By how many steps of the grid a measured c_loss misses the exact one at most, over the compared, and
            beyond what rounding can decide; NaN where there are none.
        f: Largest difference of f; see `largest_differences`.
        sharpness: Largest difference of the sharpness; see `largest_differences`.
    """

    width: int
    initialisations: int
    compared: int
    low: int
    high: int
    otherwise: int
    by_rounding: int
    c_loss: float
    c_loss_exact: float
    c_loss_first_step: float
    grid_steps: float
    f: float
    sharpness: float


def compare_with_exact(
    constants: pd.DataFrame, runs: pd.DataFrame, exponents: Sequence[float], criteria: Criteria
) -> pd.DataFrame:
    """Hold an experiment of the uv model against the exact solution; no initialisation is left out.

    Args:
        constants: A table as `analysis.tables.constants_table` returns it.
        runs: All its runs, of plain gradient descent.
        exponents: Its grid of x, c = 2^x, increasing.
        criteria: What counts as rising.

    Returns:
        A row per width n, with the fields of `Comparison` as columns.
    """
    rows = [
        {"width": width} | _compare_network(network, [2.0**x for x in exponents], criteria)
        for width, network in constants.groupby("width")
    ]
    table = pd.DataFrame(rows, columns=[name for name in Comparison._fields if name not in _DIFFERENCES])
    return table.merge(largest_differences(runs), on="width", how="left")


def _compare_network(network: pd.DataFrame, grid: Sequence[float], criteria: Criteria) -> dict[str, float]:
    """Counts and boundaries of the initialisations of one width."""
    n = int(network["width"].iloc[0])
    starts = list(zip(network["loss_0"].astype(float), network["lambda_0"].astype(float), strict=True))
    pairs = zip(network["c_loss"].astype(float), network["c_loss_censored"].astype(str), strict=True)
    measured = [Constant(value, censored) for value, censored in pairs]
    exact = [_exact_c_loss(*start, n, grid, criteria) for start in starts]
    place = np.array([_place(constant, grid) for constant in measured])
    least, middle, most = np.array([[_place(constant, grid) for constant in each] for each in exact]).T
    low, high = (place < 0) & (middle < 0), (place == len(grid)) & (middle == len(grid))
    compared = (np.minimum(place, middle) >= 0) & (np.maximum(place, middle) < len(grid))
    apart = np.maximum(np.maximum(least - place, place - most), 0)
    nominal = [each[1] for each in exact]
    return {
        "initialisations": len(network),
        "compared": int(compared.sum()),
        "low": int(low.sum()),
        "high": int(high.sum()),
        "otherwise": int((~(compared | low | high)).sum()),
        "by_rounding": int((compared & (place != middle) & (apart == 0)).sum()),
        "c_loss": _boundary(measured),
        "c_loss_exact": _boundary(nominal),
        "c_loss_first_step": _boundary([Constant(_first_step(*start, n)) for start in starts]),
        "grid_steps": float(apart[compared].max()) if compared.any() else math.nan,
    }


def _boundary(constants: Sequence[Constant]) -> float:
    return boundary([constant.value for constant in constants], [constant.censored for constant in constants]).value


def _place(constant: Constant, grid: Sequence[float]) -> int:
    """Index on the grid; -1 for `low`, and the grid's length for `high`."""
    if constant.censored:
        return -1 if constant.censored == "low" else len(grid)
    return int(np.argmin(np.abs(np.log2(grid) - math.log2(constant.value))))


def _exact_c_loss(
    loss_0: float, sharpness_0: float, n: int, grid: Sequence[float], criteria: Criteria
) -> tuple[Constant, Constant, Constant]:
    """The exact c_loss on the grid: the smallest that float32 may find, the exact one, and the largest."""
    runs = _exact_runs(loss_0, sharpness_0, n, grid, criteria.steps)
    f_0 = math.sqrt(2 * loss_0)
    root_a = f_0 / (math.sqrt(n) * _trace(f_0, sharpness_0, n))
    unsure = _ROUNDINGS * 2.0**-24 / root_a if root_a else 0.0
    thresholds = [(1 + criteria.loss_tolerance) * (1 + sign * unsure) - 1 for sign in (-1, 0, 1)]
    least, exact, most = [
        critical_constants(grid, runs, replace(criteria, barrier=False, loss_tolerance=threshold))["c_loss"]
        for threshold in thresholds
    ]
    return least, exact, most


def _exact_runs(
    loss_0: float, sharpness_0: float, n: int, grid: Sequence[float], steps: int
) -> dict[int, list[Trajectory]]:
    """The exact run at every c of a grid, by its index."""
    f_0 = math.sqrt(2 * loss_0)
    trace_0 = _trace(f_0, sharpness_0, n)
    return {i: [_exact_run(*recursion(f_0, trace_0, n, c / sharpness_0, steps), n)] for i, c in enumerate(grid)}


def largest_differences(runs: pd.DataFrame) -> pd.DataFrame:
    """Stored runs against the exact recursions.

    Args:
        runs: Rows of runs of the uv model, of plain gradient descent.

    Returns:
        A row per width: the largest difference of f, relative to the largest |f| of its run, and the largest relative
        difference of the sharpness, over all steps before divergence.
    """
    rows = []
    for _, run in runs[runs["c"].notna() & ~runs["diverged"]].groupby("run_id", sort=False):
        n, rate = int(run["width"].iloc[0]), float(run["learning_rate"].iloc[0])
        f_simulated = np.sqrt(2 * run["loss"].to_numpy())
        trace_0 = _trace(f_simulated[0], float(run["sharpness"].iloc[0]), n)
        f, trace = recursion(f_simulated[0], trace_0, n, rate, len(run) - 1)
        sharpness = run["sharpness"].to_numpy() / top_eigenvalue(f, trace, n) - 1
        measured = sharpness[np.isfinite(sharpness)]
        f_error = np.max(np.abs(f_simulated - np.abs(f))) / np.max(f_simulated)
        rows.append({"width": n, "f": f_error, "sharpness": np.max(np.abs(measured))})
    return pd.DataFrame(rows, columns=["width", *_DIFFERENCES]).groupby("width").max().reset_index()


def _trace(f: float, top: float, n: int) -> float:
    """The trace of the Hessian from its top eigenvalue mu: lambda = mu - 3 f^2 / (n mu)."""
    return top - 3 * f**2 / (n * top)


def _first_step(loss_0: float, sharpness_0: float, n: int) -> float:
    """c_loss at the first step, in units of the measured sharpness, which is the top eigenvalue and not the trace."""
    f_0 = math.sqrt(2 * loss_0)
    trace = _trace(f_0, sharpness_0, n)
    return critical_loss_constant(f_0, trace, n) * sharpness_0 / trace


def _exact_run(f: np.ndarray, trace: np.ndarray, n: int) -> Trajectory:
    """What the training code would have stored of an exact run: up to its divergence, if there is one."""
    with np.errstate(over="ignore", invalid="ignore"):
        loss = np.square(f) / 2
        gone = [t for t, value in enumerate(loss) if has_diverged(value)]
        end = gone[0] + 1 if gone else len(loss)
        sharpness = top_eigenvalue(f[:end], trace[:end], n)
    unknown, nothing = np.full(end, np.nan), np.zeros(end)
    exact, products = np.isfinite(sharpness), nothing.astype(np.int64)
    return Trajectory(loss[:end], unknown, sharpness, nothing, exact, products, bool(gone))

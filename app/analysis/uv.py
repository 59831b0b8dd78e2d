"""The uv model, solved exactly: the project's oracle.

f(x) = v.u x / sqrt(n) on the one example (x, y) = (1, 0) with L = f^2 / 2 (Kalra & Barkeshli 2023, Sec. 5; Lewkowycz
et al. 2020). lambda is the trace of the Hessian, (|u|^2 + |v|^2) / n.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

_ROUNDING = 0.02
"""Grid steps by which a stored c, of a lambda_0 in float32, may miss its exact place on the grid. Chosen so: with x in
steps of 0.1 that is 0.14% of c; rounding is far below, and a whole grid step far above."""


def recursion(f_0: float, lambda_0: float, n: int, learning_rate: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent on the uv model, exactly (Kalra & Barkeshli 2023, Sec. 5).

    f_{t+1} = f_t (1 - eta lambda_t + eta^2 f_t^2 / n) and
    lambda_{t+1} = lambda_t + (eta f_t^2 / n) (eta lambda_t - 4).

    Args:
        f_0: Output before training.
        lambda_0: Trace of the Hessian before training.
        n: Width.
        learning_rate: Constant learning rate eta.
        steps: Number of steps.

    Returns:
        f_t and lambda_t for t = 0..steps, float64, each of shape (steps + 1,); infinite or NaN once they overflow.
    """
    f, trace = np.empty(steps + 1), np.empty(steps + 1)
    f[0], trace[0] = f_0, lambda_0
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            f[t + 1] = f[t] * (1 - learning_rate * trace[t] + learning_rate**2 * f[t] ** 2 / n)
            trace[t + 1] = trace[t] + learning_rate * f[t] ** 2 / n * (learning_rate * trace[t] - 4)
    return f, trace


def top_eigenvalue(f: np.ndarray | float, trace: np.ndarray | float, n: int) -> np.ndarray:
    """Largest eigenvalue of the Hessian: (lambda + sqrt(lambda^2 + 12 f^2 / n)) / 2.

    In p = (u + v) / sqrt(2) and q = (u - v) / sqrt(2) the Hessian is J J^T + (f / sqrt(n)) diag(I, -I) with the
    gradient J of f; its eigenvalues in the span of (p, 0) and (0, q) solve mu^2 - lambda mu - 3 f^2 / n = 0, all others
    are +- f / sqrt(n).

    Args:
        f: Output.
        trace: Trace lambda of the Hessian.
        n: Width.

    Returns:
        The eigenvalue, of the arguments' shape.
    """
    return (trace + np.sqrt(np.square(trace) + 12 * np.square(f) / n)) / 2


def critical_loss_constant(f_0: float, lambda_0: float, n: int) -> float:
    """c_loss, the learning-rate constant c = eta lambda_0 above which the loss rises at the first step.

    With a = f_0^2 / (n lambda_0^2) it rises where c - a c^2 > 2, that is from c_loss = (1 - sqrt(1 - 8a)) / (2a) on.

    Args:
        f_0: Output before training.
        lambda_0: Trace of the Hessian before training.
        n: Width.

    Returns:
        c_loss, which tends to 2 as a -> 0; infinity for a > 1/8, where c - a c^2 exceeds 2 at no c.
    """
    a = f_0**2 / (n * lambda_0**2)
    if a > 1 / 8:
        return math.inf
    return 4 / (1 + math.sqrt(1 - 8 * a))  # the same, without cancellation as a -> 0


def exact_loss_constants(constants: pd.DataFrame) -> pd.Series:
    """c_loss of every initialisation from its initial loss and sharpness, in units of the measured sharpness.

    Args:
        constants: A table as `analysis.tables.constants_table` returns it, of the uv model.

    Returns:
        For each row eta times the measured lambda_0, which is the top eigenvalue and not the trace, above which the
        loss rises at the first step.
    """

    def constant(row: pd.Series) -> float:
        f_0, n = math.sqrt(2 * row["loss_0"]), int(row["width"])
        trace = _trace(f_0, row["lambda_0"], n)
        return critical_loss_constant(f_0, trace, n) * row["lambda_0"] / trace

    return constants.apply(constant, axis=1).rename("c_loss_exact")


def compare_with_exact(constants: pd.DataFrame, runs: pd.DataFrame, step: float) -> pd.DataFrame:
    """Hold an experiment of the uv model against the exact solution.

    Args:
        constants: A table as `analysis.tables.constants_table` returns it.
        runs: All its runs, of plain gradient descent.
        step: Distance of two exponents of its grid of c.

    Returns:
        A row per width n, over the initialisations where the measured and the exact c_loss are known: the means of
        both; `grid_steps`, by how many steps of the grid the measured c_loss misses the smallest grid point at or above
        the exact one, at most; and the largest relative differences of f and lambda over all stored steps.
    """
    table = constants.assign(c_loss_exact=exact_loss_constants(constants))
    table = table[np.isfinite(table["c_loss"]) & np.isfinite(table["c_loss_exact"])]
    apart = np.log2(table["c_loss"] / table["c_loss_exact"]) / step
    # Right is 0 <= apart < 1: the measured c_loss is the next grid point.
    too_high, too_low = np.ceil(apart - 1 - _ROUNDING), np.ceil(-apart - _ROUNDING)
    table = table.assign(grid_steps=np.maximum(np.maximum(too_high, too_low), 0))
    by_width = table.groupby("width").agg(
        c_loss=("c_loss", "mean"), c_loss_exact=("c_loss_exact", "mean"), grid_steps=("grid_steps", "max")
    )
    return by_width.reset_index().merge(largest_differences(runs), on="width")


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
    return pd.DataFrame(rows, columns=["width", "f", "sharpness"]).groupby("width").max().reset_index()


def _trace(f: float, top: float, n: int) -> float:
    """The trace of the Hessian from its top eigenvalue mu: lambda = mu - 3 f^2 / (n mu)."""
    return top - 3 * f**2 / (n * top)

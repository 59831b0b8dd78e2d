"""Intermediate saturation: the critical constant c_crit, from how the saturated sharpness depends on c.

After the early transient the sharpness settles. Learning rates are compared at equal c tau: r(c) is lambda_tau /
lambda_0 at the step tau with c tau = 200 (100 with cross-entropy), averaged over initialisations and smoothed over c.
The susceptibility is chi = -dr/dc, and c_crit = argmax_c dchi/dc, where the sharpness starts its steep fall (Kalra &
Barkeshli 2023, Sec. 3). The start of a fall lies before its steepest point: the argmax is taken up to the largest chi,
beyond which chaotic runs at large c bend the curve up and down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharpness_phases.analysis.critical import Constant
from sharpness_phases.runs.questions import Question

WINDOW = 1.0
"""Half-width of the smoothing window, in units of c; where c/2 is more, that."""

_DEGREE = 2
MIN_POINTS = 5
"""Fewest different c from which c_crit can be found."""

_FINENESS = 10  # points of a curve for each measured c
_RESAMPLES = 1000
_ROUNDING = 1e-6  # a relative fall over a unit of c that is none


@dataclass(frozen=True)
class SaturationCurves:
    """The smoothed saturated sharpness of one network, and its derivatives.

    Attributes:
        c: Learning-rate constants, increasing, shape (k,).
        ratio: lambda_tau / lambda_0, averaged over initialisations and smoothed.
        chi: Susceptibility -d ratio / dc.
        chi_prime: d chi / dc.
    """

    c: np.ndarray
    ratio: np.ndarray
    chi: np.ndarray
    chi_prime: np.ndarray

    @property
    def c_crit(self) -> Constant:
        """Where chi' is largest, up to the largest chi; censored at the first c (`low`) or without a fall (`high`)."""
        steepest = int(np.argmax(self.chi))
        best = int(np.argmax(self.chi_prime[: steepest + 1]))
        if self.chi[steepest] <= _ROUNDING * np.max(np.abs(self.ratio)) or best == len(self.c) - 1:
            return Constant(float("nan"), "high")
        if best == 0:
            return Constant(float("nan"), "low")
        return Constant(float(self.c[best]))


def saturation_curves(c: np.ndarray, ratios: np.ndarray, window: float = WINDOW) -> SaturationCurves:
    """Average over initialisations, smooth and differentiate.

    At every point a parabola is fitted to the measurements within the window, with weights that fall to zero at its
    ends (Savitzky & Golay 1964; Cleveland 1979); its derivatives are those of the curve.

    Args:
        c: Learning-rate constants, increasing, shape (k,), with k at least `MIN_POINTS`.
        ratios: lambda_tau / lambda_0, shape (initialisations, k).
        window: Half-width of the window in units of c; where c/2 is more, it is that.

    Returns:
        The curves.

    Raises:
        ValueError: If there are too few c, or the shapes do not fit.
    """
    smooth = _Smoother(c, window)
    return smooth.curves(np.asarray(ratios, np.float64).mean(axis=0))


def bootstrap(c: np.ndarray, ratios: np.ndarray, window: float = WINDOW, seed: int = 0) -> np.ndarray:
    """c_crit of resampled initialisations.

    Args:
        c: As for `saturation_curves`.
        ratios: As for `saturation_curves`.
        window: As for `saturation_curves`.
        seed: Fixes the resampling.

    Returns:
        c_crit of 1000 samples, drawn with replacement, of the initialisations; NaN where it is censored.
    """
    smooth = _Smoother(c, window)
    ratios = np.asarray(ratios, np.float64)
    chosen = np.random.default_rng(seed).integers(len(ratios), size=(_RESAMPLES, len(ratios)))
    return np.array([smooth.curves(ratios[sample].mean(axis=0)).c_crit.value for sample in chosen])


def saturated_sharpness(runs: pd.DataFrame, last_exponent: float) -> pd.DataFrame:
    """The saturated sharpness of every initialisation for which it is completely measured.

    Args:
        runs: All runs, a row per step.
        last_exponent: The largest x of the grid c = 2^x. Runs are carried out from the smallest c up to the first that
            diverges, or to this one; an initialisation that has got to neither is left out.

    Returns:
        A row per (depth, width, seed, c): tau and ratio = lambda_tau / lambda_0, without diverged runs.
    """
    names = ["depth", "width", "seed", "c"]
    chosen = runs[runs["question"] == Question.SATURATION.value]
    last = chosen["diverged"] | (chosen["lr_exponent"] >= last_exponent)
    complete = last.groupby([chosen[name] for name in names[:-1]]).transform("any")
    chosen = chosen[complete & ~chosen["diverged"]]
    ends = chosen.sort_values("step", kind="stable").groupby("run_id", sort=False)
    table = ends[[*names, "step"]].last().rename(columns={"step": "tau"})
    table["ratio"] = ends["sharpness"].last() / ends["sharpness"].first()
    return table.sort_values(names).reset_index(drop=True)


def critical_table(saturated: pd.DataFrame, window: float = WINDOW) -> pd.DataFrame:
    """c_crit of every network, with its uncertainty.

    Args:
        saturated: A table as `saturated_sharpness` returns it.
        window: As for `saturation_curves`.

    Returns:
        A row per (depth, width) with enough c: c_crit (NaN where censored), censored, the median, q25 and q75 of
        the bootstrap over initialisations, and n, their number.
    """
    rows = []
    for (depth, width), group in saturated.groupby(["depth", "width"]):
        c, ratios = common_grid(group)
        if len(c) < MIN_POINTS:
            continue
        constant = saturation_curves(c, ratios, window).c_crit
        resampled = bootstrap(c, ratios, window)
        known = resampled[np.isfinite(resampled)]
        q25, median, q75 = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else [np.nan] * 3
        row = {"depth": depth, "width": width, "c_crit": constant.value, "censored": constant.censored}
        rows.append(row | {"median": median, "q25": q25, "q75": q75, "n": len(ratios)})
    return pd.DataFrame(rows, columns=["depth", "width", "c_crit", "censored", "median", "q25", "q75", "n"])


def common_grid(saturated: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The c that did not diverge for any initialisation of one network.

    Args:
        saturated: Rows of one network, as `saturated_sharpness` returns them.

    Returns:
        c, shape (k,), and the ratios, shape (initialisations, k).
    """
    ratios = saturated.pivot(index="seed", columns="c", values="ratio").dropna(axis=1)
    return ratios.columns.to_numpy(np.float64), ratios.to_numpy(np.float64)


class _Smoother:
    """Local polynomial regression in c: value and derivatives are linear in the measurements."""

    def __init__(self, c: np.ndarray, window: float) -> None:
        c = np.asarray(c, np.float64)
        if c.ndim != 1 or len(c) < MIN_POINTS or np.any(np.diff(c) <= 0):
            raise ValueError(f"c_crit needs at least {MIN_POINTS} different c in increasing order. Received: {c!r}.")
        points = np.arange(_FINENESS * (len(c) - 1) + 1) / _FINENESS
        self.c = np.interp(points, np.arange(len(c)), c)
        # A window holds enough points for its polynomial, near the ends and on coarse grids, too.
        nearest = np.sort(np.abs(c - self.c[:, None]), axis=1)[:, _DEGREE + 1]
        width = np.maximum(np.maximum(window, self.c / 2), 1.01 * nearest)[:, None]
        distance = (c - self.c[:, None]) / width
        weights = np.sqrt(np.clip(1 - np.abs(distance) ** 3, 0, None) ** 3)
        powers = distance[:, :, None] ** np.arange(_DEGREE + 1)
        fit = np.linalg.pinv(powers * weights[:, :, None]) * weights[:, None, :]
        self._value, self._first, self._second = fit[:, 0], fit[:, 1] / width, 2 * fit[:, 2] / width**2

    def curves(self, ratio: np.ndarray) -> SaturationCurves:
        return SaturationCurves(self.c, self._value @ ratio, -self._first @ ratio, -self._second @ ratio)

"""Intermediate saturation: the critical constant c_crit, from how the saturated sharpness depends on c.

After the early transient the sharpness settles. Learning rates are compared at equal c tau: r(c) is lambda_tau /
lambda_0 at the step tau with c tau = 200 (100 with cross-entropy), averaged over initialisations and smoothed over c.
The susceptibility is chi = -dr/dc, and c_crit = argmax_c dchi/dc, where the sharpness starts its steep fall (Kalra &
Barkeshli 2023, Sec. 3). The start of a fall lies before its steepest point: the argmax is taken up to the largest chi,
beyond which chaotic runs at large c bend the curve up and down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from sharpness_phases.analysis.critical import Constant
from sharpness_phases.runs.questions import Question

WINDOW = 1.0
"""Smallest half-width w_0 of the smoothing window, in units of c: the window around c has half-width max(w_0, c / 2).

Chosen so: on the grid c = 2^x with x in steps of 0.1, c / 2 reaches 5 measurements above c and 9 below. A wider window
smooths a sharp fall away, and c_crit moves to smaller c; in a narrower one the second derivative is that of the noise.
"""

MIN_POINTS = 5
"""Fewest different c from which c_crit can be found: one more than every window holds. Chosen so."""

_DEGREE = 2
"""Degree of the local polynomials: the smallest that has a second derivative, chi'."""

_FINENESS = 10
"""Points of a curve from one measured c to the next; c_crit is one of them."""

_RESAMPLES = 1000
"""Samples of the bootstrap: of a normal distribution, they give the quartiles to 4% of its standard deviation."""

_FLAT = 1e-6
"""Where the largest chi is at most this share of the largest ratio, the sharpness does not fall: that is rounding."""


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
        if self.chi[steepest] <= _FLAT * np.max(np.abs(self.ratio)) or best == len(self.c) - 1:
            return Constant(float("nan"), "high")
        if best == 0:
            return Constant(float("nan"), "low")
        return Constant(float(self.c[best]))


class NetworkSaturation(NamedTuple):
    """c_crit of one network; the fields are the columns of `critical_table`.

    Attributes:
        depth: Depth of the network.
        width: Its width.
        c_crit: c_crit of the curve averaged over initialisations; NaN where it is censored.
        censored: "", "low" or "high".
        interval95_low: Lower end of the 95% interval of c_crit; NaN where it is censored, and with one initialisation.
        interval95_high: Its upper end.
        n: Number of initialisations.
    """

    depth: int
    width: int
    c_crit: float
    censored: str
    interval95_low: float
    interval95_high: float
    n: int


def saturation_curves(c: np.ndarray, ratios: np.ndarray, window: float = WINDOW) -> SaturationCurves:
    """Average over initialisations, smooth and differentiate.

    At every point a parabola is fitted to the measurements within the window, with weights that fall to zero at its
    ends (Savitzky & Golay 1964; Cleveland 1979); its derivatives are those of the curve.

    Args:
        c: Learning-rate constants, increasing, shape (k,), with k at least `MIN_POINTS`.
        ratios: lambda_tau / lambda_0, shape (initialisations, k).
        window: w_0, the smallest half-width of the window; around c it is max(w_0, c / 2).

    Returns:
        The curves. Too few c, or c that do not increase, are refused with a `ValueError`.
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
        A row per (depth, width) with enough c, with the fields of `NetworkSaturation`.
    """
    rows = []
    for key, group in saturated.groupby(["depth", "width"]):
        c, ratios = common_grid(group)
        if len(c) < MIN_POINTS:
            continue
        constant = saturation_curves(c, ratios, window).c_crit
        resampled = bootstrap(c, ratios, window)
        known = resampled[np.isfinite(resampled)]
        n = len(ratios)
        low, high = np.quantile(known, [0.025, 0.975]) if n > 1 and len(known) else [np.nan] * 2
        depth, width = cast(tuple[int, int], key)
        rows.append(NetworkSaturation(depth, width, constant.value, constant.censored, low, high, n))
    return pd.DataFrame(rows, columns=NetworkSaturation._fields)


def critical_rows(table: pd.DataFrame) -> list[NetworkSaturation]:
    """The rows of a table as `critical_table` returns it."""
    return [NetworkSaturation._make(row) for row in table.itertuples(index=False)]


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
    """Local regression in c: at every point p the parabola that fits the k measurements r(c_i) best near p.

    With the scaled distance u_i = (c_i - p) / w(p) and Cleveland's tricube weights W(u) = (1 - |u|^3)^3, 0 beyond
    |u| = 1, it minimises sum_i W(u_i) (r(c_i) - a_0 - a_1 u_i - a_2 u_i^2)^2. Then r(p) = a_0, dr/dc = a_1 / w and
    d2r/dc2 = 2 a_2 / w^2. The a_j are linear in the r(c_i), so that three matrices of shape (points, k) serve all
    curves on the same c, the thousand of the bootstrap, too.

    Args:
        c: Learning-rate constants c_i of the measurements, increasing, shape (k,).
        window: w_0. The half-width at p is w(p) = max(w_0, p / 2), or what holds `_DEGREE` + 2 measurements, if more.

    Raises:
        ValueError: If there are fewer than `MIN_POINTS` different c, or they do not increase.
    """

    def __init__(self, c: np.ndarray, window: float) -> None:
        c = np.asarray(c, np.float64)
        if c.ndim != 1 or len(c) < MIN_POINTS or np.any(np.diff(c) <= 0):
            raise ValueError(f"c_crit needs at least {MIN_POINTS} different c in increasing order. Received: {c!r}.")
        self.points = _between(c)
        width = _half_widths(c, self.points, window)[:, None]
        u = (c - self.points[:, None]) / width
        # Least squares with weights W is plain least squares of rows times sqrt(W); its solution is the pseudo-inverse.
        sqrt_weights = np.sqrt(np.clip(1 - np.abs(u) ** 3, 0, None) ** 3)
        powers = u[:, :, None] ** np.arange(_DEGREE + 1)
        fit = np.linalg.pinv(powers * sqrt_weights[:, :, None]) * sqrt_weights[:, None, :]
        self._value, self._first, self._second = fit[:, 0], fit[:, 1] / width, 2 * fit[:, 2] / width**2

    def curves(self, ratio: np.ndarray) -> SaturationCurves:
        """The smoothed curve of measurements r(c_i), shape (k,), and its derivatives."""
        return SaturationCurves(self.points, self._value @ ratio, -self._first @ ratio, -self._second @ ratio)


def _between(c: np.ndarray) -> np.ndarray:
    """The points p of a curve: the measured c, and `_FINENESS` - 1 between any two neighbours."""
    places = np.arange(_FINENESS * (len(c) - 1) + 1) / _FINENESS
    return np.interp(places, np.arange(len(c)), c)


def _half_widths(c: np.ndarray, points: np.ndarray, window: float) -> np.ndarray:
    """w(p) for every point p: near the ends and on coarse grids, what holds enough measurements for a parabola."""
    enough = np.sort(np.abs(c - points[:, None]), axis=1)[:, _DEGREE + 1]
    return np.maximum(np.maximum(window, points / 2), 1.01 * enough)  # 1.01: at the very end the weight would be 0

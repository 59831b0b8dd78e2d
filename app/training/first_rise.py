"""Where a loss along a line first rises above its beginning: the search that the critical learning rate is read from.

With L(eta) the loss at distance eta along one fixed direction, eta_c = min{eta > 0 : L(eta) > L(0)} (Kalra et al. 2026,
arXiv 2601.16979). Nothing here knows networks: the loss is a function of a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

LossAlong: TypeAlias = Callable[[float], float]
"""Function eta -> L(eta); one that is not finite counts as above L(0)."""

MOST_MOVES = 40
"""Times that eta is doubled or halved before the search gives up: 40 span 12 decades to either side of the start."""

RESOLUTION = 4
"""Units in the last place of L(0) that a rise must exceed: float32 sums of a mean loss differ by one or two between
two points at which the exact losses are equal, so that less is no evidence (critical-sharpness definition, "traps")."""

SCANNED = 8
"""Points below a crossing that are looked at once: doubling steps over a rise between two of its points."""


class FirstRise(NamedTuple):
    """Where the loss first rises.

    Attributes:
        eta: eta_c; 0 where it is censored `low`, infinity where `high`.
        censored: "" if eta_c is known; "low" if the loss is above L(0) as near to 0 as was looked, "high" if it is not
            above L(0) as far as was looked.
        island: Whether the loss rises, falls below L(0) again and rises again, at the points that were looked at.
        forwards: Evaluations of the loss, the one at 0 included.
        loss: L(0).
    """

    eta: float
    censored: str
    island: bool
    forwards: int
    loss: float


class _Line:
    """The loss along a line, each point computed once.

    Args:
        loss_at: Function eta -> L(eta).
        dtype: The precision L was computed in.
    """

    def __init__(self, loss_at: LossAlong, dtype: str) -> None:
        self._loss_at = loss_at
        self._known: dict[float, float] = {}
        self.loss = self.at(0.0)
        self._bound = self.loss + RESOLUTION * float(np.spacing(np.asarray(abs(self.loss), dtype)))

    @property
    def forwards(self) -> int:
        """Evaluations so far."""
        return len(self._known)

    def at(self, eta: float) -> float:
        """L(eta)."""
        if eta not in self._known:
            self._known[eta] = self._loss_at(eta)
        return self._known[eta]

    def rises(self, eta: float) -> bool:
        """Whether L(eta) is above L(0), or not finite."""
        loss = self.at(eta)
        return not (math.isfinite(loss) and loss <= self._bound)

    def island(self) -> bool:
        """Whether a point that rises lies below one that does not."""
        rising = [eta for eta in self._known if eta > 0 and self.rises(eta)]
        return any(not self.rises(eta) for eta in self._known if rising and eta > min(rising))


def first_rise(
    loss_at: LossAlong, start: float, tolerance: float = 1 / 16, scan: bool = True, dtype: str = "float32"
) -> FirstRise:
    """Find eta_c = min{eta > 0 : L(eta) > L(0)}.

    From `start` eta is doubled while L stays at or below L(0), or halved until it does, at most `MOST_MOVES` times; the
    interval is then bisected until 1 - lower/upper < `tolerance`, and the crossing read from the straight line between
    the losses at its ends (its middle, where the upper one is not finite). A warm start takes 5 to 6 evaluations.

    Args:
        loss_at: Function eta -> L(eta).
        start: Where to begin, above 0.
        tolerance: Relative width of the last interval, in (0, 1).
        scan: Look at `SCANNED` equally spaced points below the crossing for an earlier one.
        dtype: NumPy name of the precision L is computed in; a rise of at most `RESOLUTION` units in the last place is
            none.

    Returns:
        Where the loss first rises. Where L(0) is not finite, an eta of NaN, not censored.

    Example:
        >>> round(first_rise(lambda eta: 1 - eta + eta**2 / 4, start=0.1).eta, 2)
        4.0
    """
    line = _Line(loss_at, dtype)
    if not math.isfinite(line.loss):
        return FirstRise(math.nan, "", False, line.forwards, line.loss)
    lower, upper = _bracket(line, start)
    if scan and lower > 0 and upper < math.inf:
        lower, upper = _before(line, lower, upper)
    if lower == 0 or upper == math.inf:
        eta, censored = (0.0, "low") if lower == 0 else (math.inf, "high")
        return FirstRise(eta, censored, line.island(), line.forwards, line.loss)
    eta = _crossing(line, *_bisected(line, lower, upper, tolerance))
    return FirstRise(eta, "", line.island(), line.forwards, line.loss)


def _bracket(line: _Line, start: float) -> tuple[float, float]:
    """Neighbours by a factor 2 of which only the upper rises; a lower one of 0 or an upper one of infinity for none."""
    eta = start
    if line.rises(start):
        for _ in range(MOST_MOVES):
            eta, above = eta / 2, eta
            if not line.rises(eta):
                return eta, above
        return 0.0, eta
    for _ in range(MOST_MOVES):
        eta, below = 2 * eta, eta
        if line.rises(eta):
            return below, eta
    return eta, math.inf


def _before(line: _Line, lower: float, upper: float) -> tuple[float, float]:
    """The interval of the first rise, if a scan below a crossing finds an earlier one."""
    points = [lower * k / (SCANNED + 1) for k in range(1, SCANNED + 1)]
    rising = [line.rises(eta) for eta in points]
    if not any(rising):
        return lower, upper
    first = rising.index(True)
    return (points[first - 1], points[first]) if first else _bracket(line, points[0])


def _bisected(line: _Line, lower: float, upper: float, tolerance: float) -> tuple[float, float]:
    """Halve an interval until it is narrow."""
    while 1 - lower / upper >= tolerance:
        middle = (lower + upper) / 2
        lower, upper = (lower, middle) if line.rises(middle) else (middle, upper)
    return lower, upper


def _crossing(line: _Line, lower: float, upper: float) -> float:
    """Where the straight line between two losses meets L(0): on a parabola that is exact to 0.1%, the middle to 3%."""
    below, above = line.at(lower), line.at(upper)
    share = (line.loss - below) / (above - below) if math.isfinite(above) else 0.5
    return lower + min(max(share, 0.0), 1.0) * (upper - lower)

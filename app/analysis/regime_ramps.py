"""Ramps fitted to r over the steps: what changes between two levels, and where it begins and ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sharpness_phases.analysis.regime_trend import Blocks, smooth

_KNOTS = 48  # steps at which a ramp may begin or end, evenly spread over a window
_BENDS = 24  # steps at which a pause may begin or end; all pairs of them are tried

ROUNDING = 0.005  # spread of log r that no fit needs to explain

_PAUSE = (0.15, 0.3, 0.5, 0.3)
"""A rise pauses for at least the first share of its steps; its slope there is below the second share of those before
and after, and below the third if twice its error is added; log r rises by at least the last before and after. With 0.1
for the last, noise with memory makes pauses in two of 440 random runs, and a pause of a real network is none by eye."""


_TOP = (0.1, 0.3, 0.6, 0.2)
"""The same, of a stay between a rise and a fall, and of the slopes' sizes."""

_LEVEL = (0.2, 0.25, 0.3, 20.0)
"""A rise has come to a level at the end of a run if it stays there for the first share of the steps, with a slope below
the second share of the rise's, log r has risen by the third, and a ramp explains more than a line does by the fourth.
Without the second, the slowing rise of a network is taken for a level."""

_FEWEST = 4  # blocks to which a line is fitted


class Ramp(NamedTuple):
    """A level, a straight change, and another level.

    Attributes:
        begin: Step at which r leaves the first level.
        end: Step at which it arrives at the second one.
        change: Of log r, or of r relative to its mean, between them.
        misfit: Sum of squared residuals of log r, one of each block counting as many times as it has measurements.
    """

    begin: float
    end: float
    change: float
    misfit: float


class _Bent(NamedTuple):
    """Three lines that meet at two bends: the slopes, and the standard error of the middle one."""

    begin: float
    end: float
    slopes: np.ndarray
    error: float
    misfit: float


class Window:
    """Blocks of a run, to which ramps are fitted: straight in log r, or in r, whichever fits better.

    Args:
        blocks: The run.
        start: The first block.
        stop: The block after the last one.
    """

    def __init__(self, blocks: Blocks, start: int, stop: int):
        self.step = blocks.step[start:stop]
        weight, value = blocks.measured[start:stop], blocks.value[start:stop]
        self._rounding = float(weight.sum()) * ROUNDING**2
        level = smooth(value, 3)
        middle = np.average(level, weights=weight)
        # Relative residuals of r are comparable with residuals of log r.
        self._views = ((value, weight), (np.exp(value - middle), weight * np.exp(2 * (middle - level))))

    @property
    def knots(self) -> np.ndarray:
        """Steps of the window, evenly spread."""
        return np.linspace(self.step[0], self.step[-1], _KNOTS)

    def ramp(self, begins: np.ndarray, ends: np.ndarray) -> Ramp:
        """The ramp that fits best.

        Args:
            begins: Steps at which it may begin.
            ends: Steps at which it may end; a pair of both counts if the first is smaller.

        Returns:
            The ramp.
        """
        begin, end = (grid.ravel() for grid in np.meshgrid(begins, ends, indexing="ij"))
        begin, end = begin[begin < end], end[begin < end]
        x = np.clip(self.step, begin[:, None], end[:, None])
        found = []
        for y, w in self._views:
            misfit, slope = _lines(x, y, w)
            best = int(np.argmin(misfit))
            change = float(slope[best] * (end[best] - begin[best]))
            found.append(Ramp(float(begin[best]), float(end[best]), change, float(misfit[best])))
        return min(found, key=lambda ramp: ramp.misfit)

    def share_before(self, ramp: Ramp) -> float:
        """Steps before a ramp, as a share of those before its end."""
        return (ramp.begin - float(self.step[0])) / (ramp.end - float(self.step[0]))

    def worth(self, plain: Ramp, better: Ramp) -> float:
        """By how much one ramp explains more than another, in units of the variance of a block around it."""
        return (plain.misfit - better.misfit) / ((better.misfit + self._rounding) / len(self.step))

    def pause(self) -> tuple[float, float] | None:
        """The steps between which a rise pauses: two bends, with hardly a slope between; None if it does not."""
        long, flat, surely, least = _PAUSE
        bent = self._bent(long)
        before, between, after = bent.slopes
        steady = min(before, after)
        rises = min(before * (bent.begin - self.step[0]), after * (self.step[-1] - bent.end)) > least
        pauses = between < flat * steady and between + 2 * bent.error < surely * steady
        return (bent.begin, bent.end) if rises and pauses else None

    def top(self) -> tuple[float, float] | None:
        """The steps between which r stays at its top, after a rise and before a fall; None if it turns at once."""
        long, flat, surely, least = _TOP
        bent = self._bent(long)
        before, between, after = bent.slopes
        steady = min(before, -after)
        turns = min(before * (bent.begin - self.step[0]), -after * (self.step[-1] - bent.end)) > least
        stays = abs(between) < flat * steady and abs(between) + 2 * bent.error < surely * steady
        return (bent.begin, bent.end) if turns and stays else None

    def stay(self) -> tuple[float, float] | None:
        """The steps from where a rise has come to a level on; None if it goes on."""
        level, plain = self.ramp(self.knots, self.knots), self.ramp(self.knots, self.step[-1:])
        longest, flat, least, worth = _LEVEL
        there = self.step >= level.end
        arrives = level.change > least and self.step[-1] - level.end > longest * (self.step[-1] - self.step[0])
        if not arrives or there.sum() < _FEWEST or self.worth(plain, level) < worth:
            return None
        _, slope = _lines(self.step[None, there], *(values[there] for values in self._views[1]))
        return (level.end, float(self.step[-1])) if slope[0] < flat * level.change / (level.end - level.begin) else None

    def _bent(self, long: float) -> _Bent:
        """Three lines that meet at two bends, at least a share of the steps apart."""
        inner = np.linspace(self.step[0], self.step[-1], _BENDS + 2)[1:-1]
        first, second = (grid.ravel() for grid in np.meshgrid(inner, inner, indexing="ij"))
        apart = second - first >= long * (self.step[-1] - self.step[0])
        first, second = first[apart], second[apart]
        return min((self._three(first, second, *view) for view in self._views), key=lambda bent: bent.misfit)

    def _three(self, first: np.ndarray, second: np.ndarray, y: np.ndarray, w: np.ndarray) -> _Bent:
        """The three lines that fit best, of all pairs of bends."""
        t, total = self.step, w.sum()
        a, b = first[:, None], second[:, None]
        parts = np.stack([np.minimum(t, a), np.clip(t, a, b), np.maximum(t, b)], axis=1)
        parts -= (parts @ w / total)[..., None]
        y = y - np.average(y, weights=w)
        moments, common = (parts * w) @ parts.transpose(0, 2, 1), parts @ (w * y)
        slopes = np.linalg.solve(moments, common[..., None])[..., 0]
        misfit = np.maximum((w * y * y).sum() - (slopes * common).sum(axis=1), 0.0)
        best = int(np.argmin(misfit))
        variance = (misfit[best] + self._rounding) / len(t)
        error = float(np.sqrt(variance * np.linalg.inv(moments[best])[1, 1]))
        return _Bent(float(first[best]), float(second[best]), slopes[best], error, float(misfit[best]))


def _lines(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Misfit and slope of y as a straight line of each row of x, by weighted least squares."""
    y = y - np.average(y, weights=w)
    x = x - (x @ w / w.sum())[:, None]
    spread = np.maximum((x * x) @ w, 1e-12)
    common = x @ (w * y)
    return np.maximum(w @ (y * y) - common**2 / spread, 0.0), common / spread

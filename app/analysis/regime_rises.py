"""Where rises and the first fall begin and end, and whether r stood still before a rise or within it.

The forward pass (`regime_pass`) judges growth over log t, and at once. What comes later tells more, as in a plot over
the steps: a line that goes on is told from a plateau that bends, and the tail of the transient from a decline.
"""

from __future__ import annotations

import numpy as np

from sharpness_phases.analysis.regime_pass import (
    DECLINING,
    EDGE,
    SATURATION,
    SHARPENING,
    TRANSIENT,
    Stretch,
    stretches,
)
from sharpness_phases.analysis.regime_ramps import Ramp, Window
from sharpness_phases.analysis.regime_terms import RegimeSettings
from sharpness_phases.analysis.regime_trend import Blocks, Trend, smooth

_SEEN = (0.3, 4.0)
"""A rise shows whether there was a plateau before it when log r has risen by the first, and by so many times the
noise. With 0.2 and 0.4 for the first, runs with and without a plateau are told apart by their shares less well."""

_SHARE = 0.36
"""A plateau lies before a rise where the ramp that fits best begins after this share of the steps. Of the labelled, 200
drawn and 240 other random runs, those with a plateau have 0.38 and more (but five real networks, and one with noise of
a long memory, which lies between 0.15 and 0.34), and those without 0.32 at most."""

_WORTH = 10.0  # by how much such a ramp must explain more than a line; those with a plateau do by 26 at least

_SOFT = 2.7
"""A smaller share is a plateau nonetheless, if the pass found one and r still fell until that many times its first
step: an exponential is within 15% of its level after 1.2 to 3 time constants and at it after 3, but the minima of small
networks come 3 to 7 times as late."""

_LATEST, _LEVELS = 2.0, 1.7
"""How far ahead the fits look: up to so many times the step where the forward pass saw a rise begin, and end. With 2.5
for both, as many runs are right, but the first half of one cut run in ten changes when the run goes on."""

_BAND = 0.15  # of log r: what is above the minimum by more, before it, is still the transient
_FALL = 0.2  # of log r: a fall by less needs no explanation
_STAY = 0.15  # a fall that begins after a smaller share of its steps belongs to the transient; 0.1 and 0.22 do as well
_FEWEST, _FEWEST_OF_PAUSE = 6, 15  # blocks to which a ramp, or two bends, are fitted
_SHORTEST_PAUSE = 4  # blocks
_GROWS = 1.2  # by which factor the steps grow after which a pause is looked for again


class _View:
    """A run, as far as it is known."""

    def __init__(self, blocks: Blocks, trend: Trend):
        self.blocks = blocks
        self.level = smooth(blocks.value, 2)
        self._noise = trend.wide_noise

    def noise(self, start: int, stop: int) -> float:
        """Spread of log r around lines, over blocks start <= i < stop."""
        return float(np.median(self._noise[start:stop]))

    def block(self, step: float) -> int:
        """The first block at a step or later."""
        return int(np.searchsorted(self.blocks.step, step))

    def later(self, block: int, times: float) -> int:
        """The first block at so many times the step of another or later."""
        return self.block(times * float(self.blocks.step[min(block, len(self.level) - 1)]))


def reshaped(found: np.ndarray, blocks: Blocks, trend: Trend, settings: RegimeSettings) -> np.ndarray:
    """The labels, with the first fall and all rises as they look over the steps.

    Args:
        found: Labels of n blocks, from `regime_pass.labels`, shape (n,).
        blocks: The run.
        trend: Its local trend.
        settings: Thresholds.

    Returns:
        Labels, shape (n,).
    """
    found, view = found.copy(), _View(blocks, trend)
    _first_fall(found, view)
    _pauses(found, view)
    _beginnings(found, view)
    _ends(found, view)
    _stays(found, view, settings)
    return found


def _first_fall(found: np.ndarray, view: _View) -> None:
    """A fall right after the transient that ends at a level or turns into a rise is the rest of the transient."""
    parts = stretches(found)
    for fall, after in reversed(list(zip(parts[1:6], parts[2:7], strict=False))):
        if fall.label in (DECLINING, TRANSIENT) and after.label in (SATURATION, EDGE, SHARPENING):
            end = _end_of_first_fall(parts[0].stop - 1, fall, after, view)
            if end is not None:
                found[:end] = TRANSIENT
                found[end : after.start] = after.label
                return


def _end_of_first_fall(first: int, fall: Stretch, after: Stretch, view: _View) -> int | None:
    """The block at which a fall ends, if it goes on from the start, or from the top of a first rise; else None."""
    top = first + int(np.argmax(view.level[first : fall.start + 1]))
    before = view.level[: top + 1]
    if (np.maximum.accumulate(before) - before).max() > _SEEN[0]:
        return None  # r has fallen before, and risen again
    turns = after.label == SHARPENING
    stop = fall.stop + 3 if turns else max(fall.stop + 3, view.later(fall.stop, _LATEST))
    stop = min(stop, after.stop)
    if stop - top < _FEWEST:
        return None
    window = Window(view.blocks, top, stop)
    ramp = window.ramp(window.knots, window.step[-1:] if turns else window.knots)
    goes_on = ramp.change < -_FALL and window.share_before(ramp) < _STAY
    return view.block(ramp.end) if goes_on else None


def _pauses(found: np.ndarray, view: _View) -> None:
    """A rise that pauses is two, with a plateau between; looked for whenever the rise has gone on for a while."""
    for rise in stretches(found):
        if rise.label != SHARPENING:
            continue
        start, stop = rise.start, min(rise.stop, rise.start + _FEWEST_OF_PAUSE)
        while stop - start >= _FEWEST_OF_PAUSE:
            pause = Window(view.blocks, start, stop).pause()
            if pause is not None:
                begin, end = (view.block(step) for step in pause)
                if end - begin >= _SHORTEST_PAUSE:
                    found[begin:end] = SATURATION
                    start = end
            if stop == rise.stop:
                break
            stop = min(rise.stop, max(stop + 5, view.later(stop - 1, _GROWS)))


def _beginnings(found: np.ndarray, view: _View) -> None:
    """A rise begins where its plateau ends, or right after the transient."""
    parts = stretches(found)
    for place, (before, rise) in enumerate(zip(parts, parts[1:], strict=False)):
        if rise.label != SHARPENING or before.label not in (TRANSIENT, SATURATION):
            continue
        start = before.start if before.label == SATURATION else min(_bottom(view, rise.stop), rise.start)
        window = _until_seen(view, start, rise.stop)
        if window is None:
            continue
        bent = window.ramp(window.knots, window.step[-1:])
        plain = window.ramp(window.step[:1], window.step[-1:])
        long = window.share_before(bent) > _SHARE and view.block(bent.begin) - start >= _SHORTEST_PAUSE
        if bent.change > 0 and long and window.worth(plain, bent) > _WORTH:
            begin = _bend(view, start, before, rise, bent)
            found[start:begin], found[begin : rise.stop] = SATURATION, SHARPENING
        elif before.label == SATURATION and parts[place - 1].label == TRANSIENT and not _soft(view, start, rise.stop):
            begin = min(max(1, view.block(bent.begin)), rise.stop - 1)
            found[start:begin], found[begin : rise.stop] = TRANSIENT, SHARPENING


def _until_seen(view: _View, start: int, stop: int) -> Window | None:
    """From a block to where a rise is seen well enough; None if that is too short."""
    lowest = start + int(np.argmin(view.level[start:stop]))
    enough, sure = _SEEN
    risen = view.level[lowest:stop] - view.level[lowest] > max(enough, sure * view.noise(start, stop))
    last = lowest + int(np.argmax(risen)) + 1 if risen.any() else stop
    last = max(last, start + _FEWEST)
    return Window(view.blocks, start, last) if last <= stop else None


def _bend(view: _View, start: int, before: Stretch, rise: Stretch, bent: Ramp) -> int:
    """The block at which a plateau from `start` bends into a rise."""
    seen = max(rise.start if before.label == SATURATION else 0, view.block(bent.begin))
    window = Window(view.blocks, start, min(rise.stop, max(view.later(seen, _LATEST), start + _FEWEST)))
    ramp = window.ramp(window.knots, window.knots)
    begin = view.block(ramp.begin if ramp.change > 0 else bent.begin)
    return min(max(begin, start + 1), rise.stop - 1)


def _soft(view: _View, start: int, stop: int) -> bool:
    """Whether r comes to its minimum long after it came near it, as at the soft minima of real networks."""
    lowest = start + int(np.argmin(view.level[start:stop]))
    late = view.blocks.step[lowest] + 1 >= _SOFT * (view.blocks.step[start] + 1)
    return bool(late and lowest - start >= _FEWEST)


def _bottom(view: _View, stop: int) -> int:
    """The block from which r, before `stop`, is near its minimum, and the loss no longer above L_0; 1 at least."""
    level = view.level[:stop]
    lowest = int(np.argmin(level))
    band = max(_BAND, view.noise(0, stop))
    away = (level[:lowest] > level[lowest] + band) | (view.blocks.lifted[:lowest] > 0.5)
    return max(1, int(np.flatnonzero(away)[-1]) + 1 if away.any() else 1)


def _ends(found: np.ndarray, view: _View) -> None:
    """A rise ends where a ramp arrives at the level after it."""
    parts = stretches(found)
    for rise, after in zip(parts, parts[1:], strict=False):
        if rise.label != SHARPENING or after.label not in (SATURATION, EDGE):
            continue
        stop = min(after.stop, max(rise.stop + 3, view.later(after.start, _LEVELS)))
        if stop - rise.start < _FEWEST:
            continue
        window = Window(view.blocks, rise.start, stop)
        ramp = window.ramp(window.knots, window.knots)
        if ramp.change > 0:
            end = min(max(view.block(ramp.end), rise.start + 1), stop - 1)
            found[rise.start : end], found[end : after.start] = SHARPENING, after.label


def _stays(found: np.ndarray, view: _View, settings: RegimeSettings) -> None:
    """A rise that ends with the run, or turns into a decline, may have stayed at its top in between."""
    parts = stretches(found)
    for place, rise in enumerate(parts):
        after = parts[place + 1] if place + 1 < len(parts) else None
        if rise.label != SHARPENING or (after is not None and after.label != DECLINING):
            continue
        stop = rise.stop if after is None else min(after.stop, view.later(after.start, _LEVELS))
        if stop - rise.start < _FEWEST_OF_PAUSE:
            continue
        window = Window(view.blocks, rise.start, stop)
        stay = window.stay() if after is None else window.top()
        if stay is None:
            continue
        begin, end = (view.block(step) for step in stay)
        end = stop if after is None else end
        if end - begin < _FEWEST:
            continue
        low = 1 - settings.edge_band - min(settings.noise_band_limit, settings.noise_band * view.noise(begin, end))
        at_edge = np.exp(np.median(view.level[begin:end])) >= low
        if at_edge or after is None:
            found[begin:end] = EDGE if at_edge else SATURATION
            found[end:stop] = DECLINING

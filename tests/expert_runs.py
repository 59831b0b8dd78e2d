"""Trajectories as another expert would write them down: formulas over the steps, labels read off the formulas.

Unlike `drawn_runs`, r_t is one smooth curve, not pieces set side by side; shares of the run are drawn on a linear scale
of steps; the learning rate, the momentum, the scale of the loss and of the sharpness, gaps, outliers and divergence are
drawn, too. What an expert would need to see a regime is granted: a plateau or a stay of at least 12% of the steps and 6
measurements, a rise or a fall by a factor of at least 1.6 (of at least 1.35 for the last steps to an edge), and noise
of log r of at most a sixth of that change. Conventions: an exponential transient is over after three of its time
constants, a logistic rise goes from 10% to 90% of its height; what is left of either belongs to the plateau beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from made_up import trajectory
from run_pieces import DECLINE, DIVERGENT, E, Labelled, P, S, T, with_memory

Spans = list[tuple[str, int, int]]


class _Curve:
    """log r_t and the labels, written from left to right over shares of the steps."""

    def __init__(self, rng: np.random.Generator, steps: int):
        self.rng, self.steps, self.at = rng, steps, 0
        self.log_ratio = np.zeros(steps + 1)
        self.spans: Spans = []

    def _take(self, label: str, share: float) -> np.ndarray:
        """The next steps, as indices, under a label; a share of 1 takes all that is left."""
        stop = self.steps + 1 if share >= 1 else min(self.steps + 1, self.at + max(1, round(share * self.steps)))
        here = np.arange(self.at, stop)
        self.spans.append((label, self.at, stop))
        self.at = stop
        return here

    def transient(self, share: float, start: float, level: float) -> None:
        """An exponential from start towards level, over after three time constants."""
        here = self._take(T, share)
        scale = len(here) / 3
        every = np.arange(self.steps + 1)
        self.log_ratio[:] = np.log(level + (start - level) * np.exp(-every / scale))

    def catapult(self, share: float, start: float, peak: float, level: float) -> None:
        """A sharpness that rises for a fifth of the transient and then falls."""
        here = self._take(T, share)
        up = max(1, len(here) // 5)
        every = np.arange(self.steps + 1)
        fall = level + (peak - level) * np.exp(-np.maximum(every - up, 0) / max(1.0, len(here) - up) * 3)
        self.log_ratio[:] = np.log(np.where(every < up, start * (peak / start) ** (every / up), fall))

    def stay(self, label: str, share: float) -> None:
        """A constant; on a curve that has arrived there is nothing to add."""
        self._take(label, share)

    def rise(self, share: float, target: float, shape: str) -> None:
        """From where the curve is to a target."""
        here = self._take(P, share)
        low = float(np.exp(self.log_ratio[here[0]]))
        every = np.arange(self.steps + 1)
        x = (every - here[0]) / len(here)
        if shape == "logistic":  # 10% at the first step, 90% at the last
            grown = 1 / (1 + np.exp(-2 * np.log(9) * (x - 0.5)))
            new = low + (target - low) * grown
            self.log_ratio += np.log(np.where(every > here[0] - len(here), new / low, 1.0))
            return
        grown = np.clip(x, 0, 1)
        new = {
            "linear": low + (target - low) * grown,
            "exponential": low * (target / low) ** grown,
            "concave": low + (target - low) * (1 - (1 - grown) ** 1.5),
        }[shape]
        self.log_ratio[self.at - len(here) :] = np.log(new[self.at - len(here) :])

    def decline(self, share: float, factor: float, shape: str) -> None:
        """A fall by a factor: exponential in the steps, or a power of the steps since it began."""
        here = self._take(DECLINE, share)
        x = np.clip((np.arange(here[0], self.steps + 1) - here[0]) / len(here), 0, 1)
        if shape == "power":
            onset = float(self.rng.uniform(0.1, 0.4))
            x = np.log1p(x / onset) / np.log1p(1 / onset)
        self.log_ratio[here[0] :] += np.log(factor) * x

    def hover(self, share: float, kind: str) -> None:
        """A stay at the edge, with period 2, with waves, or with nothing but noise."""
        here = self._take(E, share)
        size = float(self.rng.uniform(0.05, 0.3))
        if kind == "period 2":
            self.log_ratio[here] += np.log1p(size * np.where(here % 2, -1.0, 1.0))
        elif kind == "waves":
            period = len(here) / self.rng.uniform(3, 10)
            self.log_ratio[here] += 0.3 * size * np.sin(2 * np.pi * (here - here[0]) / period)


def _shape(rng: np.random.Generator) -> str:
    return str(rng.choice(["linear", "logistic", "exponential", "concave"]))


def _hovering(rng: np.random.Generator) -> str:
    return str(rng.choice(["period 2", "waves", "noise"]))


def _to_plateau(curve: _Curve, rng: np.random.Generator) -> None:
    level = float(rng.uniform(0.2, 0.55))
    share = float(rng.uniform(0.02, 0.08))
    if rng.random() < 0.2:
        curve.catapult(share, level * 2, level * rng.uniform(3, 6), level)
    else:
        curve.transient(share, level * rng.uniform(1.5, 4), level)
    curve.stay(S, float(rng.uniform(0.15, 0.3)))


def _to_edge(curve: _Curve, rng: np.random.Generator) -> None:
    _to_plateau(curve, rng)
    curve.rise(float(rng.uniform(0.2, 0.35)), float(rng.uniform(0.95, 1.05)), _shape(rng))


def _four(curve: _Curve, rng: np.random.Generator) -> None:
    _to_edge(curve, rng)
    curve.hover(1.0, _hovering(rng))


def _minibatches(curve: _Curve, rng: np.random.Generator) -> None:
    _to_plateau(curve, rng)
    curve.rise(float(rng.uniform(0.2, 0.35)), float(rng.uniform(0.86, 1.1)), _shape(rng))
    curve.hover(1.0, "noise")


def _falls_at_the_end(curve: _Curve, rng: np.random.Generator) -> None:
    _to_edge(curve, rng)
    curve.hover(float(rng.uniform(0.15, 0.2)), _hovering(rng))
    curve.decline(1.0, float(rng.uniform(0.2, 0.5)), str(rng.choice(["exponential", "power"])))


def _cross_entropy(curve: _Curve, rng: np.random.Generator) -> None:
    level = float(rng.uniform(0.97, 1.1))
    curve.transient(float(rng.uniform(0.01, 0.05)), level * rng.uniform(1.5, 4), level)
    curve.hover(float(rng.uniform(0.2, 0.4)), _hovering(rng))
    curve.decline(1.0, float(rng.uniform(0.08, 0.4)), str(rng.choice(["exponential", "power"])))


def _never_at_the_edge(curve: _Curve, rng: np.random.Generator) -> None:
    level = float(rng.uniform(0.15, 0.35))
    curve.transient(float(rng.uniform(0.01, 0.05)), level * rng.uniform(1.5, 4), level)
    if rng.random() < 0.5:
        curve.stay(S, float(rng.uniform(0.25, 0.4)))
    curve.rise(
        1.0 if rng.random() < 0.5 else float(rng.uniform(0.3, 0.4)), level * float(rng.uniform(1.7, 2.2)), "linear"
    )
    if curve.at <= curve.steps:
        curve.decline(1.0, float(rng.uniform(0.2, 0.5)), "exponential")


def _two_plateaus(curve: _Curve, rng: np.random.Generator) -> None:
    _to_plateau(curve, rng)
    low = float(np.exp(curve.log_ratio[curve.at]))
    middle = min(0.7, low * float(rng.uniform(1.6, 2.0)))
    curve.rise(float(rng.uniform(0.15, 0.22)), max(middle, 1.6 * low) if low < 0.4 else 0.7, _shape(rng))
    if rng.random() < 0.5:
        curve.stay(S, 1.0)
        return
    curve.stay(S, float(rng.uniform(0.15, 0.2)))
    curve.rise(0.15, 1.02, str(rng.choice(["linear", "exponential"])))
    curve.hover(1.0, _hovering(rng))


def _from_above(curve: _Curve, rng: np.random.Generator) -> None:
    level = float(rng.uniform(0.95, 1.1))
    curve.transient(float(rng.uniform(0.01, 0.06)), level * rng.uniform(1.6, 4), level)
    curve.hover(1.0, _hovering(rng))


def _flat(curve: _Curve, rng: np.random.Generator) -> None:
    _to_plateau(curve, rng)
    curve.spans[-1] = (S, curve.spans[-1][1], curve.steps + 1)
    curve.at = curve.steps + 1


def _straight_up(curve: _Curve, rng: np.random.Generator) -> None:
    level = float(rng.uniform(0.2, 0.5))
    curve.transient(float(rng.uniform(0.01, 0.04)), level * rng.uniform(1.5, 3), level)
    curve.rise(float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.97, 1.03)), str(rng.choice(["linear", "concave"])))
    curve.hover(1.0, _hovering(rng))


Story = Callable[[_Curve, np.random.Generator], None]

STORIES: tuple[Story, ...] = (
    _four, _four, _minibatches, _minibatches, _falls_at_the_end, _cross_entropy, _cross_entropy, _never_at_the_edge,
    _two_plateaus, _from_above, _flat, _straight_up,
)  # fmt: skip
"""What may happen; four regimes, minibatches and cross-entropy twice as often as the rest."""


def expert_runs(count: int, seed: int) -> list[Labelled]:
    """Runs of 50 to 50,000 steps, measured at every one, every 10th or every 50th of them."""
    rng = np.random.default_rng([seed, 2023])
    return [_run(number, rng) for number in range(count)]


def _run(number: int, rng: np.random.Generator) -> Labelled:
    story = STORIES[rng.integers(len(STORIES))]
    every = int(rng.choice([1, 1, 1, 10, 50]))
    measured = int(np.exp(rng.uniform(np.log(50 if every == 1 else 100), np.log(1000 if every > 1 else 5000))))
    curve = _Curve(rng, every * measured)
    story(curve, rng)
    minibatch = story is _minibatches
    noise = float(rng.uniform(0.02, 0.08) if minibatch else rng.choice([0.0, 0.005, 0.02, 0.04]))
    if measured < 120:  # few points show a bend through little noise only
        noise = min(noise, 0.03)
    edge = 2 * (1 + float(rng.choice([0, 0.9]))) / 10 ** rng.uniform(-3, 1)
    slow = minibatch and rng.random() < 0.3
    kicks = with_memory(curve.steps + 1, 1.0, rng, 5.0) if slow else rng.standard_normal(curve.steps + 1)
    sharpness = np.exp(curve.log_ratio + noise * kicks) * edge
    loss = _losses(curve, rng)
    spans = curve.spans
    if rng.random() < 0.25:
        _put_outliers(sharpness, loss, every, rng)
    sharpness[np.arange(curve.steps + 1) % every != 0] = np.nan
    if rng.random() < 0.12:
        loss, sharpness, spans = _diverged(loss, sharpness, spans, every, rng)
        return Labelled(_name(number, story), trajectory(loss, sharpness, diverged=True), edge, spans)
    return Labelled(_name(number, story), trajectory(loss, sharpness), edge, spans)


def _name(number: int, story: Story) -> str:
    return f"expert {number} {story.__name__.strip('_')}"


def _losses(curve: _Curve, rng: np.random.Generator) -> np.ndarray:
    """A loss that falls from an arbitrary scale; sometimes it first rises above L_0, within the transient."""
    every = np.arange(curve.steps + 1)
    falls = (1 + every / (0.01 * curve.steps + 2)) ** -rng.uniform(0.4, 1.2)
    loss = falls * np.exp(rng.uniform(0, 0.05) * rng.standard_normal(len(every)))
    loss[0] = 1.0
    end = curve.spans[0][2]
    if end >= 5 and rng.random() < 0.2:
        loss[1 : end - 1] = 1.001 + rng.uniform(0.5, 20) * np.sin(np.pi * np.arange(1, end - 1) / (end - 1))
    return loss * 10 ** rng.uniform(-3, 3)


def _put_outliers(sharpness: np.ndarray, loss: np.ndarray, every: int, rng: np.random.Generator) -> None:
    """One to three single values of either that are off, at least ten measurements apart from each other."""
    measured = np.arange(0, len(loss), every)
    places = rng.permutation(np.arange(8, len(measured) - 8, 10))[: rng.integers(1, 4)]
    for place in measured[places]:
        sharpness[place] *= rng.choice([0.2, 0.5, 3, 8])
        loss[min(len(loss) - 9, place + 3)] = 3 * loss[0]


def _diverged(
    loss: np.ndarray, sharpness: np.ndarray, spans: Spans, every: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Spans]:
    """The run with some more steps, in which the loss grows by a factor each and ends as NaN or infinity."""
    steps = int(rng.integers(3, 30))
    rise = loss.max() * float(rng.uniform(1.3, 10)) ** np.arange(1, steps + 1)
    rise[-1] = rng.choice([np.nan, np.inf])
    count = len(loss)
    last = sharpness[np.isfinite(sharpness)][-1]
    more = last * np.linspace(1.2, 3, steps)
    more[np.arange(count, count + steps) % every != 0] = np.nan
    more[-1] = np.nan
    stop = count + steps
    return np.append(loss, rise), np.append(sharpness, more), [*spans, (DIVERGENT, count, stop)]

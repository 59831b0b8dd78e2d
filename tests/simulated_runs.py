"""Long runs of simulated systems, whose regimes follow from how each system was built.

A third set beside `drawn_runs` and `expert_runs`, in another style: the sharpness follows a controlled process, step by
step, not a formula of the steps. Sharpening is growth towards the edge, and the edge pushes back: by a cubic map, which
settles at a fixed point, alternates with period 2 or wanders, or by noise that is drawn back to its level (an
Ornstein-Uhlenbeck process). The labels follow from the phase of the system at each step: the relaxation is over when it
is within 10% of its start; sharpening begins when its drift is switched on and ends when r first reaches its level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from made_up import trajectory
from run_pieces import DECLINE, DIVERGENT, E, Labelled, P, S, T

STORIES = ((S, P, E), (S, P, E), (P, E), (E,), (S,), (E, DECLINE), (S, P, E, DECLINE), (P, DECLINE), (S, P, S), (S, P))
"""What may come after the transient."""


class _Phase(NamedTuple):
    """A phase of a system: its label, its number of steps, and the level that it moves to."""

    label: str
    steps: int
    level: float


def simulated_runs(count: int, seed: int) -> list[Labelled]:
    """Systems of 50 to 50,000 steps, measured at every one, every 10th or every 50th of them, with every momentum."""
    rng = np.random.default_rng([seed, 77])
    return [_run(number, rng) for number in range(count)]


def _run(number: int, rng: np.random.Generator) -> Labelled:
    story = STORIES[rng.integers(len(STORIES))]
    every = int(rng.choice([1, 1, 10, 50]))
    measured = int(np.exp(rng.uniform(np.log(50 + 20 * len(story)), np.log(1000))))
    phases = _phases(story, every * measured, rng)
    log_ratio = _levels(phases, rng)
    steps = len(log_ratio) - 1
    spread = float(rng.choice([0.0, 0.01, 0.03, 0.05])) if measured >= 120 else float(rng.choice([0.0, 0.01, 0.02]))
    log_ratio = log_ratio + _drawn_back(steps + 1, spread, every * float(rng.choice([0.5, 2.0])), rng)
    edge = (1 + float(rng.choice([0.0, 0.5, 0.9]))) * 2 / 10 ** rng.uniform(-3, 1)
    sharpness = np.exp(log_ratio) * edge
    loss = _losses(phases, rng)
    sharpness[np.arange(steps + 1) % every != 0] = np.nan
    spans = _spans(phases)
    name = f"simulated {number} {' '.join(part[:3] for part in story)}"
    if rng.random() < 0.1:
        more = int(rng.integers(3, 20))
        rise = loss.max() * 1.5 ** np.arange(1, more) * 4
        loss = np.concatenate([loss, rise, [np.inf]])
        sharpness = np.append(sharpness, np.full(more, np.nan))
        spans = [*spans, (DIVERGENT, steps + 1, steps + 1 + more)]
        return Labelled(name, trajectory(loss, sharpness, diverged=True), edge, spans)
    return Labelled(name, trajectory(loss, sharpness), edge, spans)


def _phases(story: tuple[str, ...], steps: int, rng: np.random.Generator) -> list[_Phase]:
    """The transient takes 1 to 8% of the steps; the others share the rest, each at least half of an even share."""
    first = max(3, round(steps * rng.uniform(0.01, 0.08)))
    shares = rng.uniform(1, 2, len(story))
    lengths = np.maximum(6, (steps - first) * shares / shares.sum()).astype(int)
    level = float(rng.uniform(0.97, 1.08) if story[0] == E else rng.uniform(0.15, 0.5))
    phases = [_Phase(T, first, level)]
    for at, (label, length) in enumerate(zip(story, lengths.tolist(), strict=True)):
        if label == P:
            ends = story[at + 1] if at + 1 < len(story) else ""
            level = float(rng.uniform(0.96, 1.04)) if ends == E else min(0.75, level * float(rng.uniform(1.7, 2.3)))
        if label == DECLINE:
            level *= float(rng.uniform(0.15, 0.45))
        phases.append(_Phase(label, length, level))
    return phases


def _levels(phases: list[_Phase], rng: np.random.Generator) -> np.ndarray:
    """log r at every step of all phases."""
    first = phases[0]
    start = first.level * float(rng.uniform(1.6, 5))
    parts = [_relaxation(first, start, rng)]
    before = first.level
    for phase in phases[1:]:
        if phase.label in (P, DECLINE):
            parts.append(_drift(phase, before, rng))
        elif phase.label == E:
            parts.append(np.log(phase.level) + _pushed_back(phase.steps, rng))
        else:
            parts.append(np.full(phase.steps, np.log(phase.level)))
        before = phase.level
    return np.concatenate(parts)


def _relaxation(phase: _Phase, start: float, rng: np.random.Generator) -> np.ndarray:
    """Gradient descent on a quadratic, r' = r - a (r - level), with or without a catapult before."""
    up = round(phase.steps * 0.15) if rng.random() < 0.2 else 0
    rate = 1 - 0.1 ** (1 / max(1, phase.steps - up))
    r, found = start / (2 if up else 1), []
    for step in range(phase.steps):
        found.append(r)
        r = r * 2 ** (1 / up) if step < up else r - rate * (r - phase.level)
    return np.log(found)


def _drift(phase: _Phase, before: float, rng: np.random.Generator) -> np.ndarray:
    """A drift that is switched on and moves r to the level; its size is constant, or changes by up to a factor of 3."""
    rate = np.linspace(1, float(rng.uniform(0.4, 2.5)), phase.steps)
    share = np.cumsum(rate) / rate.sum()
    if phase.label == DECLINE or rng.random() < 0.5:
        return np.log(before) + np.log(phase.level / before) * share
    return np.log(before + (phase.level - before) * share)


def _pushed_back(steps: int, rng: np.random.Generator) -> np.ndarray:
    """The cubic map x' = -g x + x^3 around the edge: to the fixed point below g = 1, of period 2 above it."""
    g = float(rng.uniform(0.6, 1.12))
    x, found = 0.1, []
    for _ in range(steps):
        found.append(x)
        x = -g * x + x**3
    return np.array(found)


def _drawn_back(size: int, spread: float, memory: float, rng: np.random.Generator) -> np.ndarray:
    """An Ornstein-Uhlenbeck process around 0 that forgets itself within so many steps."""
    keep = np.exp(-1 / memory)
    kicks = rng.standard_normal(size) * np.sqrt(1 - keep**2)
    x, found = float(rng.standard_normal()), np.empty(size)
    for step in range(size):
        x = keep * x + kicks[step]
        found[step] = x
    return spread * found


def _losses(phases: list[_Phase], rng: np.random.Generator) -> np.ndarray:
    """A loss that falls by a power of the steps; in some catapults it first rises above L_0, within the transient."""
    steps = sum(phase.steps for phase in phases)
    loss = (1 + np.arange(steps) / (0.02 * steps)) ** -float(rng.uniform(0.3, 1.5))
    loss *= np.exp(0.02 * rng.standard_normal(steps))
    loss[0] = 1.0
    if rng.random() < 0.2 and phases[0].steps >= 6:
        loss[1 : phases[0].steps - 1] = 1 + 3 * np.sin(np.linspace(0.1, np.pi - 0.1, phases[0].steps - 2))
    return loss * 10 ** float(rng.uniform(-4, 4))


def _spans(phases: list[_Phase]) -> list[tuple[str, int, int]]:
    stops = np.cumsum([phase.steps for phase in phases]).tolist()
    return [(phase.label, a, b) for phase, a, b in zip(phases, [0, *stops], stops, strict=False)]

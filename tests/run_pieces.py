"""Pieces from which long runs with known regimes are made up.

A made-up run is a list of pieces, each with the label that somebody who looks at its plot would write. Where a piece is
smooth, its border is a convention: a fall has ended within 15% of the level it approaches, an S-shaped rise begins and
ends at 10% and 90% of its height.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from made_up import trajectory

from sharpness_phases.runs.trajectory import Trajectory

T, S, P, E = "early_transient", "intermediate_saturation", "progressive_sharpening", "edge_of_stability"
DECLINE, DIVERGENT = "declining", "divergent"

Edge = float | np.ndarray


class Labelled(NamedTuple):
    """A run, the edge of its optimizer, and its regimes as (label, start, stop)."""

    name: str
    run: Trajectory
    edge: Edge
    segments: list[tuple[str, int, int]]


class Piece(NamedTuple):
    """Steps with one label: r_t over the steps of the piece."""

    label: str
    ratio: np.ndarray


def line(label: str, steps: int, start: float, stop: float) -> Piece:
    """A straight line."""
    return Piece(label, np.linspace(start, stop, steps, endpoint=False))


def flat(label: str, steps: int, level: float) -> Piece:
    """A constant."""
    return Piece(label, np.full(steps, level))


def fall(label: str, steps: int, start: float, level: float) -> Piece:
    """An exponential that ends within 15% of its level (and goes on from there in the next piece, a step down)."""
    scale = steps / np.log(max(1.01, (start - level) / (0.15 * level)))
    return Piece(label, level + (start - level) * np.exp(-np.arange(steps) / scale))


def rest(label: str, steps: int, level: float, scale: float) -> Piece:
    """What is left of a fall after it has come within 15% of its level."""
    return Piece(label, level * (1 + 0.15 * np.exp(-np.arange(steps) / scale)))


def s_shape(label: str, steps: int, start: float, stop: float) -> Piece:
    """The part of a logistic curve from 10% to 90% of the height, whose ends are start and stop."""
    x = np.linspace(-np.log(9), np.log(9), steps)
    share = 1 / (1 + np.exp(-x))
    return Piece(label, start + (stop - start) * (share - share[0]) / (share[-1] - share[0]))


def alternating(label: str, steps: int, level: float, width: float) -> Piece:
    """Period 2 around a level."""
    return Piece(label, level + width * np.where(np.arange(steps) % 2, -1.0, 1.0))


def waves(label: str, steps: int, level: float, height: float, period: float) -> Piece:
    """A slow oscillation around a level: sharpening and self-stabilisation in turn."""
    return Piece(label, level + height * np.sin(2 * np.pi * np.arange(steps) / period))


def saw(label: str, steps: int, low: float, high: float, period: int) -> Piece:
    """Slow rises and sudden falls around the edge."""
    return Piece(label, low + (high - low) * (np.arange(steps) % period) / period)


def decay(label: str, steps: int, start: float, stop: float) -> Piece:
    """A straight line of log r."""
    return Piece(label, np.geomspace(start, stop, steps, endpoint=False))


def independent(size: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Noise without memory."""
    return spread * rng.standard_normal(size)


def with_memory(size: int, spread: float, rng: np.random.Generator, memory: float = 10.0) -> np.ndarray:
    """Noise that forgets itself within some steps (an autoregressive process), as of minibatches."""
    keep = np.exp(-1 / memory)
    found = np.empty(size)
    found[0] = rng.standard_normal()
    kicks = rng.standard_normal(size) * np.sqrt(1 - keep**2)
    for t in range(1, size):
        found[t] = keep * found[t - 1] + kicks[t]
    return spread * found


def heavy_tailed(size: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Noise with outliers (Student's t with 3 degrees of freedom)."""
    return spread * rng.standard_t(3, size) / np.sqrt(3)


Noise = Callable[[int, float, np.random.Generator], np.ndarray]


def exponential_loss(size: int) -> np.ndarray:
    """A loss that falls evenly on a logarithmic scale."""
    return np.geomspace(1.0, 0.01, size)


def power_loss(size: int) -> np.ndarray:
    """A loss that falls as a power of the steps."""
    return (1 + np.arange(size) / 5) ** -0.6


def assemble(
    name: str,
    pieces: Sequence[Piece],
    noise: float = 0.0,
    kind: Noise = independent,
    every: int = 1,
    edge: Edge = 20.0,
    loss: Callable[[int], np.ndarray] = exponential_loss,
    seed: int = 0,
) -> Labelled:
    """A run of such pieces, one after the other; neighbours with the same label are one segment."""
    ratio = np.concatenate([piece.ratio for piece in pieces])
    rng = np.random.default_rng([seed, len(name), *name.encode()])
    sharpness = ratio * np.maximum(0.05, 1 + kind(len(ratio), noise, rng)) * edge
    sharpness[np.arange(len(ratio)) % every != 0] = np.nan
    segments: list[tuple[str, int, int]] = []
    at = 0
    for piece in pieces:
        stop = at + len(piece.ratio)
        if segments and segments[-1][0] == piece.label:
            segments[-1] = (piece.label, segments[-1][1], stop)
        else:
            segments.append((piece.label, at, stop))
        at = stop
    losses = loss(len(ratio)) * np.exp(0.2 * noise * rng.standard_normal(len(ratio)))
    losses[0] = 1.0
    return Labelled(name, trajectory(losses, sharpness), edge, segments)


def diverging(found: Labelled, growth: float, steps: int) -> Labelled:
    """The same run with so many more steps, in which the loss grows by a factor each and leaves for good."""
    rise = found.run.loss[-1] * growth ** np.arange(1, steps + 1)
    rise[-1] = np.inf
    last = np.flatnonzero(np.isfinite(found.run.sharpness))[-1]
    more = found.run.sharpness[last] * np.linspace(1.1, 2, steps)
    more[-1] = np.nan
    run = trajectory(np.append(found.run.loss, rise), np.append(found.run.sharpness, more), diverged=True)
    end = run.steps + 1
    return found._replace(run=run, segments=[*found.segments, (DIVERGENT, end - steps, end)])


def with_outliers(
    found: Labelled, loss: Sequence[int] = (), sharpness: Sequence[int] = (), factor: float = 4
) -> Labelled:
    """The same run with single values that are off: losses above the first one, sharpnesses by a factor."""
    for step in loss:
        found.run.loss[step] = 2 * found.run.loss[0]
    for step in sharpness:
        found.run.sharpness[step] *= factor
    return found


def catapulted(found: Labelled, steps: int, peak: float) -> Labelled:
    """The same run with a loss that rises to a peak first, and is above L_0 for so many steps."""
    t = np.arange(1, steps + 1)
    found.run.loss[1 : steps + 1] = 1.0 + (peak - 1) * np.exp(-(((t - steps / 4) / (steps / 3)) ** 2)) + 1e-3
    return found


def four(scale: float, start=1.0, level=0.4, top=1.0) -> list[Piece]:
    """The four regimes as straight lines; 520 steps at scale 1."""
    n = [round(k * scale) for k in (20, 100, 200, 200)]
    return [line(T, n[0], start, level), flat(S, n[1], level), line(P, n[2], level, top), flat(E, n[3], top)]


def smooth_four(scale: float, start=2.0, level=0.3) -> list[Piece]:
    """The four regimes with smooth bends; 950 steps at scale 1."""
    n = [round(k * scale) for k in (60, 190, 300, 400)]
    return [
        fall(T, n[0], start, level),
        rest(S, n[1], level, n[0] / 2),
        s_shape(P, n[2], level, 1.0),
        waves(E, n[3], 1.03, 0.05, n[3] / 4),
    ]

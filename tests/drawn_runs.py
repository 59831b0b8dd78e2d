"""Long runs drawn at random, piece by piece, with the labels that follow from how they are drawn."""

from __future__ import annotations

import numpy as np
from run_pieces import (
    DECLINE,
    E,
    Labelled,
    P,
    Piece,
    S,
    T,
    alternating,
    assemble,
    decay,
    fall,
    flat,
    independent,
    line,
    rest,
    s_shape,
    waves,
    with_memory,
)  # fmt: skip

STORIES = (
    (S,), (S, P), (S, P, E), (P, E), (E,), (S, P, E, DECLINE), (E, DECLINE), (P, DECLINE), (S, P, S), (S, P, S, P, E),
    (E, DECLINE, P, E), (S, P, E, P, E), (E, DECLINE, S), (S, DECLINE),
)  # fmt: skip
"""What may come after the transient."""


def drawn_runs(count: int, seed: int) -> list[Labelled]:
    """Runs of one story each, of 60 to 20,000 steps, with noise of at most 6% and 60 to 2000 measurements."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        story = STORIES[rng.integers(len(STORIES))]
        every = int(rng.choice([1, 1, 2, 5, 10, 50]))
        steps = every * int(np.exp(rng.uniform(np.log(60 * (1 + len(story))), np.log(2000))))
        noise = float(rng.choice([0, 0.005, 0.02, 0.04, 0.06]))
        kind = with_memory if rng.random() < 0.2 else independent
        pieces = _pieces(story, steps, rng, alternates=every % 2 == 1)  # at even steps only, one branch is seen
        found.append(assemble(f"drawn {number} {''.join(x[0] for x in story)}", pieces, noise, kind, every, seed=seed))
    return found


def _pieces(story: tuple[str, ...], steps: int, rng: np.random.Generator, alternates: bool) -> list[Piece]:
    """A transient of 1 to 5% of the steps, and the story; each further piece takes its share of the rest."""
    transient = max(3, round(steps * rng.uniform(0.01, 0.05)))
    shares = rng.uniform(1, 2.5, len(story)) * np.arange(2, len(story) + 2) ** 0.5
    lengths = np.maximum(20, (steps - transient) * shares / shares.sum()).astype(int)
    level = _first_level(story[0], rng)
    pieces = [_transient(transient, level, rng, slow_end=story[0] == S)]
    for at, (label, length) in enumerate(zip(story, lengths, strict=True)):
        following = story[at + 1] if at + 1 < len(story) else ""
        if label == P and at and story[at - 1] == E:
            level = rng.uniform(0.35, 0.55)  # a sudden fall below the edge
        if label in (P, DECLINE):
            stop = _target(label, following, level, rng)
            pieces.append(_change(label, length, level, stop, rng))
            level = stop
        else:
            pieces += _constant(label, length, level, rng, at == 0, alternates)
    return pieces


def _first_level(label: str, rng: np.random.Generator) -> float:
    return float(rng.uniform(0.95, 1.15) if label == E else rng.uniform(0.2, 0.5))


def _transient(steps: int, level: float, rng: np.random.Generator, slow_end: bool) -> Piece:
    start = level * rng.uniform(1.6, 5)
    return fall(T, steps, start, level) if slow_end and rng.random() < 0.5 else line(T, steps, start, level)


def _target(label: str, following: str, level: float, rng: np.random.Generator) -> float:
    if label == DECLINE:
        return level * float(rng.uniform(0.2, 0.45))
    if following == E:
        return float(rng.uniform(0.95, 1.05))
    return min(0.7, level * float(rng.uniform(1.5, 2.2)))


def _change(label: str, steps: int, start: float, stop: float, rng: np.random.Generator) -> Piece:
    shape = rng.choice([line, decay]) if label == DECLINE else rng.choice([line, line, s_shape])
    return shape(label, steps, start, stop)


def _constant(
    label: str, steps: int, level: float, rng: np.random.Generator, after_fall: bool, alternates: bool
) -> list[Piece]:
    if label == S:
        return [rest(S, steps, level, steps / 50)] if after_fall and rng.random() < 0.3 else [flat(S, steps, level)]
    shape = rng.integers(3)
    if shape == 0:
        return [flat(E, steps, level)]
    if shape == 1 and alternates:
        return [alternating(E, steps, level, float(rng.uniform(0.05, 0.3)))]
    return [waves(E, steps, level, float(rng.uniform(0.02, 0.1)), steps / rng.uniform(3, 12))]

"""Long runs whose regimes are known; they were labelled before the algorithm was written that `regimes` is now.

Made-up runs are labelled by how they were made; real ones, of small networks, by eye, from plots of r_t and L_t over
linear and logarithmic steps. Every other one is for development (`DEVELOPMENT`), the rest to check (`HELD_OUT`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from made_up import trajectory
from run_pieces import (
    DECLINE,
    DIVERGENT,
    E,
    Labelled,
    P,
    S,
    T,
    alternating,
    assemble,
    catapulted,
    decay,
    diverging,
    fall,
    flat,
    four,
    heavy_tailed,
    line,
    power_loss,
    rest,
    s_shape,
    saw,
    smooth_four,
    waves,
    with_memory,
    with_outliers,
)

from sharpness_phases.analysis.regimes import Segment

REAL = Path(__file__).parent / "data" / "long_runs" / "small_networks.npz"
"""Networks of depth 3 and width 32 on 256 images of Fashion-MNIST; arrays (step, L_t, r_t) of the measured steps.

Full batches, but "sgd" (32 images; with cross-entropy 64); momentum 0.9 where the name says so; r_t is relative to the
edge of that optimizer."""

BY_EYE = {
    "xent c=2": [(T, 3), (E, 90), (DECLINE, 2001)],
    "xent c=4": [(T, 5), (E, 92), (DECLINE, 2001)],
    "xent c=8": [(T, 5), (E, 88), (DECLINE, 2001)],
    "tanh momentum c=2": [(T, 10), (S, 60), (P, 250), (S, 1501)],
    "tanh momentum c=4": [(T, 30), (S, 110), (P, 360), (S, 1501)],
    "tanh c=2": [(T, 50), (S, 300), (P, 2500), (E, 3001)],
    "tanh c=4": [(T, 10), (S, 180), (P, 400), (E, 3001)],
    "tanh c=8": [(T, 5), (E, 3001)],
    "relu c=4": [(T, 80), (S, 700), (P, 3001)],
    "relu c=8": [(T, 40), (S, 350), (P, 3001)],
    "relu sgd c=2": [(T, 100), (S, 3001)],
    "relu sgd c=4": [(T, 60), (S, 500), (P, 3001)],
    "relu sgd c=8": [(T, 8), (S, 1000), (P, 3001)],
    "xent momentum c=1": [(T, 30), (DECLINE, 1501)],
    "xent momentum c=4": [(T, 22), (DECLINE, 1501)],
    "relu xent sgd c=1": [(T, 5), (P, 70), (S, 260), (DECLINE, 2001)],
    "relu xent sgd c=4": [(T, 3), (E, 100), (DECLINE, 2001)],
}
"""Labels of the real runs, each with the step before which it ends."""


def straight_runs() -> Iterator[Labelled]:
    """Four regimes, from 52 to 50,000 steps, with noise and with gaps between the measurements."""
    for scale in (0.2, 0.5, 2, 10, 96):
        yield assemble(f"four {scale}", four(scale))
    for noise in (0.01, 0.03, 0.06, 0.1):
        yield assemble(f"four noisy {noise}", four(2, level=0.35), noise)
        yield assemble(f"four long noisy {noise}", four(20), noise, every=5)
    for every, scale in ((10, 4), (50, 16), (50, 90), (10, 90)):
        yield assemble(f"four sparse {every} {scale}", four(scale, start=1.5), 0.03, every=every)
    yield assemble("four with memory", four(8), 0.06, with_memory)
    yield assemble("four heavy tails", four(4), 0.05, heavy_tailed)
    for scale, noise, every in ((0.3, 0, 1), (1, 0.02, 1), (5, 0.05, 1), (20, 0.03, 10), (50, 0.04, 50)):
        yield assemble(f"smooth {scale} {every}", smooth_four(scale), noise, every=every, loss=power_loss)


def without_some() -> Iterator[Labelled]:
    """Runs that lack a regime."""
    for noise in (0.0, 0.04):
        yield assemble(f"no plateau {noise}", [line(T, 30, 1.5, 0.4), line(P, 300, 0.4, 1), flat(E, 400, 1.0)], noise)
        yield assemble(
            f"rises from the start {noise}", [flat(T, 3, 0.3), line(P, 400, 0.3, 1), flat(E, 300, 1.0)], noise
        )
        yield assemble(f"only flat {noise}", [line(T, 10, 0.8, 0.5), flat(S, 600, 0.5)], noise)
        yield assemble(
            f"never arrives {noise}", [fall(T, 40, 2, 0.25), rest(S, 300, 0.25, 20), line(P, 700, 0.25, 0.7)], noise
        )
        yield assemble(f"passes by {noise}", [fall(T, 240, 1.5, 0.3), rest(S, 800, 0.3, 80)], noise)
    yield assemble("flat, sparse", [line(T, 50, 0.9, 0.3), flat(S, 9950, 0.3)], 0.08, every=50, loss=power_loss)
    yield assemble("drifts", [line(T, 50, 0.9, 0.3), line(S, 4000, 0.30, 0.32)], 0.02, with_memory)
    yield assemble("slow rise", [fall(T, 100, 3, 0.2), rest(S, 2000, 0.2, 50), line(P, 9000, 0.2, 0.8)], 0.05, every=10)


def at_the_edge() -> Iterator[Labelled]:
    """Runs that come to the edge in every way."""
    for noise in (0.0, 0.03):
        yield assemble(f"from above {noise}", [line(T, 20, 4, 1), flat(E, 500, 0.97)], noise)
        yield assemble(f"period two from above {noise}", [line(T, 8, 3, 1.1), alternating(E, 990, 1.0, 0.2)], noise)
        yield assemble(
            f"period two, wide {noise}", [fall(T, 12, 4, 1.1), alternating(E, 2000, 0.95, 0.4)], noise, loss=power_loss
        )
        yield assemble(
            f"period two from below {noise}",
            [line(T, 20, 0.9, 0.4), flat(S, 150, 0.4), line(P, 300, 0.4, 1), alternating(E, 500, 1.0, 0.15)],
            noise,
        )
    yield assemble("from above, waves", [fall(T, 15, 3, 1.2), waves(E, 1500, 1.15, 0.15, 250)], 0.02)
    yield assemble("saw", [line(T, 30, 1.4, 0.5), line(P, 400, 0.5, 1), saw(E, 1200, 0.93, 1.15, 60)], 0.01)
    for level, noise in ((0.82, 0.08), (0.9, 0.05), (0.85, 0.1)):
        pieces = [fall(T, 30, 1.5, 0.35), rest(S, 250, 0.35, 15), line(P, 900, 0.35, level), flat(E, 1800, level)]
        yield assemble(f"minibatches {level}", pieces, noise)
        yield assemble(f"minibatches with memory {level}", pieces, noise, with_memory, every=2)
    yield assemble("minibatches from above", [line(T, 15, 2.5, 0.85), flat(E, 3000, 0.85)], 0.08, with_memory, every=10)
    yield assemble("slowly from above", [fall(T, 30, 3, 1.2), decay(E, 900, 1.25, 1.0), flat(E, 600, 1.0)], 0.02)


def declining() -> Iterator[Labelled]:
    """Runs whose sharpness falls at the end, as with cross-entropy."""
    for noise, every in ((0.0, 1), (0.04, 1), (0.03, 10)):
        k = 1 if every == 1 else 5
        yield assemble(
            f"falls at the end {noise} {every}",
            [line(T, 20 * k, 1, 0.4), flat(S, 100 * k, 0.4), line(P, 300 * k, 0.4, 1), flat(E, 480 * k, 1.0),
             line(DECLINE, 200 * k, 1.0, 0.4)],
            noise,
            every=every,
        )  # fmt: skip
        yield assemble(
            f"cross-entropy {noise} {every}",
            [fall(T, 20 * k, 2.5, 1.3), waves(E, 380 * k, 1.25, 0.12, 130 * k), decay(DECLINE, 800 * k, 1.2, 0.1)],
            noise,
            every=every,
            loss=power_loss,
        )
        yield assemble(
            f"cross-entropy below the edge {noise} {every}",
            [line(T, 10 * k, 0.3, 0.2), line(P, 250 * k, 0.2, 0.6), decay(DECLINE, 700 * k, 0.6, 0.12)],
            noise,
            every=every,
            loss=power_loss,
        )
    yield assemble(
        "falls, then flat",
        [line(T, 20, 3, 1.1), flat(E, 500, 1.05), decay(DECLINE, 500, 1.05, 0.3), flat(S, 600, 0.3)],
        0.02,
    )
    yield assemble(
        "saturation falls", [line(T, 20, 1.2, 0.5), flat(S, 500, 0.5), decay(DECLINE, 900, 0.5, 0.1)], 0.03, with_memory
    )
    yield assemble(
        "a short fall at the end",
        [line(T, 20, 1, 0.4), line(P, 280, 0.4, 1), flat(E, 700, 1.0), line(DECLINE, 100, 1, 0.4)],
    )


def again() -> Iterator[Labelled]:
    """Labels that come again."""
    for noise in (0.0, 0.04):
        up = [line(T, 30, 1.2, 0.3), flat(S, 200, 0.3), line(P, 300, 0.3, 0.6), flat(S, 500, 0.6)]
        yield assemble(f"two plateaus {noise}", up, noise)
        yield assemble(f"two plateaus, then the edge {noise}", [*up, line(P, 500, 0.6, 1), flat(E, 600, 1.0)], noise)
        yield assemble(
            f"drops and sharpens anew {noise}",
            [*four(2), line(P, 500, 0.5, 1.0), flat(E, 500, 1.0)],
            noise,
        )
        yield assemble(
            f"declines and sharpens anew {noise}",
            [*four(2), decay(DECLINE, 400, 1.0, 0.45), line(P, 600, 0.45, 1.0), flat(E, 500, 1.0)],
            noise,
        )
    yield assemble(
        "two plateaus, sparse",
        [line(T, 200, 1.2, 0.3), flat(S, 1800, 0.3), s_shape(P, 2500, 0.3, 0.65), flat(S, 4500, 0.65)],
        0.03,
        every=50,
    )


def divergent() -> Iterator[Labelled]:
    """Runs that diverge, late or at once."""
    for growth, steps in ((10.0, 3), (2.0, 20), (1e9, 1), (1.3, 50)):
        yield diverging(assemble(f"diverges late {growth}", four(2), 0.02), growth, steps)
    yield diverging(assemble("diverges from a plateau", [line(T, 20, 1, 0.5), flat(S, 700, 0.5)], 0.03), 3.0, 10)
    yield diverging(assemble("diverges at the edge", [line(T, 10, 3, 1), alternating(E, 800, 1, 0.2)], 0.02), 1.5, 30)
    loss = 4.0 ** np.arange(10)
    yield Labelled("diverges at once", trajectory(loss, 30 * 1.1 ** np.arange(10), True), 20.0, [(DIVERGENT, 0, 10)])


def disturbed() -> Iterator[Labelled]:
    """Outliers, and catapults."""
    yield with_outliers(assemble("a loss at step 700", four(2), 0.01), loss=[700])
    yield with_outliers(assemble("losses and sharpnesses", four(3), 0.02), [300, 900, 1400], [150, 500, 1300])
    yield with_outliers(assemble("sharpnesses too small", four(3), 0.02), [], [100, 350, 1200, 1400], 0.1)
    yield with_outliers(
        assemble("on a plateau", [line(T, 20, 1, 0.3), flat(S, 900, 0.3)], 0.02), [50, 500], [200, 600], 5
    )
    yield catapulted(
        assemble(
            "loss catapult",
            [line(T, 20, 2, 0.4), flat(T, 40, 0.4), flat(S, 240, 0.4), line(P, 300, 0.4, 1), flat(E, 300, 1.0)],
        ),
        59,
        6.0,
    )  # fmt: skip
    yield catapulted(
        assemble(
            "both catapults",
            [line(T, 6, 1.3, 4.0), fall(T, 34, 4.0, 0.5), rest(S, 400, 0.5, 10), line(P, 500, 0.5, 1), flat(E, 500, 1)],
            0.03,
        ),
        25,
        20.0,
    )


def other_edges() -> Iterator[Labelled]:
    """Momentum, and learning rates that change."""
    for momentum in (0.9, 0.5):
        plain = 2 / 0.05
        pieces = [line(T, 14, 1.2, 0.55), line(P, 500, 0.55, 1.0), flat(E, 600, 1.0)]
        yield assemble(f"momentum {momentum}", pieces, 0.02, edge=(1 + momentum) * plain)
    pieces = [*four(2), line(P, 460, 0.5, 1.0), flat(E, 500, 1.0)]
    edge = np.where(np.arange(2000) < 1040, 20.0, 40.0)
    yield assemble("the rate is halved", pieces, 0.02, edge=edge)
    pieces = [line(T, 10, 0.6, 0.3), flat(S, 190, 0.3), s_shape(P, 800, 0.3, 1.0), waves(E, 1000, 1.0, 0.04, 200)]
    yield assemble("warm-up and cosine", pieces, 0.02, edge=20 / (0.2 + np.sin(np.linspace(0.1, 3.0, 2000))))


def real_runs() -> Iterator[Labelled]:
    """Runs of small networks; between two measurements the loss is interpolated on a logarithmic scale."""
    with np.load(REAL) as arrays:
        for name, labels in BY_EYE.items():
            measured, loss, ratio = arrays[name].astype(np.float64)
            steps = np.arange(int(measured[-1]) + 1)
            sharpness = np.full(len(steps), np.nan)
            sharpness[measured.astype(int)] = ratio
            run = trajectory(np.exp(np.interp(steps, measured, np.log(loss))), sharpness)
            starts = [0, *(stop for _, stop in labels)]
            yield Labelled(name, run, 1.0, [(label, a, b) for a, (label, b) in zip(starts, labels, strict=False)])


def labelled_runs() -> list[Labelled]:
    """All of them."""
    makers = (straight_runs, without_some, at_the_edge, declining, again, divergent, disturbed, other_edges, real_runs)
    return [found for make in makers for found in make()]


ALL = labelled_runs()
DEVELOPMENT, HELD_OUT = ALL[::2], ALL[1::2]


def is_right(found: Sequence[Segment], expected: Sequence[tuple[str, int, int]], share: float = 0.85) -> bool:
    """Whether the labels come in the same sequence, and at least this share of the steps has the same label."""
    same = [segment.regime.value for segment in found] == [label for label, *_ in expected]
    return same and agreeing(found, expected) >= share


def agreeing(found: Sequence[Segment], expected: Sequence[tuple[str, int, int]]) -> float:
    """Share of the steps with the same label."""
    steps = sum(
        max(0, min(a.stop, stop) - max(a.start, start))
        for a in found
        for label, start, stop in expected
        if a.regime == label
    )
    return steps / expected[-1][2]

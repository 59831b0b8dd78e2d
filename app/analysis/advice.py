"""What is said with a learning rate: whether training should warm up to it, and why it is what it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from sharpness_phases.analysis.rate_search import RateFinding

Curves: TypeAlias = Mapping[float, Sequence[float]]
"""For each learning rate, the loss of every batch before its step."""

RISE = 1.1
"""A run has left where its loss exceeds the slowest run's by this factor. Both take the same batches, so that what is
hard for both is no rise; a tenth is beyond what the weights' small motion explains (chosen, not measured)."""

BELOW = 4.0
"""The first rate of a warm-up where no safe rate below the full one is known: a quarter of it (chosen)."""


class Facts(NamedTuple):
    """What is measured at the start of training.

    Attributes:
        edge_rate: The rate whose stability edge the sharpness is at; NaN if not known, infinite if it is not positive.
        sharpness: Largest eigenvalue of the operator that the edge is held against.
        edge_words: The formula of the edge; else why it is not known.
        eta_c: For each of some batches, the rate from which the very next step raises its loss.
    """

    edge_rate: float
    sharpness: float
    edge_words: str
    eta_c: tuple[float, ...]

    @property
    def safe_step(self) -> float:
        """The median of `eta_c`; NaN of none."""
        return float(np.median(self.eta_c)) if self.eta_c else math.nan

    @property
    def safe_rates(self) -> list[float]:
        """The rates of the edge and of one safe step, as far as they are known and positive."""
        return [rate for rate in (self.edge_rate, self.safe_step) if 0 < rate < math.inf]


class Warmup(NamedTuple):
    """A rate that grows linearly at the beginning.

    Attributes:
        steps: Optimizer steps until the full rate.
        first_rate: The rate of the first step.
    """

    steps: int
    first_rate: float


def has_left(run: Sequence[float], slow: Sequence[float]) -> np.ndarray:
    """Before which steps a run's loss exceeds a slow run's by the factor `RISE`, or is not finite.

    Args:
        run: The loss of every batch before its step.
        slow: That of a run at a much smaller rate, on the same batches; where it is not finite, the first loss of the
            run counts.

    Returns:
        Booleans, of the length of the shorter one.
    """
    count = min(len(run), len(slow))
    here, there = np.asarray(run[:count], float), np.asarray(slow[:count], float)
    there = np.where(np.isfinite(there), there, here[:1])
    return ~(here <= there + (RISE - 1) * np.abs(there))


def warmup_of(rate: float, curves: Curves, facts: Facts) -> Warmup | None:
    """A warm-up, where a run near a rate first leaves, and comes back later.

    Args:
        rate: The full rate.
        curves: Runs on the same batches.
        facts: What is known of the start.

    Returns:
        Twice the steps until the run is back, from the lowest of the safe rates on; None where it never leaves.
    """
    near = min(curves, key=lambda each: abs(math.log(each / rate)))
    above = np.flatnonzero(has_left(curves[near], curves[min(curves)]))
    if len(above) == 0:
        return None
    return Warmup(2 * (int(above[-1]) + 1), min([rate / BELOW, *facts.safe_rates]))


def reasons(finding: RateFinding, warmup: Warmup | None, facts: Facts, horizon: int) -> tuple[str, ...]:
    """Why, a sentence each.

    Args:
        finding: What the runs say.
        warmup: What `warmup_of` says.
        facts: What is known of the start.
        horizon: Optimizer steps of the training to come.

    Returns:
        The sentences.
    """
    agree = "; runs of half as many say the same" if finding.stable else ""
    said = [
        f"After {finding.steps} steps from the same start, on the same batches, the loss is lowest around "
        f"{finding.preferred:.3g}{agree}. For {horizon} steps that makes {finding.learning_rate:.3g}."
    ]
    said += [_about_the_edge(finding.learning_rate, facts)]
    if facts.eta_c:
        several = f", {min(facts.eta_c):.3g} to {max(facts.eta_c):.3g} on {len(facts.eta_c)} batches"
        said.append(
            f"The very next step raises the loss of its batch from {facts.safe_step:.3g} on"
            f"{several if len(facts.eta_c) > 1 else ''}: that is how far one step is safe, not many."
        )
    if math.isfinite(finding.ceiling):
        said.append(f"A run above {finding.ceiling:.3g} ended no lower than it began.")
    if warmup:
        said.append(
            f"At the suggested rate the loss first rises: begin at {warmup.first_rate:.3g}, and let the rate grow over "
            f"{warmup.steps} steps."
        )
    return tuple(said)


def _about_the_edge(rate: float, facts: Facts) -> str:
    """Where the rate lies beside the stability edge."""
    if math.isnan(facts.edge_rate):
        return f"The stability edge is not known: {facts.edge_words}."
    if math.isinf(facts.edge_rate):
        return f"The sharpness is {facts.sharpness:.3g}, not positive: no rate is at its stability edge yet."
    here = (
        f"The sharpness is {facts.sharpness:.4g} now, the stability edge {facts.edge_words} of the rate "
        f"{facts.edge_rate:.3g}"
    )
    share = rate / facts.edge_rate
    if share > 1:
        return (
            f"{here}: the suggestion is {share:.2g} times that, and lives on the sharpness falling in the first steps."
        )
    return f"{here}: the suggestion is {share:.2g} of that."

"""Is it the learning rate? What short runs, the edge and one safe step say of a rate that goes wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from sharpness_phases.analysis.advice import Curves, Facts, has_left
from sharpness_phases.analysis.rate_search import end_of_run

Cause: TypeAlias = Literal["the rate", "the data", "the network", "none found"]
"""What makes training go wrong."""


class Verdict(NamedTuple):
    """What is said of a rate.

    Attributes:
        cause: The rate itself, or something else.
        exceeded: The limits that the rate is above, by name: "stability edge", "one safe step", "ceiling".
        leaves_at: The first step before which the loss is above what a slow run has there by a tenth, or not finite;
            None where it never is.
        sentences: Why, a sentence each.
    """

    cause: Cause
    exceeded: tuple[str, ...]
    leaves_at: int | None
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        """The sentences, the cause first."""
        head = {
            "the rate": "It is the learning rate.",
            "the data": "It is not the learning rate: look at the data.",
            "the network": "It is not the learning rate: look at the network.",
            "none found": "It is not the learning rate, as far as short runs tell.",
        }[self.cause]
        return "\n".join([head, *self.sentences])


def leaves_at(run: Sequence[float], slow: Sequence[float]) -> int | None:
    """The first step before which a run's loss exceeds a slow run's by a tenth, or is not finite (`has_left`).

    Args:
        run: The loss of every batch before its step.
        slow: That of a run at a much smaller rate, on the same batches.

    Returns:
        The step, counted from 0; None where the run never leaves.
    """
    above = has_left(run, slow)
    return int(np.argmax(above)) if above.any() else None


def judge(rate: float, curves: Curves, facts: Facts, ceiling: float = math.inf) -> Verdict:
    """Say whether a rate is what makes training go wrong.

    It is where a run at it, or at a smaller one, leaves, and the slowest run does not; or where nothing that was run
    comes near the rate and it is above the ceiling.

    Args:
        rate: The rate in question.
        curves: Short runs from the same start on the same batches.
        facts: What is known of the start.
        ceiling: The largest rate that lowered the loss; infinite if none is known to fail.

    Returns:
        The verdict.
    """
    limits = {"stability edge": facts.edge_rate, "one safe step": facts.safe_step, "ceiling": ceiling}
    exceeded = tuple(name for name, limit in limits.items() if math.isfinite(limit) and rate > limit > 0)
    slow = curves[min(curves)]
    like = _nearest(rate, curves)
    step = leaves_at(curves[like], slow)
    lowered = math.isfinite(end := end_of_run(np.asarray(curves[like]))) and end < curves[like][0]
    said = _about_limits(rate, limits, exceeded, facts)
    at = "it" if math.isclose(like, rate) else f"{like:.3g}"
    if step is not None and not lowered:
        said.append(f"A run at {at} leaves at step {step} and does not come back.")
        return Verdict("the rate", exceeded, step, tuple(said))
    if like < rate and "ceiling" in exceeded:
        said.append(f"No run at {rate:.3g} was made; above the ceiling none came back.")
        return Verdict("the rate", exceeded, step, tuple(said))
    if step is not None:
        said.append(
            f"A run at {at} leaves at step {step}, but is back below its start after {len(curves[like])} steps, at a "
            f"loss of {end:.3g}: a warm-up spares it that."
        )
    else:
        said.append(
            f"A run at {at} goes from a loss of {curves[like][0]:.3g} to {end:.3g} in {len(curves[like])} steps. What "
            "goes wrong later is in examples that these batches did not hold, or grows over more steps: ask again at "
            "the weights just before."
        )
    return Verdict("none found", exceeded, step, tuple(said))


def _nearest(rate: float, curves: Mapping[float, Sequence[float]]) -> float:
    """The smallest rate of a run that is at least `rate`; else the largest of all."""
    above = [each for each in curves if each >= rate * (1 - 1e-9)]
    return min(above) if above else max(curves)


def _about_limits(rate: float, limits: Mapping[str, float], exceeded: Sequence[str], facts: Facts) -> list[str]:
    words = {
        "stability edge": f"the stability edge {facts.edge_words}, {limits['stability edge']:.3g} at a sharpness of "
        f"{facts.sharpness:.4g}: beyond it the steps along the sharpest direction grow",
        "one safe step": f"what one step bears, {limits['one safe step']:.3g}: the very first step raises the loss",
        "ceiling": f"{limits['ceiling']:.3g}, above which short runs end no lower than they begin",
    }
    said = [f"The rate {rate:.3g} is {rate / limits[name]:.3g} times {words[name]}." for name in exceeded]
    return said or [
        f"The rate {rate:.3g} is below the stability edge and what one step bears, as far as they are known."
    ]

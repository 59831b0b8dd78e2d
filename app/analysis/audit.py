"""What an audit of stored sharpnesses found: the distribution of their errors, and decisions on the wrong side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

CLAIM = 1e-3
"""Relative error that a stored sharpness claims to keep by default: `sharpness.tolerance`."""

SAME_LOSS = 1e-3
"""Relative difference of the losses up to which a run counts as repeated; chosen so: rounding makes 1e-6 of it in short
runs, and grows in long ones beyond the edge, where two runs that differ by rounding part."""


class Errors(NamedTuple):
    """The relative errors |stored - truth| / |truth| of some sharpnesses.

    Attributes:
        kind: Which: "converged", "not converged" (says so), or "one side" (exact only as to the side of a threshold,
            or an estimate from a sample).
        number: Their number.
        median: Median of the errors; NaN for none, as all that follow.
        q95: Their 95% quantile.
        q99: Their 99% quantile.
        largest: The largest error.
        beyond: How many exceed the claim.
    """

    kind: str
    number: int
    median: float
    q95: float
    q99: float
    largest: float
    beyond: int


class Verdict(NamedTuple):
    """What an audit found.

    Attributes:
        errors: By kind of sharpness.
        decisions: How many sharpnesses were asked for their side of a threshold.
        wrong: How many of them say that it is not exceeded where it is, or the reverse, by more than the claim of it.
        near: How many are on the other side by less.
        not_repeated: Sharpnesses of runs that went another way when they were repeated; they are not counted above.
        claim: Relative error that the sharpnesses claim to keep.
    """

    errors: list[Errors]
    decisions: int
    wrong: int
    near: int
    not_repeated: int
    claim: float

    @property
    def holds(self) -> bool:
        """Whether all converged sharpnesses keep the claim, and no decision is on the wrong side."""
        return not self.wrong and not self.errors[0].beyond


def verdict(audited: pd.DataFrame, claim: float = CLAIM) -> Verdict:
    """Sum up an audit.

    Args:
        audited: A row per sharpness, with the fields of `sweep.audit.Audited`.
        claim: Relative error that the sharpnesses claim to keep.

    Returns:
        The verdict.
    """
    repeated = np.isclose(audited["loss_again"], audited["loss"], rtol=SAME_LOSS, atol=1e-12)
    counted = audited[repeated & np.isfinite(audited["truth"])]
    apart = (counted["stored"] - counted["truth"]).abs()
    error = (apart / counted["truth"].abs()).where(apart > 0, 0.0)  # a Hessian of zeros is right, too
    one_side = counted["limit"].notna()
    converged = counted["converged"].astype(bool) & counted["residual"].notna()
    kinds = {"converged": converged, "not converged": ~converged & ~one_side, "one side": ~converged & one_side}
    asked = counted[one_side]
    hidden = (asked["truth"] > asked["limit"]) & ~asked["said"].astype(bool)
    invented = (asked["truth"] <= asked["limit"]) & (asked["stored"] > asked["limit"])
    far = (asked["truth"] - asked["limit"]).abs() > claim * asked["limit"].abs()
    return Verdict(
        errors=[_errors(kind, error[which].to_numpy(), claim) for kind, which in kinds.items()],
        decisions=len(asked),
        wrong=int(((hidden | invented) & far).sum()),
        near=int(((hidden | invented) & ~far).sum()),
        not_repeated=len(audited) - len(counted),
        claim=claim,
    )


def _errors(kind: str, values: np.ndarray, claim: float) -> Errors:
    if not len(values):
        nan = float("nan")
        return Errors(kind, 0, nan, nan, nan, nan, 0)
    median, q95, q99 = (float(q) for q in np.quantile(values, [0.5, 0.95, 0.99]))
    return Errors(kind, len(values), median, q95, q99, float(values.max()), int((values > claim).sum()))

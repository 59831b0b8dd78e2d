"""The boundary of a network: one critical constant of several initialisations as one place on the axis of c.

It is computed here and nowhere else; the table, the markers, the fills, `phase()` and the report show this value. The
rule is the median over initialisations of log2 c, with a constant that is censored `low` at minus infinity and one that
is censored `high` at plus infinity, and the quartiles likewise. On the axis of c that is 0 and infinity.

Where a quantile falls between two initialisations, it is interpolated linearly in log2 c. Between a known and a
censored one the arithmetic of infinities decides: the quantile is censored, too. Between `low` and `high`, where it
would be undefined, it is `low`: the cautious side, on which the loss rises or training diverges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

LOW = 0.0
"""The c of a constant below the grid: 2 to the power of minus infinity."""

HIGH = math.inf
"""The c of a constant above the grid."""

_SIDES = {"low": LOW, "high": HIGH}

_DIGITS = 10
"""Digits of an interpolated log2 c: those of the grid's exponents, so that halfway between two of its points is a point
of the grid to the last bit, and which side of the boundary it lies on does not depend on rounding."""


class Boundary(NamedTuple):
    """A boundary between two phases of a network, as constants c.

    Attributes:
        value: The median over initialisations of log2 c, as c; `LOW` or `HIGH` where it is censored itself, NaN where
            nothing was measured.
        q25: The lower quartile likewise.
        q75: The upper quartile likewise.
    """

    value: float
    q25: float
    q75: float


def boundary(values: Sequence[float], censored: Sequence[str]) -> Boundary:
    """The boundary of several initialisations.

    Args:
        values: The constant of every initialisation; NaN where it is censored or not measured.
        censored: "", "low" or "high" for each.

    Returns:
        The boundary; initialisations where the constant was not measured do not count.

    Raises:
        ValueError: If there are no values.
    """
    if not len(values):
        raise ValueError("A boundary needs at least one initialisation. Received: none.")
    places = [_SIDES.get(side, float(value)) for value, side in zip(values, censored, strict=True)]
    return Boundary(*(quantile(places, share) for share in (0.5, 0.25, 0.75)))


def quantile(places: Sequence[float], share: float) -> float:
    """A quantile of log2 c, as c.

    Args:
        places: The c, from `LOW` to `HIGH`; NaN is passed over.
        share: Which share lies below, between 0 and 1.

    Returns:
        With the n values sorted, the one at position (n - 1) share, counted from 0; between two of them as the module
        describes. NaN if there is none.
    """
    ordered = sorted(place for place in places if not math.isnan(place))
    if not ordered:
        return math.nan
    position = (len(ordered) - 1) * share
    lower, upper, weight = ordered[math.floor(position)], ordered[math.ceil(position)], position % 1
    if lower == upper:
        return lower
    if lower == LOW:
        return LOW
    if upper == HIGH:
        return HIGH
    return 2.0 ** round((1 - weight) * math.log2(lower) + weight * math.log2(upper), _DIGITS)


def side_of(c: float) -> str:
    """On which side a boundary or a quartile is censored: "low", "high", or "" where it is known or not measured."""
    return {LOW: "low", HIGH: "high"}.get(c, "")

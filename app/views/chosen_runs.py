"""Which runs a picture of trajectories shows: one in each phase; and which of its measurements are joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sharpness_phases.views.labels import UNKNOWN_PHASE, by_cell, phase_of

_CELL = ["depth", "width", "seed"]


def with_phases(runs: pd.DataFrame, constants: pd.DataFrame) -> pd.DataFrame:
    """Runs with the phase of each.

    Args:
        runs: A row per step, as `analysis.tables.merge_runs` returns it.
        constants: A table as `analysis.tables.constants_table` returns it.

    Returns:
        The same rows with a column `phase`, by the constants of the run's own initialisation; `UNKNOWN_PHASE` where
        these are not known.
    """
    known = by_cell(constants)
    first = runs.drop_duplicates([*_CELL, "c"])
    phases = {
        (depth, width, seed, c): phase_of(c, known.get((depth, width, seed)))
        for depth, width, seed, c in first[[*_CELL, "c"]].itertuples(index=False)
    }
    keys = zip(*(runs[name] for name in (*_CELL, "c")), strict=True)
    return runs.assign(phase=[phases[key] for key in keys])


def one_in_each_phase(runs: pd.DataFrame) -> pd.DataFrame:
    """Of every initialisation one run in each phase, the one that tells most.

    Args:
        runs: As `with_phases` returns them.

    Returns:
        The rows of the longest run; of equally long ones of that with the sharpness at most steps, and of these of that
        nearest to the middle of those there are in the phase. Where no phase is known, of all runs.
    """
    chosen = []
    for (*_, phase), of_phase in runs.groupby([*_CELL, "phase"], sort=True):
        chosen.append(of_phase if phase == UNKNOWN_PHASE else _most_telling(of_phase))
    return pd.concat(chosen).sort_values([*_CELL, "c", "step"], kind="stable") if chosen else runs


def _most_telling(runs: pd.DataFrame) -> pd.DataFrame:
    at_c = runs.groupby("c", sort=True)
    x = np.log2(np.array(sorted(runs["c"].unique()), np.float64))
    ranks = pd.DataFrame(
        {"measured": at_c["sharpness"].count(), "steps": at_c["step"].max(), "near": -np.abs(x - np.median(x))}
    )
    best = ranks.sort_values(["steps", "measured", "near"], ascending=False, kind="stable").index[0]
    return runs[runs["c"] == best]


def joined(steps: Sequence[int] | np.ndarray, every: int) -> list[slice]:
    """The stretches of measurements without a gap.

    Args:
        steps: The steps at which something was measured, increasing.
        every: Largest distance of two steps that belong together.

    Returns:
        Slices of `steps`, one for each stretch.

    Example:
        >>> joined([0, 1, 2, 10], every=1)
        [slice(0, 3, None), slice(3, 4, None)]
    """
    breaks = np.flatnonzero(np.diff(np.asarray(steps)) > every) + 1
    ends = [0, *breaks.tolist(), len(steps)]
    return [slice(begin, end) for begin, end in zip(ends[:-1], ends[1:], strict=True) if end > begin]

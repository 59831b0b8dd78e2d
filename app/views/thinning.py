"""Which runs and steps are shown where there are more than a page can show."""

from __future__ import annotations

import numpy as np
import pandas as pd

_INITIALISATION = ["seed", "family", "dataset", "loss_name", "depth", "width"]
"""What sets initialisations apart, in the order in which they are chosen: the first ones of all networks come first."""


def first_initialisations(runs: pd.DataFrame, counted: pd.Series, most: int) -> pd.Series:
    """Choose whole initialisations: the first ones of all networks, then the second ones, while there is room.

    Args:
        runs: A row per step.
        counted: For each row of `runs` whether it takes room.
        most: The room: the chosen initialisations together have at most `most` counted rows. The first initialisation
            is chosen even if it alone has more.

    Returns:
        For each row of `runs` whether its initialisation is chosen.
    """
    sizes = runs[counted].groupby(_INITIALISATION, sort=True).size()
    kept = sizes[sizes.cumsum() <= max(most, sizes.iloc[0])] if len(sizes) else sizes
    chosen = pd.MultiIndex.from_frame(runs[_INITIALISATION]).isin(kept.index)
    return pd.Series(chosen, index=runs.index)


def few_steps(last: int, most: int) -> np.ndarray:
    """Choose steps of a long run: every one at first, ever sparser ones later, as a logarithmic axis shows them.

    Args:
        last: The run's last step.
        most: Largest number of steps to choose; at least 2, as the first and the last step always are chosen.

    Returns:
        Increasing steps from 0 to `last`: all of them if they are at most `most`.
    """
    if last < most:
        return np.arange(last + 1)
    later = np.geomspace(1, last + 1, most) - 1
    return np.unique(np.round(later).astype(int))

"""What training comes to: the loss after the last step of every run, over c and one more axis."""

from __future__ import annotations

import numpy as np
import pandas as pd

_RUN = ["depth", "width", "seed", "c"]
_NETWORK = ["depth", "width"]

COLUMNS = [*_RUN, "learning_rate", "loss_0", "final_loss"]
"""The columns of a table of final losses."""


def final_losses(trajectories: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The loss after the last step, of the runs of which it is known.

    Args:
        trajectories: One trajectory for each initialisation and c, a row per step.
        steps: Number of steps of a whole run, T.

    Returns:
        A row per (depth, width, seed, c): learning_rate, that of a run's end where it is warmed up to; loss_0 = L_0;
        final_loss = L_T, infinite where the run diverged before. Runs that were ended for another reason are left out.
    """
    runs = trajectories.groupby(_RUN, sort=True)
    rate, loss_0 = runs["learning_rate"].first(), runs["loss"].first()
    diverged = runs["diverged"].any()
    final = runs["loss"].last().where(~diverged, np.inf)
    table = pd.DataFrame({"learning_rate": rate, "loss_0": loss_0, "final_loss": final})
    return table[diverged | (runs["step"].max() == steps)].reset_index()[COLUMNS]


def median_losses(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """The medians over initialisations of final losses.

    Args:
        table: Of `final_losses`, with a column of the axis.
        key: The name of that column.

    Returns:
        A row per (value, depth, width, c), the values in their order: share, the median of L_T / L_0, which is infinite
        where half of the runs or more diverged.
    """
    shares = table.assign(share=table["final_loss"] / table["loss_0"])
    return shares.groupby([key, *_NETWORK, "c"], sort=False)["share"].apply(_median).reset_index()


def best_rates(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """How well training does at the best c, and how far c may go, at each value of an axis.

    Args:
        table: Of `final_losses`, with a column of the axis.
        key: The name of that column.

    Returns:
        A row per (depth, width, value): c_best and share, where the median of L_T / L_0 is least, and c_trains, the
        highest c at which it is below 1; NaN where there is none.
    """
    rows = []
    for place, at in median_losses(table, key).groupby([*_NETWORK, key], sort=False):
        c, shares = at["c"].to_numpy(np.float64), at["share"].to_numpy(np.float64)
        best = int(np.argmin(shares))
        found = (c[best], shares[best]) if np.isfinite(shares[best]) else (np.nan, np.nan)
        rows.append((*place, *found, c[shares < 1].max(initial=-np.inf)))
    best_of = pd.DataFrame(rows, columns=[*_NETWORK, key, "c_best", "share", "c_trains"])
    return best_of.replace({"c_trains": {-np.inf: np.nan}})


def _median(values: pd.Series) -> float:
    """The lower of the two middle ones of an even number, and no mean: infinity has none."""
    return float(np.sort(values.to_numpy())[len(values) // 2])

"""Made-up tables of an experiment: two depths, three widths, three initialisations."""

import numpy as np
import pandas as pd
from made_up import T, run

from sharpness_phases.analysis.tables import constants_table, merge_runs, summary_table
from sharpness_phases.runs.questions import Criteria

EXPONENTS = [round(0.5 * i, 1) for i in range(9)]


def rows(trajectory, depth, width, seed, exponent, question="whole"):
    """A run's rows, as the store gives them."""
    return pd.DataFrame(
        {
            "run_id": f"{depth}-{width}-{seed}-{exponent}-{question}",
            "question": question,
            "family": "fcn",
            "dataset": "made_up",
            "loss_name": "mse",
            "depth": depth,
            "width": width,
            "seed": seed,
            "lr_exponent": exponent,
            "c": 2.0**exponent,
            "learning_rate": 2.0**exponent,
            "step": np.arange(trajectory.steps + 1),
            "loss": trajectory.loss,
            "accuracy": trajectory.accuracy,
            "sharpness": trajectory.sharpness,
            "residual": trajectory.residual,
            "hvps": trajectory.hvps,
            "diverged": trajectory.diverged,
        }
    )


def runs(depths=(2, 4), widths=(8, 16, 32), seeds=3, c_sharp=5):
    """All runs of the grid; c_loss falls with the width and differs between initialisations."""
    tables = []
    for depth in depths:
        for position, width in enumerate(widths):
            for seed in range(seeds):
                c_loss = max(1, 4 - position - seed % 2)
                for i, x in enumerate(EXPONENTS[:8]):
                    trajectory = run(i >= c_loss, i >= c_sharp, i == 7)
                    tables.append(rows(trajectory, depth, width, seed, x))
    return pd.concat(tables, ignore_index=True)


def constants(**shape):
    """Their critical constants."""
    return constants_table(runs(**shape), EXPONENTS, Criteria(steps=T))


def summary(**shape):
    """Their summary."""
    return summary_table(constants(**shape))


def trajectories(**shape):
    """One trajectory for each initialisation and c."""
    return merge_runs(runs(**shape))

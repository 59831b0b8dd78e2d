import numpy as np
import pandas as pd

from sharpness_phases.bench.agreement import agreement, wrong_sides
from sharpness_phases.config.loading import load_config

CONFIG = load_config("quickstart", [])


def runs(question, rows):
    """A row of each (exponent, step, sharpness, residual)."""
    table = pd.DataFrame(rows, columns=["lr_exponent", "step", "sharpness", "residual"])
    return table.assign(question=question, depth=4, width=64, seed=0)


def test_a_side_of_the_threshold_is_wrong_where_the_whole_grid_measured_the_other():
    whole = runs(
        "whole",
        [(1.0, 0, 10.0, 0.0), (1.0, 1, 9.0, 0.0), (1.0, 2, 12.0, 0.0), (1.0, 3, 12.0, 0.0), (1.0, 4, 10.001, 0.0)],
    )
    asked = runs("sharpness", [(1.0, 1, 7.0, 1.0), (1.0, 2, 10.5, 1.0), (1.0, 3, 8.0, 1.0), (1.0, 4, 9.0, 0.1)])
    assert wrong_sides(asked, whole, CONFIG) == (3, 1)


def test_an_estimate_is_wrong_where_a_run_trusted_it_to_say_no():
    whole = runs("whole", [(1.0, 0, 10.0, 0.0), (1.0, 1, 12.0, 0.0), (1.0, 2, 12.0, 0.0)])
    assert wrong_sides(runs("sharpness", [(1.0, 1, 7.0, np.nan)]), whole, CONFIG) == (1, 1)
    assert wrong_sides(runs("sharpness", [(1.0, 1, 7.0, np.nan), (1.0, 2, 11.0, 0.1)]), whole, CONFIG) == (1, 0)


def test_runs_that_measured_nothing_have_no_side():
    whole = runs("whole", [(1.0, 0, 10.0, 0.0), (1.0, 1, 12.0, 0.0)])
    assert wrong_sides(runs("loss", [(1.0, 1, np.nan, np.nan)]), whole, CONFIG) == (0, 0)


def test_constants_are_compared_in_grid_steps_where_the_whole_grid_has_one():
    exact = pd.DataFrame({"c_loss": [2.0, 4.0, 8.0], "c_loss_censored": ["", "", "high"]})
    found = pd.DataFrame({"c_loss": [2.0, 4.0 * 2**0.3, 8.0], "c_loss_censored": ["", "", ""]})
    names = ("c_sharp", "c_barrier", "c_max")
    others = {name: [8.0] * 3 for name in names} | {f"{name}_censored": ["high"] * 3 for name in names}
    rows = agreement(found.assign(**others), exact.assign(**others), 0.1)
    assert rows[0] == ("c_loss", 2, 1, 3.0)
    assert [row.compared for row in rows[1:]] == [0, 0, 0]

"""The loss after the last step, over c and one more axis."""

import numpy as np
import pandas as pd
import pytest

from sharpness_phases.analysis.final_loss import best_rates, final_losses, median_losses

STEPS = 3


def run(seed, c, losses, diverged=False, width=8):
    """The rows of one run."""
    rows = {"depth": 2, "width": width, "seed": seed, "c": c, "learning_rate": c / 10, "diverged": diverged}
    return pd.DataFrame({"step": range(len(losses)), "loss": losses, **rows})


def test_a_run_counts_by_its_last_step_or_by_its_divergence_and_not_where_it_was_only_ended():
    runs = pd.concat(
        [
            run(0, 1.0, [2.0, 1.5, 1.2, 1.0]),
            run(0, 2.0, [2.0, 3.0], diverged=False),
            run(0, 4.0, [2.0, 9.0, 1e9], diverged=True),
        ]
    )
    table = final_losses(runs, STEPS)
    assert table["c"].tolist() == [1.0, 4.0]
    assert table["final_loss"].tolist() == [1.0, np.inf]
    assert table["learning_rate"].tolist() == [0.1, 0.4]
    assert (table["loss_0"] == 2.0).all()
    assert final_losses(runs[:0], STEPS).empty


def along(*cells):
    """A table of (value, width, c, shares of the initialisations)."""
    return pd.DataFrame(
        [
            {"steps": value, "depth": 2, "width": width, "seed": seed, "c": c, "loss_0": 4.0, "final_loss": 4.0 * share}
            for value, width, c, shares in cells
            for seed, share in enumerate(shares)
        ]
    )


TABLE = along(
    (5, 8, 1.0, [0.5, 0.7, 0.6]),
    (5, 8, 2.0, [0.2, 0.3, np.inf]),
    (5, 8, 4.0, [0.9, np.inf, np.inf]),
    (0, 8, 1.0, [0.4, 0.4, 0.4]),
    (0, 8, 2.0, [1.5, 1.2, 0.1]),
    (0, 16, 1.0, [np.inf, np.inf, np.inf]),
)


def test_the_median_over_initialisations_counts_divergence_as_above_all_losses():
    medians = median_losses(TABLE, "steps").set_index(["steps", "width", "c"])["share"]
    assert medians.to_dict() == pytest.approx(
        {
            (5, 8, 1.0): 0.6,
            (5, 8, 2.0): 0.3,
            (5, 8, 4.0): np.inf,
            (0, 8, 1.0): 0.4,
            (0, 8, 2.0): 1.2,
            (0, 16, 1.0): np.inf,
        }
    )
    half = median_losses(along((0, 8, 1.0, [0.1, np.inf])), "steps")
    assert half["share"].tolist() == [np.inf]


def test_the_best_c_and_the_highest_that_trains_are_found_at_every_value_in_its_order():
    found = best_rates(TABLE, "steps")
    assert found["steps"].tolist() == [5, 0, 0]
    np.testing.assert_allclose(found["c_best"], [2.0, 1.0, np.nan])
    np.testing.assert_allclose(found["share"], [0.3, 0.4, np.nan])
    np.testing.assert_allclose(found["c_trains"], [2.0, 1.0, np.nan])
    assert best_rates(TABLE[:0], "steps").empty

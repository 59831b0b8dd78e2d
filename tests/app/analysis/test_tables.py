from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tables
from made_up import T, run

from sharpness_phases.analysis.tables import (
    constants_table,
    merge_runs,
    split_runs,
    summary_json,
    summary_table,
    violations,
)
from sharpness_phases.runs.questions import Criteria

CRITERIA = Criteria(steps=T)
EXPONENTS = [0.1 * i for i in range(6)]


def rows(trajectory, seed, exponent, question="whole", width=8):
    return tables.rows(trajectory, 2, width, seed, exponent, question)


def cell(seed, c_loss, c_sharp, divergence, width=8):
    runs = [run(i >= c_loss, i >= c_sharp, i == divergence) for i in range(min(divergence + 1, len(EXPONENTS)))]
    return pd.concat([rows(r, seed, x, width=width) for r, x in zip(runs, EXPONENTS, strict=False)])


@pytest.fixture
def constants():
    runs = pd.concat([cell(0, 1, 2, 4), cell(1, 3, 99, 5), cell(2, 0, 2, 5)])
    return constants_table(runs, EXPONENTS, CRITERIA)


def test_a_row_for_every_initialisation(constants):
    assert constants["seed"].tolist() == [0, 1, 2]
    assert constants["c_loss"].tolist() == pytest.approx([2**0.1, 2**0.3, np.nan], nan_ok=True)
    assert constants["c_sharp_censored"].tolist() == ["", "high", ""]
    assert constants["c_loss_censored"].tolist() == ["", "", "low"]
    assert constants["lambda_0"].tolist() == [1.0] * 3


def test_censored_values_are_counted_and_not_averaged_in(constants):
    summary = summary_table(constants).set_index("constant")
    c_loss = summary.loc["c_loss"]
    assert c_loss["mean"] == pytest.approx((2**0.1 + 2**0.3) / 2)
    assert (c_loss["n"], c_loss["n_low"], c_loss["n_high"], c_loss["n_censored"]) == (2, 1, 0, 1)
    c_sharp = summary.loc["c_sharp"]
    assert c_sharp["mean"] == pytest.approx(2**0.2)
    assert (c_sharp["n"], c_sharp["n_high"]) == (2, 1)


def test_a_mean_of_few_initialisations_says_of_how_many_it_is(constants):
    (entry,) = summary_json(summary_table(constants))
    assert entry["c_loss"]["note"].startswith(
        "mean, median, q25 and q75 are of 2 of 3 initialisations only; 1 below the"
    )
    assert "1 above the grid of c" in entry["c_sharp"]["note"]
    assert "note" not in entry["c_max"]


def test_quartiles_are_those_of_numpy():
    runs = pd.concat([cell(seed, 1 + seed, 99, 5) for seed in range(4)])
    row = summary_table(constants_table(runs, EXPONENTS, CRITERIA)).set_index("constant").loc["c_loss"]
    values = [2 ** (0.1 * (1 + seed)) for seed in range(4)]
    assert [row["q25"], row["median"], row["q75"]] == pytest.approx(list(np.quantile(values, [0.25, 0.5, 0.75])))


def test_an_initialisation_whose_search_was_interrupted_is_left_out():
    complete, part = cell(0, 1, 2, 4), cell(1, 1, 2, 4)
    part = part[part["lr_exponent"] < 0.25]
    assert constants_table(pd.concat([complete, part]), EXPONENTS, CRITERIA)["seed"].tolist() == [0]


def test_runs_on_another_grid_are_left_out():
    runs = pd.concat([cell(0, 1, 2, 4), rows(run(True, True), 0, 0.05)])
    assert constants_table(runs, EXPONENTS, CRITERIA)["c_loss"].tolist() == pytest.approx([2**0.1])


def test_constants_out_of_their_usual_order_are_reported():
    runs = pd.concat([cell(0, 1, 2, 4), cell(1, 3, 2, 5)])
    assert violations(constants_table(runs, EXPONENTS, CRITERIA))["seed"].tolist() == [1]


def test_a_constant_below_the_grid_is_out_of_order_behind_a_known_one():
    table = constants_table(pd.concat([cell(0, 2, 0, 4), cell(1, 0, 2, 4)]), EXPONENTS, CRITERIA)
    assert table[["c_loss_censored", "c_sharp_censored"]].to_numpy().tolist() == [["", "low"], ["low", ""]]
    assert violations(table)["seed"].tolist() == [0]


def test_no_runs_give_empty_tables():
    empty = cell(0, 1, 2, 4).iloc[:0]
    table = constants_table(empty, EXPONENTS, CRITERIA)
    assert table.empty
    assert summary_table(table).empty
    assert "c_crit_censored" in table.columns


def test_runs_are_split_at_their_ids_and_keep_their_order():
    parts = list(split_runs(pd.concat([rows(run(), 0, 0.1), rows(run(diverged=True), 0, 0.2)])))
    assert [labels["lr_exponent"] for labels, _ in parts] == [0.1, 0.2]
    assert [trajectory.steps for _, trajectory in parts] == [T, 5]
    assert [trajectory.diverged for _, trajectory in parts] == [False, True]


def test_runs_of_different_questions_merge_into_one_trajectory():
    whole = run()
    without = run()
    without.sharpness[1:] = np.nan
    short = rows(whole, 0, 0.1, "sharpness").iloc[:4]
    merged = merge_runs(pd.concat([short, rows(without, 0, 0.1, "divergence"), rows(whole, 0, 0.2)]))
    first = merged[merged["lr_exponent"] == 0.1]
    assert first["step"].tolist() == list(range(T + 1))
    assert first["sharpness"].notna().tolist() == [True] * 4 + [False] * (T - 3)
    assert set(first["question"]) == {"divergence"}
    assert len(merged) == 2 * (T + 1)


def test_the_best_known_sharpness_of_a_step_is_taken_whatever_run_it_comes_from():
    known, estimated = (run(False, False, False) for _ in range(2))
    estimated = replace(estimated, sharpness=2 * known.sharpness, residual=0.6 * estimated.sharpness)
    known = replace(known, residual=1e-4 * known.sharpness)
    merged = merge_runs(pd.concat([rows(estimated, 0, 0.1, "sharpness"), rows(known, 0, 0.1, "whole")]))
    np.testing.assert_array_equal(merged["sharpness"], known.sharpness)

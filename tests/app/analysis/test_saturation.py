import falls
import numpy as np
import pandas as pd
import pytest
import tables
from made_up import trajectory

from sharpness_phases.analysis.saturation import critical_table, saturated_sharpness, saturation_curves
from sharpness_phases.analysis.tables import constants_table, merge_runs, summary_table
from sharpness_phases.runs.questions import Criteria

C = 2.0 ** np.arange(-1, 3.4, 0.1)
LAST = max(tables.EXPONENTS)


def fall(c, c_crit=2.0, sharpness=6.0, steepness=0.1):
    """Constant up to c_crit, then linear: d^2/dc^2 has its only extremum at c_crit."""
    return 1 - steepness * np.logaddexp(0, sharpness * (c - c_crit)) / sharpness


def test_the_curves_are_the_derivatives_of_a_parabola():
    curves = saturation_curves(C, (3 - 0.2 * C - 0.05 * C**2)[None])
    np.testing.assert_allclose(curves.ratio, 3 - 0.2 * curves.c - 0.05 * curves.c**2, atol=1e-3)
    inside = slice(10, -10)
    np.testing.assert_allclose(curves.chi[inside], 0.2 + 0.1 * curves.c[inside], rtol=1e-3)
    np.testing.assert_allclose(curves.chi_prime[inside], 0.1, rtol=0.02)


def test_noise_at_large_c_does_not_hide_the_start_of_the_fall():
    rng = np.random.default_rng(0)
    ratios = 1 / (1 + np.exp(2 * (C - 3))) + 0.02 * rng.standard_normal((4, len(C))) * (C > 5)
    # The third derivative of the logistic function 1 / (1 + exp(2 (c - 3))) vanishes at 3 - log(2 + sqrt(3)) / 2.
    found = saturation_curves(C, ratios).c_crit.value
    assert found == pytest.approx(3 - np.log(2 + np.sqrt(3)) / 2, abs=0.25)


def test_a_fall_that_began_below_the_grid_is_censored_low():
    assert saturation_curves(C, np.exp(-C)[None]).c_crit.censored == "low"


def test_a_sharpness_that_does_not_fall_is_censored_high():
    assert saturation_curves(C, np.ones((1, len(C)))).c_crit.censored == "high"
    assert saturation_curves(C, C[None]).c_crit.censored == "high"


def test_one_initialisation_has_no_interval():
    found = saturation_curves(C, fall(C)[None])
    assert not found.c_crit.censored
    assert np.isnan(found.interval).all()


def test_the_interval_holds_the_spread_of_the_initialisations():
    places = (1.5, 1.8, 2.2, 2.5)
    found = saturation_curves(C, np.array([fall(C, c_crit) for c_crit in places]))
    assert found.interval.low < 1.7 < 2.2 < found.interval.high
    alike = saturation_curves(C, np.array([fall(C)] * 4))
    assert alike.interval.high / alike.interval.low < found.interval.high / found.interval.low


def test_an_initialisation_that_diverges_drops_out_and_does_not_cut_the_others():
    ratios = np.array([fall(C) + level for level in (0.0, 0.1, -0.2)])
    whole = saturation_curves(C, ratios)
    ratios[2, C > 1.6] = np.nan  # before the fall of all of them
    found = saturation_curves(C, ratios)
    assert found.c[-1] == whole.c[-1]
    assert found.c_crit.value == pytest.approx(whole.c_crit.value, rel=0.01)
    np.testing.assert_allclose(found.chi, whole.chi, atol=1e-3)


def test_too_few_c_are_refused():
    with pytest.raises(ValueError, match="at least 5"):
        saturation_curves(C[:4], np.ones((1, 4)))


def runs_of(seeds=3, diverging=2, width=16):
    """Saturation runs of one network; the last c of seed 0 diverge, and a larger one for every seed."""
    made = []
    for seed in range(seeds):
        for i, c in enumerate(C):
            end = [4.0, np.nan, 4.0 * fall(c, 2.0 + 0.1 * seed)]
            diverged = seed == 0 and i >= len(C) - diverging
            run = trajectory([1.0, 0.9, 0.8], end, diverged)
            made.append(tables.rows(run, 2, width, seed, round(float(np.log2(c)), 10), "saturation"))
        diverged = trajectory([1.0, 2.0, 9.0], [4.0, np.nan, 9.0], True)
        made.append(tables.rows(diverged, 2, width, seed, 3.5, "saturation"))
    return pd.concat(made, ignore_index=True)


def test_the_saturated_sharpness_is_the_last_one_relative_to_the_first():
    table = saturated_sharpness(runs_of(), LAST)
    assert len(table) == 3 * len(C) - 2
    assert (table["tau"] == 2).all()
    seed_0 = table[table["seed"] == 0]
    np.testing.assert_allclose(seed_0["ratio"], fall(seed_0["c"].to_numpy()))


def test_a_run_whose_last_sharpness_is_not_finite_counts_as_diverged_from_there_on():
    runs = runs_of()
    broken = (runs["seed"] == 1) & np.isclose(runs["c"], C[30]) & (runs["step"] == 2)
    assert broken.sum() == 1
    for value in (np.nan, np.inf):
        runs.loc[broken, "sharpness"] = value
        table = saturated_sharpness(runs, LAST)
        assert table[table["seed"] == 1]["c"].max() == pytest.approx(C[29])
        assert table[table["seed"] == 2]["c"].max() == pytest.approx(C[-1])


def test_an_initialisation_whose_runs_were_interrupted_is_left_out():
    runs = runs_of()
    begun = runs[(runs["seed"] != 1) | (runs["c"] < C[len(C) // 2])]
    assert sorted(saturated_sharpness(begun, LAST)["seed"].unique()) == [0, 2]
    others = runs[runs["seed"] != 1]
    pd.testing.assert_frame_equal(
        critical_table(saturated_sharpness(begun, LAST)), critical_table(saturated_sharpness(others, LAST))
    )


def test_c_crit_of_a_network_comes_with_its_interval():
    table = critical_table(saturated_sharpness(runs_of(), LAST))
    row = table.iloc[0]
    assert (row["depth"], row["width"], row["n"]) == (2, 16, 3)
    assert row["interval95_low"] <= row["c_crit"] <= row["interval95_high"]
    assert row["c_crit"] == pytest.approx(2.1, rel=0.1)


def test_the_constants_of_the_transient_are_not_changed_by_saturation_runs_and_c_crit_is_added():
    plain = tables.runs(depths=(2,), widths=(16,))
    both = pd.concat([plain, runs_of()], ignore_index=True)
    criteria = Criteria(steps=10)
    table = constants_table(both, tables.EXPONENTS, criteria)
    before = constants_table(plain, tables.EXPONENTS, criteria)
    names = ["c_loss", "c_sharp", "c_max", "lambda_0"]
    pd.testing.assert_frame_equal(table[names], before[names])
    assert before["c_crit"].isna().all()
    assert table["c_crit"].tolist() == pytest.approx([2.0, 2.1, 2.2], rel=0.1)
    pd.testing.assert_frame_equal(merge_runs(both), merge_runs(plain))


def test_the_summary_holds_the_c_crit_of_the_averaged_curve():
    both = pd.concat([tables.runs(depths=(2,), widths=(16,)), runs_of()], ignore_index=True)
    critical = critical_table(saturated_sharpness(both, LAST))
    summary = summary_table(constants_table(both, tables.EXPONENTS, Criteria(steps=10)), critical)
    row = summary[summary["constant"] == "c_crit"].iloc[0]
    assert row["boundary"] == critical["c_crit"][0]
    assert (row["interval95_low"], row["interval95_high"]) == tuple(
        critical.loc[0, ["interval95_low", "interval95_high"]]
    )


@pytest.mark.parametrize("octaves", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("shape", falls.FALLS)
def test_without_noise_c_crit_lies_within_one_grid_step(shape, octaves):
    for c_crit in (0.8, 2.0, 7.9):
        found = saturation_curves(2.0**falls.X, falls.curve(shape, octaves, c_crit)[None]).c_crit
        assert abs(np.log2(found.value / c_crit)) < 0.1, c_crit


@pytest.mark.parametrize(("noise", "shift", "level"), [(0.01, 0.0, 0.0), (0.03, 0.1, 0.0), (0.03, 0.0, 0.03)])
def test_the_interval_of_four_initialisations_covers_the_truth(noise, shift, level):
    held, _, censored = falls.coverage(12, 1, noise, shift, level)
    assert held >= 0.9
    assert censored <= 2


@pytest.mark.long
def test_in_many_experiments_nine_of_ten_intervals_cover_and_nearly_every_curve_without_noise_is_right():
    assert (np.abs(falls.bias(300, 3)) < 0.1).mean() > 0.99
    for noise, shift, level in ((0.003, 0.0, 0.0), (0.03, 0.0, 0.0), (0.03, 0.1, 0.0), (0.03, 0.05, 0.03)):
        assert falls.coverage(100, 4, noise, shift, level)[0] >= 0.9

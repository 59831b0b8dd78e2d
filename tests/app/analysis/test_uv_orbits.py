import numpy as np
import pytest
from orbits import START, exact_orbit, exact_orbits

from sharpness_phases.analysis.uv_orbits import onsets, orbit_table, points_table, ratio_of


@pytest.mark.parametrize("target", [1.0, -3.0, 0.01])
def test_the_ratio_is_found_from_loss_and_sharpness(target):
    r = np.array([0.0, 0.1, 0.3, 0.5, 0.6, 0.999, 1.0, 1.001, 1.5, 1.99])
    sharpness = abs(target) / 2 * np.maximum(3 * r - 1, 1 - r)  # n = 4
    np.testing.assert_allclose(ratio_of(target**2 * (r - 1) ** 2 / 2, sharpness, target, 4), r, atol=1e-12)


@pytest.mark.parametrize(
    ("g", "kind", "period"),
    [(0.8, "stable", 1), (1.1, "periodic", 2), (1.26, "periodic", 4), (1.8, "aperiodic", 0), (2.1, "divergent", 0)],
)
def test_an_orbit_is_of_the_kind_that_the_map_has_there(g, kind, period):
    [row] = orbit_table([exact_orbit(g)], START).to_dict("records")
    assert (row["kind"], row["period"]) == (kind, period)
    assert (row["exponent"] > 0) == (kind == "aperiodic")


def test_an_orbit_that_has_not_settled_is_called_so():
    [row] = orbit_table([exact_orbit(0.9999, first=50)], START).to_dict("records")
    assert (row["kind"], row["period"]) == ("unsettled", 0)


def test_a_deviation_from_the_map_is_seen_in_the_step_and_in_the_whole_orbit():
    right = exact_orbit(1.1)
    wrong = right._replace(r=right.r + np.where(np.arange(len(right.r)) % 2, 0.0, 1e-5))
    exact, off = (orbit_table([orbit], START).iloc[0] for orbit in (right, wrong))
    assert exact["one_step"] < 1e-14
    assert exact["whole"] < 1e-12
    assert off["one_step"] > 5e-6
    assert off["whole"] == pytest.approx(1e-5, rel=1e-3)


def test_thresholds_lie_between_the_neighbours_on_the_grid_that_show_them():
    found = {onset.name: onset for onset in onsets(orbit_table(exact_orbits(), START))}
    assert list(found) == ["period 2", "period 4", "period 8", "aperiodic", "divergent"]
    assert all(onset.before < onset.exact < onset.simulated for onset in found.values())


def test_what_the_grid_does_not_reach_is_not_seen():
    found = onsets(orbit_table([exact_orbit(0.8), exact_orbit(0.9)], START))
    assert all(np.isnan(onset.simulated) for onset in found)


def test_every_visited_point_has_a_row_with_its_step():
    orbits = [exact_orbit(0.8, first=10), exact_orbit(2.1)]
    table = points_table(orbits)
    assert list(table["step"]) == [10 + t for t in range(len(orbits[0].r))]
    assert set(table["g"]) == {0.8}  # the other one left

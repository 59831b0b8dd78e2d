import numpy as np
import tables

from sharpness_phases.views.panels import Over, common_range, panels_of


def test_networks_are_distributed_by_what_is_fixed():
    summary = tables.summary()
    assert [panel.title for panel in panels_of(summary, Over.WIDTH)] == ["depth 2", "depth 4"]
    assert [panel.title for panel in panels_of(summary, Over.DEPTH)] == ["width 8", "width 16", "width 32"]
    (pooled,) = panels_of(summary, Over.RATIO)
    assert list(pooled.positions) == [1 / 16, 1 / 8, 1 / 4, 1 / 2]


def test_the_range_holds_all_constants_and_c_equal_2_with_room_on_both_sides():
    panels = panels_of(tables.summary(), None)
    low, high = common_range(panels)
    values = np.append(tables.summary()[["boundary_q25", "boundary_q75"]].to_numpy(float).ravel(), 2.0)
    assert low * 2**0.5 <= np.nanmin(values)
    assert np.nanmax(values) * 2**0.3 <= high


def test_censored_boundaries_do_not_widen_the_range():
    summary = tables.summary()
    before = common_range(panels_of(summary, None))
    c_max = summary["constant"] == "c_max"
    summary.loc[c_max & (summary["width"] == 8), ["boundary", "boundary_q25", "boundary_q75"]] = [np.inf, 0.0, np.inf]
    assert common_range(panels_of(summary, None)) == before

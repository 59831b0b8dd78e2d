import numpy as np
import pytest
import tables

from sharpness_phases.analysis.phases import Phase, classify
from sharpness_phases.views.panels import Over, common_range, fitted_boundaries, heights_of, panels_of, phase_edges


def test_networks_are_distributed_by_what_is_fixed():
    summary = tables.summary()
    assert [panel.title for panel in panels_of(summary, Over.WIDTH)] == ["depth 2", "depth 4"]
    assert [panel.title for panel in panels_of(summary, Over.DEPTH)] == ["width 8", "width 16", "width 32"]
    (pooled,) = panels_of(summary, Over.RATIO)
    assert list(pooled.positions) == [1 / 16, 1 / 8, 1 / 4, 1 / 2]


def test_the_range_holds_all_constants_and_c_equal_2_with_room_on_both_sides():
    panels = panels_of(tables.summary(), None)
    low, high = common_range(panels)
    values = np.append(tables.summary()[["q25", "q75"]].to_numpy().ravel(), 2.0)
    assert low * 2**0.5 <= np.nanmin(values)
    assert np.nanmax(values) * 2**0.3 <= high


def test_between_the_edges_lie_the_phases_of_the_classification():
    (panel,) = panels_of(tables.summary(depths=(2,)), None)
    heights = heights_of(panel)
    shown = common_range([panel])
    edges = np.array(phase_edges(panel, heights, shown))
    fits = fitted_boundaries(panel)
    bounds = [2.0 ** np.polyval(fits[name], np.log2(heights)) for name in ("c_loss", "c_sharp", "c_max")]
    for number, phase in enumerate(Phase):
        for i in np.flatnonzero(edges[number + 1] > edges[number] * 1.001):
            middle = float(np.sqrt(edges[number, i] * edges[number + 1, i]))
            assert classify(middle, *(float(bound[i]) for bound in bounds)) is phase


@pytest.mark.parametrize(("censored", "end"), [("n_low", "low"), ("n_high", "high")])
def test_a_mostly_censored_constant_lies_at_its_end_of_the_range(censored, end):
    summary = tables.summary(depths=(2,), widths=(8,))
    summary.loc[summary["constant"] == "c_max", ["n", censored, "n_censored"]] = [1, 2, 2]
    (panel,) = panels_of(summary, None)
    shown = common_range([panel])
    *_, c_max, _ = phase_edges(panel, heights_of(panel), shown)
    assert set(c_max) == {getattr(shown, end)}

import numpy as np
import pytest
import tables
from pictures import C, saturated

from sharpness_phases.analysis.saturation import critical_table, saturation_curves
from sharpness_phases.views.saturation import SaturationDiagram, SaturationFigure


def figure(table):
    return SaturationFigure(table, critical_table(table), "made up").draw()


def test_every_network_has_three_panels_with_dots_curves_and_c_crit():
    table = saturated()
    axes = figure(table).axes
    assert [ax.get_title() for ax in axes if ax.get_title().startswith("depth")] == [
        "depth 2, width 16",
        "depth 4, width 16",
        "depth 4, width 32",
    ]
    dots, curve = axes[0].lines[:2]
    first = table[(table["depth"] == 2) & (table["width"] == 16)]
    assert sorted(dots.get_ydata()) == sorted(first["ratio"])
    expected = saturation_curves(C, first["ratio"].to_numpy().reshape(2, -1))
    np.testing.assert_allclose(curve.get_ydata(), expected.ratio)
    c_crit = critical_table(table)["c_crit"][0]
    column = [axes[0], *(ax for ax in axes[1:] if ax.get_position().x0 == axes[0].get_position().x0)]
    assert sum(any(list(line.get_xdata()) == [c_crit, c_crit] for line in ax.lines) for ax in column) >= 3


def test_many_networks_go_on_in_a_second_block_on_the_same_scales():
    axes = figure(saturated([(2, w) for w in (4, 8, 16, 32, 64)])).axes
    assert len(axes) == 15
    assert len({ax.get_ylim() for ax in axes if ax.get_title().startswith("depth")}) == 1


def test_an_initialisation_far_above_the_average_is_a_triangle_at_the_upper_end():
    table = saturated([(2, 16)])
    table.loc[table.index[-1], "ratio"] = 1e4
    panel = figure(table).axes[0]
    triangles = next(line for line in panel.lines if line.get_marker() == "^")
    assert list(triangles.get_xdata()) == [table["c"].iloc[-1]]
    assert list(triangles.get_ydata()) == [panel.get_ylim()[1]] < [1e4]


def test_too_few_c_are_refused():
    table = saturated().query("c < 0.6")
    with pytest.raises(ValueError, match="at least 5"):
        figure(table)


def test_the_diagram_has_a_panel_for_every_depth_a_band_for_every_width_and_the_constants():
    table = saturated([(2, 8), (2, 16), (4, 8), (4, 16)])
    summary = tables.summary(widths=(8, 16))
    interval = ["interval95_low", "interval95_high"]
    summary.loc[summary["constant"] == "c_crit", ["boundary", *interval, "n"]] = [2.0, 1.9, 2.1, 2]
    drawn = SaturationDiagram(table, summary, "made up").draw()
    panels = drawn.axes[:2]
    assert [ax.get_title() for ax in panels] == ["depth 2", "depth 4"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["1/16", "1/8"]
    for ax in panels:
        assert len(ax.collections) == 2
        markers = [line for line in ax.lines if line.get_marker() not in ("None", "")]
        assert len(markers) == 4
    assert len(drawn.legends[0].get_texts()) == 2


@pytest.mark.slow
def test_both_pictures_can_be_saved(tmp_path):
    table = saturated()
    assert SaturationFigure(table, critical_table(table)).save(tmp_path / "s.png").stat().st_size > 5000
    assert SaturationDiagram(table, tables.summary()).save(tmp_path / "d.svg").stat().st_size > 5000


def test_a_diagram_of_nothing_is_refused():
    with pytest.raises(ValueError, match="needs a saturated sharpness"):
        SaturationDiagram(saturated().iloc[:0], tables.summary())

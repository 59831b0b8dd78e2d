import numpy as np
import pytest
from orbits import START, exact_orbit, exact_orbits

from sharpness_phases.analysis.uv_orbits import onsets, orbit_table, points_table
from sharpness_phases.views.bifurcation import BifurcationFigure


def picture(orbits):
    table = orbit_table(orbits, START)
    return BifurcationFigure(points_table(orbits), table, onsets(table), "made up")


@pytest.fixture(scope="module")
def figure():
    return picture(exact_orbits()).draw()


def test_every_panel_has_the_exact_thresholds_as_lines(figure):
    for ax in figure.axes:
        uprights = {line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1}
        assert {1.0, 2.0} <= {round(x, 9) for x in uprights}
        assert any(abs(x - (np.sqrt(5) - 1)) < 1e-9 for x in uprights)
        assert len(uprights) == 5


@pytest.mark.slow
def test_every_visited_point_is_drawn_and_the_exact_cycles_beside(figure):
    points = points_table(exact_orbits())
    drawn = figure.axes[0].lines[0]
    np.testing.assert_array_equal(drawn.get_ydata(), points["r"])
    cycles = [line for line in figure.axes[0].lines if line.get_linewidth() == 3.0]
    assert len(cycles) == 1 + 2 + 4
    ends = [line.get_ydata()[0] for line in cycles[1:3]]
    np.testing.assert_allclose(ends, 1.0, atol=1e-6)  # both branches begin at the minimum


def test_the_sharpness_is_shown_in_units_of_the_edge_which_is_a_line(figure):
    sharpness = figure.axes[1]
    points = points_table(exact_orbits())
    np.testing.assert_allclose(sharpness.lines[0].get_ydata(), points["sharpness"] * points["learning_rate"] / 2)
    assert any(list(line.get_ydata()) == [1.0, 1.0] and line.get_linestyle() == "--" for line in sharpness.lines)


def test_the_legend_names_every_line_and_where_it_stands(figure):
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["training", "exact"]
    assert texts[3:] == [
        "period 2 from 1.0000",
        "period 4 from 1.2361",
        "period 8 from 1.2880",
        "aperiodic from 1.3023",
        "divergent from 2.0000",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("values", [[0.7, 0.8], [1.1, 1.15, 1.2], [1.5, 1.6]])
def test_a_range_with_few_thresholds_is_drawn_too(values, tmp_path):
    saved = picture([exact_orbit(g) for g in values]).save(tmp_path / "part.png")
    assert saved.stat().st_size > 5000


def test_orbits_that_all_diverge_are_refused():
    with pytest.raises(ValueError, match="orbits that do not diverge"):
        picture([exact_orbit(2.1)])

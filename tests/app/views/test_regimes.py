import numpy as np
import pytest
from pictures import long_run, regime_figure

from sharpness_phases.analysis.regimes import Regime, regimes
from sharpness_phases.runs.edge import edge_in_words, sgd_edge
from sharpness_phases.views.regimes import REGIME_FILLS, LabelledRun, RegimeFigure


def test_a_column_for_every_run_with_its_segments_shaded_and_the_edge_regime_figure(tmp_path):
    figure = regime_figure("c = 4", "c = 8").draw()
    assert [ax.get_title() for ax in figure.axes[:2]] == ["c = 4", "c = 8"]
    for ax in figure.axes:
        assert len(ax.patches) == 4
    for top in figure.axes[:2]:
        assert any(list(line.get_ydata()) == [1.0, 1.0] for line in top.lines)
    assert regime_figure("c = 4").save(tmp_path / "regimes.png").stat().st_size > 5000


def test_the_legend_names_the_regimes_in_their_order_and_the_edge():
    texts = [text.get_text() for text in regime_figure("c = 4").draw().legends[0].get_texts()]
    assert texts[:4] == [regime.replace("_", " ") for regime in list(Regime)[:4]]
    assert texts[4] == "λ = 2/η"


def test_with_momentum_the_axis_is_in_units_of_its_edge_and_the_legend_names_it():
    run = long_run()
    edge = sgd_edge(0.1, momentum=0.9)
    figure = RegimeFigure(
        [LabelledRun("c = 4", run, edge, regimes(run, edge))], edge_in_words=edge_in_words(0.9)
    ).draw()
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), run.sharpness / (3.8 / 0.1))
    assert figure.axes[0].get_ylabel().endswith("/ edge")
    assert figure.legends[0].get_texts()[-1].get_text() == "λ = 2(1 + m)/η"


def test_an_edge_that_moves_is_followed_step_by_step():
    run = long_run()
    edge = np.linspace(10, 30, run.steps + 1)
    figure = RegimeFigure([LabelledRun("schedule", run, edge, regimes(run, edge))]).draw()
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), run.sharpness / edge)


def test_no_run_is_refused():
    with pytest.raises(ValueError, match="at least one run"):
        RegimeFigure([])


def test_every_regime_has_a_fill():
    assert set(REGIME_FILLS) == set(Regime)

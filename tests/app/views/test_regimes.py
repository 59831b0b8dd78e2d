import pytest
from pictures import regime_figure

from sharpness_phases.analysis.regimes import Regime
from sharpness_phases.views.regimes import REGIME_FILLS, RegimeFigure


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
    assert "eta" in texts[4]


def test_no_run_is_refused():
    with pytest.raises(ValueError, match="at least one run"):
        RegimeFigure([])


def test_every_regime_has_a_fill():
    assert set(REGIME_FILLS) == set(Regime)

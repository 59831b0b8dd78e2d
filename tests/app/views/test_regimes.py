import numpy as np
import pytest
from made_up import trajectory

from app.analysis.regimes import Regime, regimes
from app.views.regimes import REGIME_FILLS, LabelledRun, RegimeFigure

ETA = 0.1


def long_run():
    ratio = np.concatenate([np.linspace(1, 0.4, 20), np.full(80, 0.4), np.linspace(0.4, 1, 200), np.ones(200)])
    return trajectory(np.linspace(1, 0.1, len(ratio)), 2 / ETA * ratio)


def drawn(*titles):
    run = long_run()
    return RegimeFigure([LabelledRun(title, run, ETA, regimes(run, ETA)) for title in titles], "made up")


def test_a_column_for_every_run_with_its_segments_shaded_and_the_edge_drawn(tmp_path):
    figure = drawn("c = 4", "c = 8").draw()
    assert [ax.get_title() for ax in figure.axes[:2]] == ["c = 4", "c = 8"]
    for ax in figure.axes:
        assert len(ax.patches) == 4
    for top in figure.axes[:2]:
        assert any(list(line.get_ydata()) == [1.0, 1.0] for line in top.lines)
    assert drawn("c = 4").save(tmp_path / "regimes.png").stat().st_size > 5000


def test_the_legend_names_the_regimes_in_their_order_and_the_edge():
    texts = [text.get_text() for text in drawn("c = 4").draw().legends[0].get_texts()]
    assert texts[:4] == [regime.replace("_", " ") for regime in list(Regime)[:4]]
    assert "eta" in texts[4]


def test_no_run_is_refused():
    with pytest.raises(ValueError, match="at least one run"):
        RegimeFigure([])


def test_every_regime_has_a_fill():
    assert set(REGIME_FILLS) == set(Regime)

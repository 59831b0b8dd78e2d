import numpy as np
from made_up import trajectory

from app.analysis.regimes import Regime, regimes
from app.views.regimes import REGIME_FILLS, RegimeFigure

ETA = 0.1


def long_run():
    ratio = np.concatenate([np.linspace(1, 0.4, 20), np.full(80, 0.4), np.linspace(0.4, 1, 200), np.ones(200)])
    return trajectory(np.linspace(1, 0.1, len(ratio)), 2 / ETA * ratio)


def test_the_segments_are_shaded_the_edge_is_drawn_and_the_legend_names_the_regimes(tmp_path):
    run = long_run()
    segments = regimes(run, ETA)
    picture = RegimeFigure(run, ETA, segments, "made up")
    figure = picture.draw()
    top, bottom = figure.axes
    assert any(list(line.get_ydata()) == [2 / ETA, 2 / ETA] for line in top.lines)
    assert len(top.patches) == len(bottom.patches) == len(segments) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [s.regime.replace("_", " ") for s in segments]
    assert picture.save(tmp_path / "regimes.png").stat().st_size > 5000


def test_every_regime_has_a_fill():
    assert set(REGIME_FILLS) == set(Regime)

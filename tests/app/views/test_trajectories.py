import numpy as np
import pytest
import tables

from sharpness_phases.views.trajectories import TrajectoryFigure


def test_two_panels_for_every_network_show_normalised_loss_and_sharpness():
    figure = TrajectoryFigure(tables.trajectories()).draw()
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    titles = [ax.get_title() for ax in panels if ax.get_title()]
    assert titles == [f"depth {d}, width {w}" for d in (2, 4) for w in (8, 16, 32)]
    assert len(panels) == 12
    lines = [line for line in panels[0].lines if len(line.get_xdata()) > 2]
    assert all(line.get_ydata()[0] == 1.0 for line in lines)
    assert len(lines) == 8  # one for every c


def test_only_the_chosen_initialisation_is_shown():
    figure = TrajectoryFigure(tables.trajectories(depths=(2,), widths=(8,)), seed=1).draw()
    assert len([line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]) == 8
    with pytest.raises(ValueError, match="seed 7"):
        TrajectoryFigure(tables.trajectories(), seed=7)


def test_nothing_is_joined_where_nothing_was_measured():
    runs = tables.trajectories(depths=(2,), widths=(8,), seeds=1)
    runs.loc[runs["step"].between(2, 8), "sharpness"] = np.nan
    top, bottom = TrajectoryFigure(runs).draw().axes[:2]
    drawn = [tuple(line.get_xdata()) for line in bottom.lines if line.get_linestyle() != ":"]
    assert set(drawn) == {(0, 1), (9, 10)}
    assert len([line for line in top.lines if len(line.get_xdata()) == 11]) == 7  # of the loss nothing is missing


def test_runs_that_are_measured_at_every_second_step_are_one_line():
    runs = tables.trajectories(depths=(2,), widths=(8,), seeds=1)
    runs.loc[runs["step"] % 2 == 1, "sharpness"] = np.nan
    bottom = TrajectoryFigure(runs, every=2).draw().axes[1]
    assert {tuple(line.get_xdata()) for line in bottom.lines if len(line.get_xdata()) > 2} >= {(0, 2, 4, 6, 8, 10)}


def test_with_constants_there_is_one_run_in_each_phase_with_a_legend_and_the_initialisation_is_named():
    figure = TrajectoryFigure(tables.trajectories(), title="made up", constants=tables.constants(), seed=1).draw()
    assert figure.get_suptitle() == "made up, initialisation 1"
    for ax in figure.axes[:12]:
        assert len([line for line in ax.lines if len(line.get_xdata()) > 2]) in (3, 4)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["sharpness reduction", "loss catapult", "loss and sharpness catapult", "divergent"]
    styles = {line.get_linestyle() for line in figure.legends[0].get_lines()}
    assert len(styles) > 1


@pytest.mark.slow
def test_it_is_saved(tmp_path):
    assert TrajectoryFigure(tables.trajectories(), title="made up").save(tmp_path / "t.png").stat().st_size > 5000

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


def test_steps_that_were_not_measured_are_passed_over():
    runs = tables.trajectories(depths=(2,), widths=(8,), seeds=1)
    runs.loc[runs["step"] % 2 == 1, "sharpness"] = np.nan
    bottom = TrajectoryFigure(runs).draw().axes[1]
    lines = [line for line in bottom.lines if len(line.get_xdata()) > 2]
    assert all(np.isfinite(line.get_ydata()).all() for line in lines)


@pytest.mark.slow
def test_it_is_saved(tmp_path):
    assert TrajectoryFigure(tables.trajectories(), title="made up").save(tmp_path / "t.png").stat().st_size > 5000

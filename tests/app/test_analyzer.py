import pytest
import tables

from sharpness_phases import Phase, PhaseAnalyzer
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError

CONFIG = load_config(
    "quickstart",
    [
        "sweep.depths=[2,4]",
        "sweep.widths=[8,16,32]",
        "sweep.seeds=3",
        "sweep.lr_exponents={start: 0, stop: 4, step: 0.5}",
        "sweep.search=exhaustive",
        "training.steps=20",
        "analysis.transient_steps=10",
    ],
)


@pytest.fixture(scope="module")
def analyzer():
    return PhaseAnalyzer(tables.runs(), CONFIG)


def test_it_has_the_runs_the_config_and_the_tables_that_follow(analyzer):
    assert analyzer.config is CONFIG
    assert analyzer.runs.equals(tables.runs())
    assert len(analyzer.critical_constants()) == 18
    assert analyzer.phase(c=0.5, depth=4, width=8) is Phase.SHARPNESS_REDUCTION


def test_the_diagram_is_saved(analyzer, tmp_path):
    assert analyzer.phase_diagram().save(tmp_path / "diagram.pdf").read_bytes().startswith(b"%PDF")


def test_an_axis_that_there_is_not_is_refused(analyzer):
    with pytest.raises(ValueError, match="height"):
        analyzer.phase_diagram("height")


def test_trajectories_are_drawn_of_one_initialisation(analyzer):
    assert len(analyzer.trajectory_figure(seed=2).draw().axes) == 2 * 6 + 1  # and the scale of c
    with pytest.raises(ValueError, match="none of seed 7"):
        analyzer.trajectory_figure(seed=7)


@pytest.mark.slow
def test_regimes_are_drawn_of_runs_by_name_and_else_of_the_first_initialisation(analyzer):
    named = analyzer.regime_figure("4-8-0-0.5-whole", "4-8-1-1.0-whole").draw()
    assert [ax.get_title() for ax in named.axes[:2]] == ["c = 1.41", "c = 2"]
    assert len(analyzer.regime_figure().draw().axes) == 2 * 8
    with pytest.raises(KeyError, match="'nothing'"):
        analyzer.regime_figure("nothing")


def test_a_saturation_that_was_not_measured_cannot_be_drawn(analyzer):
    for draw in (analyzer.saturation_figure, analyzer.saturation_diagram):
        with pytest.raises(ValueError, match="Received"):
            draw()


def test_a_folder_that_is_no_experiment_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match=r"no config.yaml in it"):
        PhaseAnalyzer.load(tmp_path)

import logging

import pytest
import tables

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.config.loading import dump_config, load_config
from sharpness_phases.views.results import write_results

LONG = [
    "sweep.depths=[2,4]",
    "sweep.widths=[8]",
    "sweep.lr_exponents={start: 0, stop: 4, step: 0.5}",
    "sweep.search=exhaustive",
    "training.steps=20",
    "analysis.transient_steps=10",
]
SHORT = [*LONG[1:3], "sweep.depths=[2]", "tensorboard=false"]


@pytest.fixture
def write(tmp_path):
    """Write the results of made-up runs into one folder; the names in it."""

    def written(overrides, depths, anew=True, **shape):
        config = load_config("quickstart", overrides)
        (tmp_path / "config.yaml").write_text(dump_config(config))
        write_results(Findings(tables.runs(depths=depths, widths=(8,), **shape), config), tmp_path, anew)
        return {path.name for path in tmp_path.iterdir()}

    return written


ALWAYS = {
    "config.yaml",
    "critical_constants.csv",
    "summary.json",
    "report.html",
    "phase_diagram.png",
    "phase_diagram.svg",
    "trajectories.png",
}


@pytest.mark.slow
def test_what_an_earlier_config_of_the_folder_had_to_show_is_removed_and_nothing_else(write, tmp_path):
    (tmp_path / "notes.png").touch()
    more = {"phase_diagram_over_depth.png", "phase_diagram_over_ratio.png", "regimes.png", "regimes.csv", "tensorboard"}
    assert write(LONG, depths=(2, 4)) == ALWAYS | more | {"notes.png"}
    assert write(SHORT, depths=(2,)) == ALWAYS | {"notes.png"}


@pytest.mark.slow
def test_an_unusual_order_of_constants_is_warned_of(write, caplog):
    with caplog.at_level(logging.WARNING):
        write(SHORT, depths=(2,))
    assert "usual order" not in caplog.text
    write(SHORT, depths=(2,), c_sharp=0)
    assert "3 of 3 initialisations: the usual order" in caplog.text


@pytest.mark.slow
def test_what_is_up_to_date_is_drawn_anew_only_where_that_is_asked_for(write, tmp_path):
    def times():
        return [(tmp_path / name).stat().st_mtime_ns for name in ("phase_diagram.svg", "report.html")]

    write(SHORT, depths=(2,))
    first = times()
    write(SHORT, depths=(2,), anew=False)
    assert times() == first
    write(SHORT, depths=(2,))
    assert all(later > before for later, before in zip(times(), first, strict=True))

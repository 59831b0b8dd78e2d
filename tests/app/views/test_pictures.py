"""The list of pictures."""

import subprocess
import sys
from pathlib import Path

import pytest
import tables

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError
from sharpness_phases.views.pictures import KINDS, PICTURES, file_named, picture, places

OVERRIDES = ["sweep.depths=[2,4]", "sweep.widths=[8,16,32]", "sweep.lr_exponents={start: 0, stop: 4, step: 0.5}"]
HERE = Path("here")


def findings(*overrides, runs=None):
    return Findings(tables.runs() if runs is None else runs, load_config("quickstart", [*OVERRIDES, *overrides]))


def test_no_two_pictures_share_a_name_or_a_file():
    files = [path for kind in PICTURES for path in kind.paths(HERE)]
    assert len(files) == len(set(files))
    assert len(KINDS) == len(PICTURES)


def test_every_file_is_found_by_its_name():
    for kind in PICTURES:
        for file in kind.files:
            assert file_named(file.name) == (kind, file)
    with pytest.raises(KeyError, match="barrier"):
        file_named("barrier")


def test_what_every_experiment_has_is_named_before_what_a_config_asks_for():
    assert list(KINDS) == [
        "diagram",
        "trajectories",
        "final_loss",
        "saturation",
        "saturation_diagram",
        "regimes",
    ]


def test_the_console_names_files_in_the_order_in_which_they_are_drawn():
    assert {line: [path.name for path in paths] for line, paths in places(HERE).items()} == {
        "Phase diagram": ["phase_diagram.png", "phase_diagram.svg"],
        "Final loss": ["final_loss.png", "final_loss.svg", "final_loss.csv"],
        "Saturation": ["saturation.png", "saturation_diagram.png"],
        "Regimes": ["regimes.png", "regimes.csv"],
        "Trajectories": ["trajectories.png"],
    }


def drawn(findings):
    return [file.name for kind in PICTURES for file in kind.drawn(findings)]


def test_the_diagram_over_other_axes_is_drawn_where_there_are_several_depths():
    assert drawn(findings()) == [
        "phase_diagram",
        "phase_diagram_over_depth",
        "phase_diagram_over_ratio",
        "trajectories",
    ]
    one_depth = findings("sweep.depths=[2]", runs=tables.runs(depths=(2,)))
    assert drawn(one_depth) == ["phase_diagram", "trajectories"]


def test_what_is_lacking_is_not_drawn_and_is_told():
    none = findings(runs=tables.runs().query("step < 0"))
    assert drawn(none) == []
    for kind, text in {
        "diagram": "no initialisation's critical constants are known",
        "trajectories": "no run has trained yet",
        "saturation": "the saturated sharpness was not measured",
        "regimes": "no long runs",
        "final_loss": "needs an axis: run with sweep.over",
    }.items():
        with pytest.raises(UserError, match=text):
            picture(none, kind)


def test_the_list_is_read_without_what_draws():
    code = "import sys, sharpness_phases.views.pictures; print({'matplotlib', 'pandas', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"

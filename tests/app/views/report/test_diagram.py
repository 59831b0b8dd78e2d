"""What the report's diagram tells where a reader points is where the picture has it, and what the findings say."""

import numpy as np
import pytest
import tables
from tables import EXPONENTS

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.config.loading import load_config
from sharpness_phases.views.pictures import phase_diagram
from sharpness_phases.views.report.diagram import diagram_data, frames_in
from sharpness_phases.views.report.rates import rates_of

GRID = f"sweep.lr_exponents={{start: {EXPONENTS[0]}, stop: {EXPONENTS[-1]}, step: 0.5}}"
CONFIG = load_config("quickstart", ["sweep.depths=[2,4]", "sweep.widths=[8,16,32]", "sweep.seeds=3", GRID])


@pytest.fixture(scope="module")
def findings():
    return Findings(tables.runs(), CONFIG)


@pytest.fixture(scope="module")
def svg(findings, tmp_path_factory):
    return phase_diagram(findings).save(tmp_path_factory.mktemp("d") / "d.svg")


@pytest.fixture(scope="module")
def data(findings, svg):
    return diagram_data(findings, svg, rates_of(findings.critical_constants(), findings.axis.rate))


def networks(data):
    return [network for panel in data["panels"] for network in panel["networks"]]


def test_the_panels_are_side_by_side_within_the_picture(svg):
    one, two = frames_in(svg, 2)
    assert 0 < one.left < one.right < two.left < two.right < 1
    assert 0 < one.top == pytest.approx(two.top)
    assert one.top < one.bottom < 1


def test_the_frame_is_where_the_picture_has_its_axes(findings, tmp_path):
    picture = phase_diagram(findings)
    figure = picture.draw()
    figure.draw_without_rendering()
    boxes = [ax.get_position() for ax in figure.axes]
    one, two = frames_in(picture.save(tmp_path / "d.svg"), 2)
    # The file is cut to what is drawn: shares of one panel to another stay.
    assert (two.left - one.left) / (one.right - one.left) == pytest.approx(
        (boxes[1].x0 - boxes[0].x0) / boxes[0].width, rel=0.02
    )


def test_a_file_that_does_not_say_where_its_panels_are_gives_none(tmp_path, findings):
    (tmp_path / "other.svg").write_text('<svg viewBox="0 0 10 10"></svg>')
    assert frames_in(tmp_path / "other.svg", 1) == []
    assert diagram_data(findings, tmp_path / "other.svg", rates_of(findings.critical_constants(), float)) is None


def test_the_phases_are_those_of_the_findings_at_every_c(findings, data):
    for network in networks(data):
        for c in 2.0 ** np.arange(-0.7, 5, 0.1):  # off the grid, on which boundaries lie
            told = next(phase for phase, end in network["phases"] if end < 0 or c < end)
            assert told == str(findings.phase(c, network["depth"], network["width"])), (network, c)


def test_every_network_tells_its_constants_with_learning_rates_and_its_runs(findings, data):
    runs = findings.runs.groupby(["depth", "width"])["run_id"].nunique()
    summary = findings.summary.set_index(["depth", "width", "constant"])["boundary"]
    assert len(networks(data)) == 6
    for network in networks(data):
        shape = (network["depth"], network["width"])
        assert (network["runs"], network["seeds"], network["lambda_0"]) == (runs.loc[shape], 3, 1.0)
        c_max = summary.loc[(*shape, "c_max")]
        assert network["constants"]["c_max"].startswith(f"{c_max:.3g} (")
        assert network["constants"]["c_max"].endswith(f"η = {c_max:.3g}")

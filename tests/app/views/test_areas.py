"""One boundary, one rule: areas, phases, table and summary agree at every point of the grid of made-up experiments."""

import io
import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import tables
from rich.console import Console

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.phases import BOUNDARIES, Phase, classify
from sharpness_phases.analysis.tables import summary_json, summary_table
from sharpness_phases.commands.console import constants_summary
from sharpness_phases.config.loading import load_config
from sharpness_phases.views.areas import phase_areas
from sharpness_phases.views.diagram import PhaseDiagram
from sharpness_phases.views.fits import fitted_boundaries, fitted_lines
from sharpness_phases.views.panels import Over, common_range, panels_of
from sharpness_phases.views.report.rates import rates_of
from sharpness_phases.views.report.tables import constants_by_network

GRID = 2.0 ** np.round(np.arange(-1, 6.01, 0.1), 10)
CONFIG = load_config("quickstart", ["sweep.lr_exponents={start: -1, stop: 6, step: 0.1}"])
CHOICES = {"low": ["low"], "high": ["high"], "mixed": ["low", "high", None, None, None], "known": [None]}


def experiment(networks, seeds, censoring, seed):
    """A table of constants, each at a random point of the grid or censored, without order among them."""
    rng, base = np.random.default_rng(seed), tables.constants(depths=(2,), widths=(8,), seeds=1)
    rows = []
    for (depth, width), initialisation in product(networks, range(seeds)):
        row = base.iloc[0].to_dict() | {"depth": depth, "width": width, "seed": initialisation}
        for name in BOUNDARIES:
            side = rng.choice(np.array(CHOICES[censoring[name]], object))
            row[name] = np.nan if side else rng.choice(GRID[1:])
            row[f"{name}_censored"] = side or ""
        rows.append(row)
    return pd.DataFrame(rows)


class Dictated(Findings):
    """Findings whose constants a test dictates."""

    def __init__(self, constants):
        super().__init__(tables.runs(depths=(2,), widths=(8,), seeds=1), CONFIG)
        self.__dict__["_constants"] = constants


EXPERIMENTS = {
    "known": ([(4, 8), (4, 16), (4, 32), (4, 64)], dict.fromkeys(BOUNDARIES, "known")),
    "one_width": ([(4, 16)], dict.fromkeys(BOUNDARIES, "mixed")),
    "all_censored": ([(4, 8), (4, 16)], {"c_loss": "high", "c_sharp": "low", "c_max": "high"}),
    "mixed": ([(4, 8), (4, 16), (4, 32), (4, 64), (4, 128)], dict.fromkeys(BOUNDARIES, "mixed")),
    "pooled": ([(2, 8), (3, 16), (4, 64), (5, 64)], dict.fromkeys(BOUNDARIES, "mixed")),
    "depths": ([(2, 8), (3, 8), (4, 8)], {"c_loss": "mixed", "c_sharp": "low", "c_max": "known"}),
}


def phase_in_the_picture(ax, c, height):
    """The phase whose area holds a point."""
    areas = [phase for phase, area in zip(Phase, ax.collections, strict=True) if _holds(area, c, height)]
    assert len(areas) == 1, (c, height, areas)
    return areas[0]


def _holds(area, c, height):
    (path,) = area.get_paths()
    logarithmic = type(path)(np.log2(path.vertices), path.codes)  # as the axes show it
    return logarithmic.contains_point(np.log2([c, height]))


@pytest.mark.parametrize("seeds", [1, *(pytest.param(seeds, marks=pytest.mark.slow) for seeds in (2, 3, 4, 5))])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_area_phase_table_and_summary_agree_at_every_point_of_the_grid(name, seeds):
    networks, censoring = EXPERIMENTS[name]
    findings = Dictated(experiment(networks, seeds, censoring, seed=seeds))
    over = {"pooled": Over.RATIO, "depths": Over.DEPTH}.get(name, Over.WIDTH)
    (ax,) = PhaseDiagram(findings.summary, over=over).draw().axes
    entries = {(entry["depth"], entry["width"]): entry for entry in summary_json(findings.summary)}
    places = findings.summary.set_index(["depth", "width", "constant"])["boundary"]
    for depth, width in networks:
        height = {Over.WIDTH: 1 / width, Over.DEPTH: depth, Over.RATIO: depth / width}[over]
        edges = [_as_c(entries[depth, width][constant]) for constant in BOUNDARIES]
        assert edges == [places[depth, width, constant] for constant in BOUNDARIES]
        assert _in_text(_table(findings), [entries[depth, width][constant] for constant in BOUNDARIES])
        for c in GRID:
            assert findings.phase(c, depth, width) is classify(c, *edges)
            # The edge of an area is a line without width: beside it, on the side to which it belongs.
            inside = c * (1 - 1e-6) if c == edges[2] else c * (1 + 1e-6)
            if c == edges[2] and c in edges[:2]:
                continue  # its phase is this one point, which has no area
            if ax.get_xlim()[0] < inside < ax.get_xlim()[1]:
                assert phase_in_the_picture(ax, inside, height) is findings.phase(c, depth, width)


def _as_c(constant):
    """A boundary of summary.json as c."""
    return {"low": 0.0, "high": np.inf}.get(constant["boundary_censored"], constant["boundary"])


def _table(findings):
    """The console's table and the report's, as text."""
    console = Console(file=io.StringIO(), width=200)
    console.print(constants_summary(findings.summary))
    return console.file.getvalue(), constants_by_network(
        findings.summary, rates_of(findings.critical_constants(), findings.axis.rate)
    )


def _in_text(shown, constants):
    texts = [constant["boundary_censored"] or f"{constant['boundary']:.3g}" for constant in constants]
    return all(f"{text} (" in shown[0] and f"<td>{text}" in shown[1] for text in texts)


def test_markers_stand_where_the_edges_are():
    summary = summary_table(experiment(*_networks_and("mixed"), seed=3))
    (panel,) = panels_of(summary, None)
    shown = common_range([panel])
    areas = {area.phase: area for area in phase_areas(panel, shown)}
    for row in panel.rows[panel.rows["constant"] == "c_max"].itertuples():
        at = list(areas[Phase.DIVERGENT].heights).index(row.position)
        assert areas[Phase.DIVERGENT].left[at] == np.clip(row.boundary, *shown)


def _networks_and(censoring):
    return EXPERIMENTS["mixed"][0], 4, dict.fromkeys(BOUNDARIES, censoring)


def test_between_two_networks_edges_are_straight_in_log2_of_both_axes_and_beyond_them_they_go_on():
    summary = summary_table(experiment([(4, 8), (4, 64)], 1, dict.fromkeys(BOUNDARIES, "known"), seed=0))
    for width, c in ((8, 16.0), (64, 2.0)):
        summary.loc[(summary["constant"] == "c_max") & (summary["width"] == width), "boundary"] = c
        summary.loc[summary["constant"].isin(["c_loss", "c_sharp"]), "boundary"] = 1.0
    (panel,) = panels_of(summary, None)
    divergent = phase_areas(panel, common_range([panel]))[-1]
    at = np.interp(np.log2(1 / np.array([4.0, 8.0, 16.0, 64.0, 99.0])), np.log2(divergent.heights), divergent.left)
    np.testing.assert_allclose(2.0 ** np.interp(-4.0, np.log2(divergent.heights), np.log2(divergent.left)), 8.0)
    np.testing.assert_allclose(at[[0, 1, 3, 4]], [16.0, 16.0, 2.0, 2.0])


def test_the_areas_fill_the_panel_without_gap_or_overlap_also_where_boundaries_cross():
    summary = summary_table(experiment(*_networks_and("mixed"), seed=5))
    (ax,) = PhaseDiagram(summary).draw().axes
    rng = np.random.default_rng(0)
    (low, high), (bottom, top) = np.log2(ax.get_xlim()), np.log2(ax.get_ylim())
    for c, height in 2.0 ** rng.uniform((low, bottom), (high, top), (300, 2)):
        phase_in_the_picture(ax, c, height)


def test_networks_that_share_a_ratio_share_the_median_of_their_boundaries():
    summary = summary_table(experiment([(2, 8), (4, 16), (8, 32)], 1, dict.fromkeys(BOUNDARIES, "known"), seed=1))
    summary.loc[summary["constant"] == "c_max", "boundary"] = [2.0, 8.0, np.inf]
    summary.loc[summary["constant"].isin(["c_loss", "c_sharp"]), "boundary"] = 1.0
    (panel,) = panels_of(summary, Over.RATIO)
    assert set(phase_areas(panel, common_range([panel]))[-1].left) == {8.0}
    PhaseDiagram(summary, over=Over.RATIO).draw()


@pytest.mark.parametrize(("networks", "degree"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_the_degree_of_a_fit_follows_from_the_number_of_distinct_positions(networks, degree):
    shapes = [(depth, 8 * 2**k * depth) for k in range(networks) for depth in (1, 2, 3)]  # three networks at each d/w
    (panel,) = panels_of(summary_table(experiment(shapes, 1, dict.fromkeys(BOUNDARIES, "known"), 2)), Over.RATIO)
    assert {fit.degree() for fit in fitted_boundaries(panel).values()} == {degree}


def test_a_fit_is_not_drawn_on_through_networks_where_the_constant_is_censored():
    summary = summary_table(experiment(*_networks_and("known"), seed=2))
    censored = (summary["constant"] == "c_loss") & (summary["width"] == 32)
    summary.loc[censored, "boundary"] = np.inf
    (panel,) = panels_of(summary, None)
    lines = fitted_lines(panel)
    ends = [(line.heights[0], line.heights[-1]) for line in lines["c_loss"]]
    np.testing.assert_allclose(ends, [(1 / 128, 1 / 64), (1 / 16, 1 / 8)])
    assert len(lines["c_sharp"]) == 1


def test_a_fit_through_no_known_boundary_is_none():
    (panel,) = panels_of(summary_table(experiment(*_networks_and("low"), seed=0)), None)
    assert fitted_boundaries(panel) == fitted_lines(panel) == {}


def test_the_summary_of_censored_constants_is_json():
    assert json.dumps(summary_json(summary_table(experiment(*_networks_and("mixed"), seed=0))), allow_nan=False)

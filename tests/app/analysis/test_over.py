"""The findings of an experiment along one more axis, of made-up runs."""

import numpy as np
import pandas as pd
import pytest
import tables

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.over import OverFindings
from sharpness_phases.config.loading import load_config
from sharpness_phases.config.schema import variants
from sharpness_phases.errors import UserError
from sharpness_phases.views.pictures import PICTURES, phase_diagram, picture

SHAPE = ["sweep.depths=[2,4]", "sweep.widths=[8,16,32]", "sweep.seeds=3"]
GRID = "sweep.lr_exponents={start: 0, stop: 4, step: 0.5}"


def findings_over(axis, *overrides):
    """Made-up runs at each value; c_sharp falls along the axis."""
    config = load_config("quickstart", [*SHAPE, GRID, *overrides, f"sweep.over={axis}"])
    found = {}
    for place, (value, each) in enumerate(variants(config)):
        runs = tables.runs(c_sharp=6 - place)
        found[value] = Findings(runs.assign(run_id=runs["run_id"] + f"-{value}"), each)
    return OverFindings(found, config)


MOMENTUM = "{optimizer.momentum: [0.9, 0.0]}"


def test_every_table_has_the_axis_first_and_the_rows_of_all_values():
    found = findings_over(MOMENTUM)
    for table in (found.critical_constants(), found.summary, found.trajectories()):
        assert table.columns[0] == "optimizer.momentum"
        assert table["optimizer.momentum"].drop_duplicates().tolist() == [0.9, 0.0]
    summary = found.summary
    here = summary[(summary["optimizer.momentum"] == 0.0)].drop(columns="optimizer.momentum").reset_index(drop=True)
    pd.testing.assert_frame_equal(here, found.variants[0.0].summary)
    assert [entry["optimizer.momentum"] for entry in found.summary_json()] == [0.9] * 6 + [0.0] * 6


def test_the_edge_of_a_run_is_that_of_the_value_it_was_trained_at():
    found = findings_over(MOMENTUM)
    name = "4-8-0-0.5-whole"
    assert found.edge(f"{name}-0.9") == pytest.approx(1.9 * found.edge(f"{name}-0.0"))
    with pytest.raises(KeyError, match="No run 'nothing'"):
        found.edge("nothing")


def test_the_line_stands_where_all_values_have_their_edge_and_nowhere_else():
    assert findings_over(MOMENTUM).edge_constant == 2.0
    assert findings_over(MOMENTUM).axis.c_in_words == "2η/η_edge"
    older = findings_over("{training.momentum: [0.0, 0.5]}")
    assert np.isnan(older.edge_constant)
    assert older.axis.c_in_words == "ηλ₀"


@pytest.mark.slow
def test_the_diagram_has_a_panel_for_every_network_and_its_boundaries_at_the_values():
    found = findings_over("{optimizer.weight_decay: [0.0, 0.001, 10.0]}")
    figure = phase_diagram(found).draw()
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels[:2]] == ["depth 2, width 8", "depth 2, width 16"]
    assert len(panels) == 6
    for axes in panels:
        assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "0.001", "10"]
        markers = [line for line in axes.lines if line.get_marker() == "s"]
        assert sorted(float(line.get_xdata()[0]) for line in markers) == pytest.approx([2**2, 2**2.5, 2**3])
    with pytest.raises(ValueError, match=r"The vertical axis is optimizer\.weight_decay"):
        phase_diagram(found, "depth")


@pytest.mark.parametrize(
    ("axis", "overrides", "shown"),
    [
        ("{optimizer.warmup.steps: [0, 4]}", [], True),
        ("{training.warmup_steps: [0, 4]}", [], True),
        (MOMENTUM, ["sweep.search=exhaustive"], True),
        (MOMENTUM, [], False),
    ],
)
def test_the_final_loss_is_told_along_a_warm_up_and_where_the_whole_grid_is_trained_on(axis, overrides, shown):
    found = findings_over(axis, *overrides)
    (key,) = found.config.sweep.over
    assert found.shows_final_loss == shown
    assert [file.name for kind in PICTURES for file in kind.drawn(found)] == ["phase_diagram"] + ["final_loss"] * shown
    table = found.final_loss()
    assert table.columns[0] == key
    assert len(table) == 2 * len(found.variants[table[key][0]].final_loss()) == 2 * 6 * 3 * 8
    assert np.isposinf(table["final_loss"]).sum() == 2 * 6 * 3
    best = found.best_rates()
    assert len(best) == (12 if shown else 0)
    if not shown:
        with pytest.raises(UserError, match=r"final loss of most runs is not known; run with sweep\.search"):
            picture(found, "final_loss")


def test_a_phase_needs_a_value():
    found = findings_over(MOMENTUM)
    with pytest.raises(ValueError, match=r"depends on optimizer\.momentum: ask variants\[value\]"):
        found.phase(2.0, 2, 8)
    assert found.variants[0.9].phase(0.5, 2, 8)


def test_without_an_axis_there_is_nothing_to_join():
    config = load_config("quickstart", [*SHAPE, GRID])
    with pytest.raises(ValueError, match=r"needs `sweep\.over`"):
        OverFindings({1: Findings(tables.runs(), config)}, config)

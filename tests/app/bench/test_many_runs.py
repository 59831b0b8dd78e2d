import pytest

from sharpness_phases.analyzer import PhaseAnalyzer
from sharpness_phases.bench.many_runs import make_up
from sharpness_phases.runs.spec import cells
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.cell_sweep import CellSweep


@pytest.mark.long
def test_made_up_runs_are_a_complete_experiment_in_packs(tmp_path):
    config, count = make_up(tmp_path, 1600)
    assert 1000 < count < 2500
    store = RunStore(tmp_path / "runs")
    assert len(list((tmp_path / "runs").glob("pack-*.parquet"))) == 1
    assert len(store) == count
    for cell in cells(config):
        CellSweep(config, cell, store, compute=False).complete()
    table = PhaseAnalyzer.load(tmp_path).critical_constants()
    assert len(table) == len(cells(config))
    assert (table["c_loss"] <= table["c_sharp"]).all()
    assert (table["c_sharp"] <= table["c_max"]).all()

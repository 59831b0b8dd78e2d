"""Long work is told of beforehand, short work is not looked at for long."""

import sys

import pytest
from tiny import TINY

from sharpness_phases.experiment import Experiment
from sharpness_phases.sweep import forecast
from sharpness_phases.sweep.cost import estimate


def experiment(folder, *overrides):
    return Experiment.from_config("quickstart", [*TINY, "sweep.widths=[8]", "tensorboard=false", *overrides], folder)


def test_short_work_is_not_told_of_and_nothing_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "estimate", lambda config, rate: estimate(config, rate or pytest.fail("timed")))
    assert experiment(tmp_path).long_work() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_long_work_takes_what_the_plan_says(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "estimate", lambda config, rate=None: estimate(config, 1e11))
    long = experiment(tmp_path, "sweep.seeds=80000")
    planned = sum(cost.seconds for cost in estimate(long.config, 1e11))
    assert long.long_work() == pytest.approx(planned)
    assert long.long_work((1, 2)) == pytest.approx(planned / 2)


@pytest.mark.slow
def test_only_what_is_missing_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "LONG", 0.0)
    done = experiment(tmp_path)
    assert done.long_work() > 0
    done.run()
    assert done.long_work() is None
    assert done.long_work(fresh=True) > 0
    one_more = experiment(tmp_path, "sweep.seeds=3").long_work()
    assert 0 < one_more < done.long_work(fresh=True)


def test_tasks_of_a_cluster_are_not_foretold(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sharpness_phases.sweep.forecast", None)  # an import of it would fail
    assert experiment(tmp_path, "executor.kind=ray", "sweep.seeds=20000").long_work() is None


@pytest.mark.slow
def test_runs_of_another_search_do_not_count_as_done(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "LONG", 0.0)
    one = "sweep.seeds=1"
    experiment(tmp_path, one).run()
    assert experiment(tmp_path, one, "sweep.search=exhaustive").long_work() > 0
    assert experiment(tmp_path, one, "analysis.saturation=true").long_work() > 0

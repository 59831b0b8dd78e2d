"""Cells on a real Ray cluster of two nodes on this machine."""

import threading
import time

import psutil
import pytest
from tiny import TINY

from sharpness_phases import Experiment
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError
from sharpness_phases.runs.spec import cells
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep import ray_executor
from sharpness_phases.sweep.cell_sweep import CellSweep
from sharpness_phases.sweep.executors import build_executor

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

NAMES = ["depth", "width", "seed", "c_loss", "c_sharp", "c_max"]
RAY = [*TINY, "sweep.seeds=8", "executor={kind: ray, address: auto}", "tensorboard=false"]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    return Experiment.from_config("quickstart", [*RAY, "executor={}"], folder).run().critical_constants()


class Watching:
    """Counts cells, and does something when some are finished."""

    def __init__(self, actions=()):
        self.computed, self._actions = [], dict(actions)

    def started(self, cells): ...

    def finished(self, cell, runs):
        self.computed.append(runs)
        self._actions.pop(len(self.computed), lambda: None)()


def kill_a_worker():
    """As the kernel does when memory is short: a process that computes a cell, within it."""
    for _ in range(200):
        found = [p for p in psutil.process_iter(["name"]) if (p.info["name"] or "").startswith("ray::carry_out")]
        if found:
            found[0].kill()
            return
        time.sleep(0.05)
    pytest.fail("no worker was at work")


def test_cells_of_killed_workers_and_lost_nodes_are_carried_out_elsewhere(cluster, serial, tmp_path):
    lose = threading.Thread(target=cluster.remove_node, args=(cluster.second, False))
    progress = Watching({1: kill_a_worker, 3: lose.start})
    analyzer = Experiment.from_config("quickstart", RAY, tmp_path).run(progress)
    lose.join()
    assert len(progress.computed) == 16
    deadline = time.monotonic() + 60
    while sum(node["Alive"] for node in ray.nodes()) > 1:
        assert time.monotonic() < deadline, "the node is still there"
        time.sleep(0.2)
    found = analyzer.critical_constants()
    assert found[NAMES].equals(serial[NAMES])
    assert found["lambda_0"].tolist() == pytest.approx(serial["lambda_0"].tolist(), rel=1e-4)
    again = Watching()
    Experiment.from_config("quickstart", RAY, tmp_path).run(again)
    assert again.computed == [0] * 16


def test_workers_write_to_a_shared_folder_themselves(cluster, serial, tmp_path):
    overrides = [*RAY, "executor.store=shared", "sweep.seeds=1"]
    experiment = Experiment.from_config("quickstart", overrides, tmp_path)
    found = experiment.run().critical_constants()
    assert found[NAMES].equals(serial[serial["seed"] == 0][NAMES].reset_index(drop=True))


def test_a_folder_that_the_workers_do_not_share_is_told(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(RunStore, "find", lambda self, run_id: None)  # here; workers are other processes
    experiment = Experiment.from_config("quickstart", [*RAY, "executor.store=shared", "sweep.seeds=1"], tmp_path)
    with pytest.raises(UserError, match=r"executor.store: shared needs a folder that every node sees"):
        experiment.run()


def test_a_users_error_of_a_worker_is_told_as_at_home(cluster, tmp_path):
    experiment = Experiment.from_config("quickstart", [*RAY, "model.output_scale=1e-45"], tmp_path / "new")
    with pytest.raises(UserError, match=r"^The initial sharpness of d2_w"):
        experiment.run()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("asked", ["cpus_per_run: 64.0", "gpus_per_run: 0.5"])
def test_what_no_node_has_is_refused_before_it_waits_for_ever(asked, cluster, tmp_path):
    config = load_config("quickstart", [*RAY, f"executor={{kind: ray, {asked}}}"])
    with pytest.raises(UserError, match=rf"executor.{asked.split(':')[0]}: must be at most"):
        list(build_executor(config).run(config, cells(config), RunStore(tmp_path)))


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    config = load_config("quickstart", RAY)
    with pytest.raises(UserError, match=r"sharpness-phases\[ray\]"):
        list(build_executor(config).run(config, cells(config), RunStore(tmp_path)))


@pytest.mark.parametrize("shared", [False, True], ids=["sent back", "written"])
def test_a_task_completes_its_cell_and_reports(shared, tmp_path):
    config = load_config("quickstart", RAY)
    cell, folder = cells(config)[0], tmp_path / "runs" if shared else None
    report = ray_executor.carry_out(config, cell, folder, {}, cpus=1.0)
    store = RunStore(tmp_path / "runs", writable=True)
    for written in report.written:
        store.write(*written)
    store.refresh()
    CellSweep(config, cell, store, compute=False).complete()
    assert report.computed == len(store)
    known = {name: store.find(name) for name in store.table()["run_id"].unique()}
    assert ray_executor.carry_out(config, cell, folder, known, cpus=1.0).computed == 0


def test_what_a_worker_logs_is_in_its_report(monkeypatch):
    import logging

    def complete(self):
        logging.getLogger("sharpness_phases.sweep.simulator").warning("Out of %s", "memory")

    monkeypatch.setattr(CellSweep, "complete", complete)
    config = load_config("quickstart", RAY)
    assert ray_executor.carry_out(config, cells(config)[0], None, {}, cpus=1.0).messages == ["Out of memory"]


def test_relative_paths_mean_the_same_in_a_workers_folder():
    config = load_config("quickstart", ["data.data_dir=here"])
    assert ray_executor.with_absolute_paths(config).data.data_dir.startswith("/")

"""Several processes on one experiment."""

import re

import pytest
from command_line import overridden, phases, phases_here, start
from tiny import TINY

from sharpness_phases import Experiment
from sharpness_phases.store.runs import RunStore

RUN = ["run", "quickstart", *overridden([*TINY, "tensorboard=false"])]
TABLES = ("critical_constants.csv", "summary.json")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharing") / "undisturbed"
    Experiment.from_config("quickstart", [*TINY, "tensorboard=false"], folder).run()
    return folder


def assert_same_tables(folder, other):
    for name in TABLES:
        assert (folder / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.slow
def test_two_processes_share_the_work_and_compute_no_run_twice(undisturbed, tmp_path):
    processes = [start(*RUN, "--output", "shared", folder=tmp_path) for _ in range(2)]
    messages = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], messages
    computed = sum(int(count) for text in messages for count in re.findall(r": (\d+) new runs", text))
    store = RunStore(tmp_path / "shared" / "runs")
    assert computed == len(store) == len(RunStore(undisturbed / "runs"))
    table = store.table()
    assert not table.duplicated(["run_id", "step"]).any()
    assert_same_tables(tmp_path / "shared", undisturbed)


@pytest.mark.long
def test_shards_are_disjoint_and_analyze_joins_them(undisturbed, tmp_path):
    ids = []
    for share in ("1/2", "2/2"):
        result = phases(*RUN, "--output", "shared", "--shard", share, folder=tmp_path)
        assert result.returncode == 0
        assert f"Shard {share} is complete: 2 networks. When all are: phases analyze shared" in result.stdout
        assert not (tmp_path / "shared" / "summary.json").exists()
        ids.append({path.name for path in (tmp_path / "shared" / "runs").iterdir()})
    assert ids[0] < ids[1]
    assert phases("analyze", "shared", folder=tmp_path).returncode == 0
    assert_same_tables(tmp_path / "shared", undisturbed)


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_has_status_2(share, tmp_path):
    result = phases_here(*RUN, "--shard", share, folder=tmp_path)
    assert result.returncode == 2
    assert "must be i/n with 1 <= i <= n" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_fresh_waits_for_nobody_and_takes_nothing_from_others(undisturbed, tmp_path):
    from sharpness_phases.store.claims import Claims

    (tmp_path / "shared").mkdir()
    with Claims(tmp_path / "shared"):
        result = phases(*RUN, "--output", "shared", "--fresh", folder=tmp_path)
    assert result.returncode == 2
    assert "another process is running this experiment" in result.stderr
    assert phases(*RUN, "--fresh", "--shard", "1/2", folder=tmp_path).returncode == 2

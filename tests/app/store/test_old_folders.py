"""A folder with damaged files, files of another version and files with other columns, as the commands treat it."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import phases
from tiny import TINY

from sharpness_phases import Experiment, PhaseAnalyzer
from sharpness_phases.store.records import write_table

pytestmark = pytest.mark.usefixtures("kept_networks")

ONE = [*TINY, "sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "mine"
    Experiment.from_config("quickstart", ONE, folder).run_shard((1, 1))
    return folder


@pytest.fixture
def old(finished, tmp_path):
    """A copy: the first run is damaged, the second of another version, the others lack a column and have one more."""
    folder = tmp_path / "mine"
    shutil.copytree(finished, folder)
    damaged, other, *rest = sorted((folder / "runs").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-50])
    table = pq.read_table(other)
    pq.write_table(table.replace_schema_metadata({b"sharpness-phases.schema": b"2"}), other)
    for path in rest:
        table = pq.read_table(path)
        note = pa.array(["kept"] * table.num_rows)
        write_table(table.drop_columns(["barrier"]).append_column("note", note), path)
    return folder


def runs(folder):
    return {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}


def test_reading_moves_and_writes_no_run_and_says_what_it_leaves_out(old, finished, caplog):
    before = runs(old)
    analyzer = PhaseAnalyzer.load(old)
    assert analyzer.runs["run_id"].nunique() == len(before) - 2
    assert set(analyzer.runs["note"]) == {"kept"}
    assert analyzer.runs["barrier"].isna().all()
    Experiment.open(old).analyze()
    assert runs(old) == before
    assert not (old / "damaged").exists()
    assert "cannot be used" in caplog.text
    assert "schema version '2'" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("command", [["analyze"], ["plot", "--kind", "trajectories"]], ids=["analyze", "plot"])
def test_commands_that_read_move_and_write_no_run(command, old):
    before = runs(old)
    done = phases(*command, old, folder=old.parent)
    assert done.returncode == 0, done.stderr
    assert runs(old) == before
    assert not (old / "damaged").exists()
    assert done.stderr.count("schema version '2'") == 1


@pytest.mark.slow
def test_running_again_computes_what_cannot_be_used_and_loses_no_file(old, finished):
    damaged, other, *_ = sorted(before := runs(old))
    found = Experiment.open(old).run().critical_constants()
    assert found.equals(PhaseAnalyzer.load(finished).critical_constants())
    assert {path.name: path.read_bytes() for path in (old / "damaged").iterdir()} == {
        name: before[name] for name in (damaged, other)
    }
    after = runs(old)
    assert after.keys() == before.keys()
    assert all(after[name] == runs(finished)[name] for name in (damaged, other))
    assert all(after[name] == before[name] for name in after.keys() - {damaged, other})

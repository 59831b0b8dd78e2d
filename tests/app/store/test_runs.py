import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import LABELS, run

import sharpness_phases.store.records as records
import sharpness_phases.store.runs as runs
from sharpness_phases.runs.identity import run_id
from sharpness_phases.store.records import SCHEMA
from sharpness_phases.store.runs import RunStore


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs", writable=True)


def test_a_run_is_read_back_exactly(store):
    written = run(diverged=True)
    store.write("a", LABELS, written)
    read = store.find("a")
    for name in ("loss", "accuracy", "sharpness", "residual", "hvps"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert read.diverged is True


def test_a_run_opens_in_pandas_with_the_promised_columns(store):
    store.write("a", LABELS, run())
    table = pd.read_parquet(store.folder / "a.parquet")
    promised = (
        "run_id family dataset loss_name depth width seed lr_exponent c learning_rate step "
        "loss accuracy sharpness hvps diverged"
    )
    assert set(promised.split()) <= set(table.columns)
    assert table["loss"].dtype == table["sharpness"].dtype == np.float64
    assert table["step"].tolist() == list(range(11))


def test_a_store_finds_what_an_earlier_one_wrote(store):
    store.write("a", LABELS, run())
    again = RunStore(store.folder)
    assert "a" in again
    assert "b" not in again
    assert len(again) == 1


def test_a_write_that_fails_leaves_no_run_and_no_rubbish(store, monkeypatch):
    def fail(table, path, **options):
        path.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(records.pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write("a", LABELS, run())
    assert "a" not in store
    assert list(store.folder.iterdir()) == []


def test_an_unfinished_file_of_a_killed_process_is_not_a_run(store):
    store.write("a", LABELS, run())
    (store.folder / ".unfinished-01234567-b.parquet").write_bytes(b"half")
    assert len(RunStore(store.folder)) == 1


def test_an_absent_run_is_not_found(store):
    assert store.find("a") is None


def test_the_table_is_sorted_whatever_the_order_of_writing(store):
    for seed, exponent in ((1, 0.1), (0, 0.2), (0, 0.1)):
        store.write(f"{seed}-{exponent}", LABELS | {"seed": seed, "lr_exponent": exponent}, run())
    table = store.table().drop_duplicates("run_id")
    assert list(zip(table["seed"], table["lr_exponent"], strict=True)) == [(0, 0.1), (0, 0.2), (1, 0.1)]


def test_an_empty_store_gives_an_empty_table(store):
    assert list(store.table().columns) == SCHEMA.names
    assert store.table().empty


def test_a_run_id_depends_on_values_and_not_on_their_order():
    assert run_id({"a": 1, "b": [2, 3]}) == run_id({"b": [2, 3], "a": 1})
    assert run_id({"a": 1}) != run_id({"a": 2})
    assert run_id({"a": 1}) != run_id({"a": 1.5})


def written(store, count, start=0):
    """Runs with equal trajectories but for one number, and their table."""
    for seed in range(start, start + count):
        trajectory = replace(run(), barrier=float(seed))
        store.write(f"{seed:024x}", LABELS | {"seed": seed}, trajectory)
    return store.table()


def files(store):
    return sorted(path.name for path in store.folder.iterdir())


def test_many_runs_are_packed_and_read_as_before(store):
    table = written(store, 25)
    store.pack(enough=20)
    (pack,) = files(store)
    assert pack.startswith("pack-")
    for each in (store, RunStore(store.folder)):
        assert len(each) == 25
        assert each.find(f"{7:024x}").barrier == 7.0
        pd.testing.assert_frame_equal(each.table(), table)


def test_few_runs_are_left_alone(store):
    written(store, 5)
    before = files(store)
    store.pack(enough=6)
    assert files(store) == before


def test_a_pack_holds_so_many_runs_at_most(store, monkeypatch):
    monkeypatch.setattr(runs, "PACK_SIZE", 10)
    table = written(store, 25)
    store.pack(enough=20)
    packs = [name for name in files(store) if name.startswith("pack-")]
    assert [pd.read_parquet(store.folder / name)["run_id"].nunique() for name in packs] == [10, 10]
    assert len(files(store)) == 2 + 5
    pd.testing.assert_frame_equal(RunStore(store.folder).table(), table)


def test_packing_that_was_cut_off_doubles_no_row_and_is_finished_later(store):
    table = written(store, 4)
    singles = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    store.pack(enough=1)
    for name, content in list(singles.items())[:2]:
        (store.folder / name).write_bytes(content)
    again = RunStore(store.folder, writable=True)
    pd.testing.assert_frame_equal(again.table(), table)
    again.pack(enough=1)
    assert len(files(again)) == 1


def test_runs_that_are_in_two_packs_are_there_once(store, tmp_path):
    table = written(store, 4)
    other = RunStore(tmp_path / "other", writable=True)
    written(other, 2)
    for each in (store, other):
        each.pack(enough=1)
    (pack,) = files(other)
    (store.folder / pack).write_bytes((other.folder / pack).read_bytes())
    pd.testing.assert_frame_equal(RunStore(store.folder).table(), table)


def test_a_reader_finds_runs_that_another_process_has_packed_meanwhile(store):
    table = written(store, 4)
    reader = RunStore(store.folder)
    store.pack(enough=1)
    assert reader.find(f"{2:024x}").barrier == 2.0
    reader = RunStore(store.folder)
    written(store, 3, start=4)
    reader.refresh()
    store.pack(enough=1)
    pd.testing.assert_frame_equal(reader.table().query("seed < 4"), table)
    assert len(reader.table()["run_id"].unique()) == 7


def test_a_store_sees_what_others_wrote_when_it_looks_again(store):
    reader = RunStore(store.folder)
    store.write("a", LABELS, run())
    assert reader.find("a") is None
    reader.refresh()
    assert reader.find("a") is not None


@pytest.mark.parametrize("cut_off", [False, True], ids=["at once", "after an earlier packing was cut off"])
def test_no_runs_own_file_is_removed_before_its_pack_is_on_the_disk(cut_off, store, monkeypatch):
    """A power cut loses what is in memory alone: what was removed must be in a file that was waited for."""
    written(store, 4)
    if cut_off:
        singles = {path.name: path.read_bytes() for path in store.folder.iterdir()}
        store.pack(enough=1)
        for name, content in singles.items():
            (store.folder / name).write_bytes(content)
        store = RunStore(store.folder, writable=True)
    safe, removed, fsync, unlink = [], [], os.fsync, Path.unlink

    def noting(descriptor):
        safe.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def removing(path, missing_ok=False):
        if path.suffix == ".parquet" and not path.name.startswith("."):
            removed.append(path.name)
            (pack,) = (inode for name, inode in inodes(store.folder).items() if name.startswith("pack-"))
            assert pack in safe
            assert store.folder.stat().st_ino in safe[safe.index(pack) :]
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(Path, "unlink", removing)
    store.pack(enough=1)
    assert len(removed) == 4


def inodes(folder):
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def test_two_that_pack_one_folder_at_once_lose_no_run(store):
    """As happens where locks are refused."""
    table = written(store, 40)
    stores = [RunStore(store.folder, writable=True) for _ in range(2)]
    threads = [threading.Thread(target=each.pack, kwargs={"enough": 1}) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pd.testing.assert_frame_equal(RunStore(store.folder).table(), table)

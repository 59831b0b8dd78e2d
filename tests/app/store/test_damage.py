"""Damaged and foreign files: noticed and named, set aside by who writes, left alone by who reads; the rest goes on."""

import errno
import itertools
import os
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import LABELS, run

from sharpness_phases.store import records
from sharpness_phases.store.records import DamagedFile, digest, read_table
from sharpness_phases.store.runs import RunStore

NAME, OTHER = "0" * 24, "1" * 24


@pytest.fixture
def store(tmp_path):
    store = RunStore(tmp_path / "runs", writable=True)
    for name in (NAME, OTHER):
        store.write(name, LABELS, run(diverged=True))
    return store


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def no_parquet(path):
    path.write_text("run_id,loss\n1,2\n")


def foreign(path):
    pq.write_table(pa.table({"run_id": [NAME], "loss": [1.0]}), path)


def with_another_type(path):
    table = read_table(path)
    index = table.column_names.index("loss")
    pq.write_table(table.set_column(index, "loss", table["loss"].cast("float")), path)


def with_a_name_damaged(path):
    """One of the places where a column's name stands; the file could be taken for one that lacks the column."""
    first, name, rest = path.read_bytes().partition(b"barrier")
    path.write_bytes(first + b"carrier" + rest)


def without_rows(path):
    pq.write_table(read_table(path).slice(0, 0), path)


def of_another_run(path):
    path.write_bytes((path.parent / f"{OTHER}.parquet").read_bytes())


def with_a_value_changed(path):
    """Rewritten by another program: all checksums of pages are right."""
    table = read_table(path)
    metadata = pq.read_schema(path).metadata
    loss = table["loss"].to_numpy() + np.float64(1e-9)
    changed = table.set_column(table.column_names.index("loss"), "loss", [loss])
    pq.write_table(changed.replace_schema_metadata(metadata), path, write_page_checksum=True)


def rewritten_by_another_program(path):
    """With the right values, as pandas writes them: nothing tells that they are right."""
    pd.read_parquet(path).to_parquet(path)


def without_its_digest(path):
    """Of our own schema: every version of it writes a digest."""
    metadata = {b"sharpness-phases.schema": records.VERSION.encode()}
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)


def a_link_in_a_circle(path):
    path.unlink()
    path.symlink_to(path.name)


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


WAYS = {
    truncated: "",
    emptied: "",
    no_parquet: "",
    foreign: "other columns than those of a run: no depth, no width",
    with_another_type: "other columns than those of a run: loss of type float",
    with_a_name_damaged: "two names for one column",
    without_rows: "no rows",
    of_another_run: "the file of another run",
    with_a_value_changed: "other values than were written",
    rewritten_by_another_program: "no digest of its values",
    without_its_digest: "no digest of its values",
}
NO_FILES = {
    a_link_in_a_circle: "Too many levels of symbolic links",
    a_folder: "no file, but something else of its name",
    a_pipe: "no file, but something else of its name",
}


@pytest.mark.parametrize("writable", [True, False], ids=["writing", "reading"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_damaged_file_is_named_and_counts_as_absent_and_only_who_writes_sets_it_aside(way, writable, store, caplog):
    path = store.folder / f"{NAME}.parquet"
    way(path)
    content = path.read_bytes()
    again = RunStore(store.folder, writable)
    assert again.find(NAME) is None
    assert NAME not in again
    assert again.find(OTHER) is not None
    assert set(again.table()["run_id"]) == {OTHER}
    place = store.folder.parent / "damaged" / path.name if writable else path
    assert place.read_bytes() == content
    assert path.exists() is not writable
    assert str(path) in caplog.text
    assert WAYS[way] in caplog.text
    assert caplog.text.count("cannot be used") == 1


@pytest.mark.parametrize("writable", [True, False], ids=["writing", "reading"])
@pytest.mark.parametrize("name", [f"{NAME}.parquet", "pack-0123.parquet"])
@pytest.mark.parametrize("way", NO_FILES, ids=lambda way: way.__name__)
def test_what_is_no_file_is_neither_waited_for_nor_asked_again_and_again(way, name, writable, store, caplog):
    (store.folder / name).touch()
    way(store.folder / name)
    again = RunStore(store.folder, writable)
    again.find(NAME)
    assert OTHER in set(again.table()["run_id"])
    assert NO_FILES[way] in caplog.text
    assert caplog.text.count("cannot be used") == 1
    assert os.path.lexists(store.folder / name) is not writable


@pytest.mark.parametrize("writable", [True, False], ids=["writing", "reading"])
def test_a_pack_without_a_digest_counts_as_absent_before_it_is_read(writable, store):
    store.pack(enough=1)
    (pack,) = store.folder.iterdir()
    without_its_digest(pack)
    assert len(RunStore(store.folder, writable)) == 0


@pytest.mark.parametrize("writable", [True, False], ids=["writing", "reading"])
def test_a_name_that_stays_stale_ends_in_words_and_not_in_a_loop(writable, store, monkeypatch, caplog):
    read = records.pq.ParquetFile

    def stale(path, **options):
        if path.stem == NAME:
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(path, **options)

    monkeypatch.setattr(records.pq, "ParquetFile", stale)
    again = RunStore(store.folder, writable)
    assert again.find(NAME) is None
    assert set(again.table()["run_id"]) == {OTHER}
    assert caplog.text.count("cannot be used") == 1


def test_a_name_that_comes_and_goes_ends_the_search_for_it(store, monkeypatch):
    """As an entry of a folder on a network does, which one listing has and the next has not."""
    again, turn = RunStore(store.folder), itertools.count()
    names = [path.name for path in store.folder.iterdir()]
    (store.folder / f"{NAME}.parquet").unlink()
    monkeypatch.setattr(os, "listdir", lambda folder: names if next(turn) % 2 else [f"{OTHER}.parquet"])
    assert again.find(NAME) is None
    assert set(again.table()["run_id"]) == {OTHER}
    assert next(turn) < 20


def test_a_store_that_was_opened_for_reading_writes_nothing(store):
    reader = RunStore(store.folder)
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    for write in (lambda: reader.write("2" * 24, LABELS, run()), lambda: reader.pack(enough=1)):
        with pytest.raises(OSError, match="opened for reading"):
            write()
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


def test_a_damaged_file_that_a_reader_left_is_set_aside_when_its_run_is_written(store):
    path = store.folder / f"{NAME}.parquet"
    truncated(path)
    content = path.read_bytes()
    again = RunStore(store.folder, writable=True)
    again.write(NAME, LABELS, run())
    assert again.find(NAME) is not None
    assert (store.folder.parent / "damaged" / path.name).read_bytes() == content


def test_the_table_notices_damage_too(store):
    truncated(store.folder / f"{NAME}.parquet")
    assert set(RunStore(store.folder).table()["run_id"]) == {OTHER}


def test_a_second_damaged_file_of_the_same_name_is_kept_too(store):
    for _ in range(2):
        again = RunStore(store.folder, writable=True)
        again.write(NAME, LABELS, run())
        truncated(store.folder / f"{NAME}.parquet")
        assert again.find(NAME) is None
    assert len(list((store.folder.parent / "damaged").iterdir())) == 2


@pytest.mark.parametrize("writable", [True, False], ids=["writing", "reading"])
def test_a_damaged_pack_is_set_aside_whole_or_left_out_whole(writable, store):
    store.pack(enough=1)
    (pack,) = store.folder.iterdir()
    truncated(pack)
    again = RunStore(store.folder, writable)
    assert len(again) == 0
    assert again.table().empty
    assert (store.folder.parent / "damaged" / pack.name).exists() is writable
    assert pack.exists() is not writable


def test_a_pack_that_is_damaged_after_it_was_seen_is_set_aside_when_it_is_read(store):
    store.pack(enough=1)
    (pack,) = store.folder.iterdir()
    again = RunStore(store.folder, writable=True)
    truncated(pack)
    assert again.find(NAME) is None
    assert OTHER not in again
    assert (store.folder.parent / "damaged" / pack.name).exists()


@pytest.mark.parametrize("writable", [True, False], ids=["writing", "reading"])
@pytest.mark.parametrize("name", [f"{NAME}.parquet", "pack-0123.parquet"])
def test_a_name_that_is_listed_and_leads_nowhere_is_told_and_counts_as_absent(name, writable, store, caplog):
    (store.folder / name).unlink(missing_ok=True)
    (store.folder / name).symlink_to(store.folder / "nowhere")
    again = RunStore(store.folder, writable)
    assert (again.find(NAME) is None) is (name == f"{NAME}.parquet")
    assert OTHER in set(again.table()["run_id"])
    assert "it is listed, but there is no such file" in caplog.text
    assert (store.folder / name).is_symlink() is not writable


def flips(path, count, seed):
    """Read a file with one bit flipped, again and again, and count how often that was noticed."""
    original, expected = path.read_bytes(), digest(read_table(path))
    chooser, noticed = random.Random(seed), 0
    for _ in range(count):
        damaged = bytearray(original)
        damaged[chooser.randrange(len(damaged))] ^= 1 << chooser.randrange(8)
        path.write_bytes(damaged)
        try:
            assert digest(read_table(path)) == expected, "a flipped bit has changed values unnoticed"
        except DamagedFile:
            noticed += 1
    path.write_bytes(original)
    return noticed


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_no_flipped_bit_changes_a_value_unnoticed(store, count, figure):
    noticed = flips(store.folder / f"{NAME}.parquet", count, seed=count)
    figure(f"{count} flipped bits: {noticed} noticed, the others changed no value")
    assert noticed > count // 3


@pytest.mark.parametrize("failure", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_a_machine_that_gives_out_does_not_make_a_file_damaged(store, failure, monkeypatch):
    def fail(*arguments, **options):
        raise failure

    monkeypatch.setattr(records.pq, "ParquetFile", fail)
    with pytest.raises(type(failure)):
        store.find(NAME)
    monkeypatch.undo()
    assert store.find(NAME) is not None
    assert not store.folder.with_name("damaged").exists()


def test_a_file_that_another_machine_has_just_removed_is_not_damaged(store, monkeypatch):
    path = store.folder / f"{NAME}.parquet"

    def stale(*arguments, **options):
        path.unlink()
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(records.pq, "ParquetFile", stale)
    assert store.find(NAME) is None
    assert not store.folder.with_name("damaged").exists()

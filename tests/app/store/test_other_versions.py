"""Folders of other versions: unknown columns are kept, missing ones are empty, files of other schemas left alone."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import LABELS, run

from sharpness_phases.runs.trajectory import COLUMNS, PER_RUN, PER_STEP, Trajectory
from sharpness_phases.store.records import SCHEMA, digest, read_table, to_table, write_table
from sharpness_phases.store.runs import RunStore

OLD, NEW, PLAIN = "0" * 24, "1" * 24, "2" * 24


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs", writable=True)


def place(store, name):
    return store.folder / f"{name}.parquet"


def as_written(name, seed=0):
    return to_table(name, LABELS | {"seed": seed}, run())


def an_old_and_a_new_run(store):
    """A run without two of today's columns, one with two of tomorrow's, and one of today."""
    store.folder.mkdir(parents=True)
    write_table(as_written(OLD).drop_columns(["barrier", "residual"]), place(store, OLD))
    new = as_written(NEW, seed=1)
    spectrum = pa.array([[float(i), -0.0, np.nan] for i in range(new.num_rows)])
    write_table(
        new.append_column("spectrum", spectrum).append_column("optimizer", pa.array(["sgd"] * new.num_rows)),
        place(store, NEW),
    )
    write_table(as_written(PLAIN, seed=2), place(store, PLAIN))


def of_version(path, version):
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"sharpness-phases.schema": version.encode()}), path)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_attribute_of_a_trajectory_is_a_column_and_every_column_has_its_type():
    assert {*PER_STEP, *PER_RUN} == {field.name for field in fields(Trajectory)}
    table = to_table(PLAIN, LABELS, run())
    assert table.column_names == [column.name for column in COLUMNS] == SCHEMA.names
    kinds = {str: "string", int: "int64", float: "double", bool: "bool"}
    assert [str(field.type) for field in table.schema] == [kinds[column.type] for column in COLUMNS]


def test_missing_columns_are_empty_and_unknown_ones_are_kept(store, caplog):
    an_old_and_a_new_run(store)
    table = RunStore(store.folder).table()
    assert list(table.columns) == [*SCHEMA.names, "spectrum", "optimizer"]
    by_run = dict(list(table.groupby("run_id")))
    assert by_run[OLD][["barrier", "residual"]].isna().all(axis=None)
    assert by_run[OLD]["loss"].tolist() == run().loss.tolist()
    assert by_run[NEW]["optimizer"].tolist() == ["sgd"] * 11
    assert [values.tolist()[:2] for values in by_run[NEW]["spectrum"]] == [[i, 0.0] for i in range(11)]
    assert by_run[PLAIN][["spectrum", "optimizer"]].isna().all(axis=None)
    assert not caplog.records


def test_a_run_without_some_columns_is_found_like_any_other(store):
    an_old_and_a_new_run(store)
    again = RunStore(store.folder)
    for name in (OLD, NEW):
        found = again.find(name)
        np.testing.assert_array_equal(found.loss, run().loss)
        assert found.hvps.dtype == np.int64
        assert np.isnan(found.barrier)
    assert np.isnan(again.find(OLD).residual).all()


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.missing is not None], ids=lambda c: c.name)
def test_every_column_that_may_be_missing_is_read_as_its_empty_value(column, store):
    store.folder.mkdir(parents=True)
    write_table(as_written(PLAIN).drop_columns([column.name]), place(store, PLAIN))
    values = read_table(place(store, PLAIN))[column.name].to_numpy()
    np.testing.assert_array_equal(values, np.full(11, column.missing, values.dtype))


def test_files_of_different_columns_are_packed_and_lose_none(store):
    an_old_and_a_new_run(store)
    before = RunStore(store.folder).table()
    store.pack(enough=1)
    assert [path.name[:5] for path in store.folder.iterdir()] == ["pack-"]
    pd.testing.assert_frame_equal(RunStore(store.folder).table(), before)
    assert RunStore(store.folder).find(NEW) is not None


def test_an_unknown_column_of_several_types_is_kept(store):
    store.folder.mkdir(parents=True)
    for name, values in ((OLD, [1] * 11), (NEW, [0.5] * 11), (PLAIN, [[1, 2]] * 11)):
        write_table(as_written(name).append_column("note", pa.array(values)), place(store, name))
    store.pack(enough=1)
    (pack,) = store.folder.iterdir()
    assert set(pd.read_parquet(pack)["note"]) == {"1", "0.5", "[1, 2]"}


def test_a_changed_value_of_an_unknown_column_is_noticed(store, caplog):
    an_old_and_a_new_run(store)
    table = pq.read_table(place(store, NEW))
    changed = table.set_column(table.column_names.index("optimizer"), "optimizer", pa.array(["adam"] * 11))
    pq.write_table(changed, place(store, NEW))
    assert RunStore(store.folder).find(NEW) is None
    assert "other values than were written" in caplog.text


def test_null_which_other_programs_write_for_nan_is_read_as_nan(store):
    store.folder.mkdir(parents=True)
    table = as_written(PLAIN)
    nulls = pa.nulls(table.num_rows, pa.float64())
    for name in ("lr_exponent", "barrier"):
        table = table.set_column(table.column_names.index(name), name, nulls)
    write_table(table, place(store, PLAIN))
    again = RunStore(store.folder)
    assert np.isnan(again.find(PLAIN).barrier)
    assert again.table()["lr_exponent"].isna().all()


def test_the_digest_of_the_first_columns_is_that_of_the_first_files():
    later = ["converged", "line_rise", "edge", "participation", "at_floor"]
    assert digest(as_written(PLAIN).drop_columns(later)) == "0b58b79546e64b708a5af612853a3c1c"


@pytest.mark.parametrize("writable", [False, True], ids=["reading", "writing"])
def test_files_of_another_version_are_named_once_and_left_where_they_are(writable, store, caplog):
    for name in (OLD, NEW, PLAIN):
        store.write(name, LABELS, run())
    for name in (OLD, NEW):
        of_version(place(store, name), "2")
    before = contents(store.folder.parent)
    again = RunStore(store.folder, writable)
    assert again.find(NEW) is None
    assert set(again.table()["run_id"]) == {PLAIN}
    assert OLD not in again
    assert contents(store.folder.parent) == before
    (record,) = caplog.records
    for part in (str(place(store, NEW)), "schema version '2'", "reads '1'", "`phases run` computes anew"):
        assert part in record.getMessage()


def test_a_pack_of_another_version_is_left_where_it_is(store, caplog):
    an_old_and_a_new_run(store)
    store.pack(enough=1)
    (pack,) = store.folder.iterdir()
    of_version(pack, "0")
    again = RunStore(store.folder, writable=True)
    assert len(again) == 0
    assert again.table().empty
    assert pack.exists()
    assert "schema version '0'" in caplog.text


@pytest.mark.parametrize("searched", [True, False], ids=["after it was searched for", "at once"])
def test_a_file_of_another_version_is_set_aside_when_its_run_is_written(searched, store):
    store.write(OLD, LABELS, run())
    of_version(place(store, OLD), "2")
    content = place(store, OLD).read_bytes()
    again = RunStore(store.folder, writable=True)
    if searched:
        assert again.find(OLD) is None
    again.write(OLD, LABELS, run(loss_rises=True))
    assert again.find(OLD).loss.max() == 1.5
    assert (store.folder.parent / "damaged" / f"{OLD}.parquet").read_bytes() == content


def test_packing_leaves_a_file_of_another_version_alone(store):
    for name in (OLD, NEW):
        store.write(name, LABELS, run())
    single = place(store, OLD).read_bytes()
    store.pack(enough=1)
    place(store, OLD).write_bytes(single)
    of_version(place(store, OLD), "2")
    RunStore(store.folder, writable=True).pack(enough=1)
    assert place(store, OLD).exists()

import numpy as np
import pandas as pd
import pytest
from made_up import run

import app.store.runs as runs_module
from app.store.runs import SCHEMA, RunStore, run_id

LABELS = {
    "question": "whole",
    "family": "fcn",
    "dataset": "made_up",
    "loss_name": "mse",
    "depth": 2,
    "width": 8,
    "seed": 0,
    "lr_exponent": 0.1,
    "c": 2**0.1,
    "learning_rate": 0.05,
}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def test_a_run_is_read_back_exactly(store):
    written = run(diverged=True)
    store.write("a", LABELS, written)
    read = store.read("a")
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

    monkeypatch.setattr(runs_module.pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write("a", LABELS, run())
    assert "a" not in store
    assert list(store.folder.iterdir()) == []


def test_a_temporary_file_of_a_killed_process_is_not_a_run(store):
    store.write("a", LABELS, run())
    (store.folder / ".b.parquet.123.tmp").write_bytes(b"half")
    assert len(RunStore(store.folder)) == 1


def test_an_absent_run_is_a_key_error(store):
    with pytest.raises(KeyError, match="'a'"):
        store.read("a")


def test_the_table_is_sorted_whatever_the_order_of_writing(store):
    for seed, exponent in ((1, 0.1), (0, 0.2), (0, 0.1)):
        store.write(f"{seed}-{exponent}", LABELS | {"seed": seed, "lr_exponent": exponent}, run())
    table = store.table().drop_duplicates("run_id")
    assert list(zip(table["seed"], table["lr_exponent"], strict=True)) == [(0, 0.1), (0, 0.2), (1, 0.1)]
    assert set(store.table(["1-0.1"])["run_id"]) == {"1-0.1"}


def test_an_empty_store_gives_an_empty_table(store):
    assert list(store.table().columns) == SCHEMA.names
    assert store.table().empty


def test_a_run_id_depends_on_values_and_not_on_their_order():
    assert run_id({"a": 1, "b": [2, 3]}) == run_id({"b": [2, 3], "a": 1})
    assert run_id({"a": 1}) != run_id({"a": 2})
    assert run_id({"a": 1}) != run_id({"a": 1.5})

"""The runs of an experiment: one Parquet file per run, packed into larger ones when there are many."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from io import UnsupportedOperation
from itertools import count
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sharpness_phases.runs.trajectory import Trajectory, Value
from sharpness_phases.store.files import flush, flush_folder, make_folder
from sharpness_phases.store.records import (
    SCHEMA,
    VERSION,
    DamagedFile,
    OtherVersion,
    digest,
    read_run_ids,
    read_table,
    to_table,
    to_trajectory,
    write_table,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

PACK_SIZE = 1000
"""Runs in a pack; as many single files are packed."""

_PACK = "pack-"
_KNOWN = frozenset(SCHEMA.names)
_ORDER = [(name, "ascending") for name in ("depth", "width", "seed", "lr_exponent", "question", "run_id", "step")]


class RunStore:
    """The runs of one experiment, in `folder/<run_id>.parquet` and `folder/pack-<digest>.parquet`.

    Several processes may write to one folder. A file that is damaged, foreign or of another version is named in a
    warning and counts as absent from then on. Reading alone moves nothing: only a store that is opened for writing sets
    a file aside, in `damaged` beside the folder: one that is damaged when it is found, one of another version when a
    run of its name is written.

    Args:
        folder: Where the files are; created at the first write.
        writable: Whether runs may be written and packed, and damaged files set aside.
    """

    def __init__(self, folder: Path, writable: bool = False) -> None:
        self.folder = folder
        self.writable = writable
        self._files: set[str] = set()
        self._places: dict[str, str] = {}  # run id -> name of its file
        self._pack: tuple[str, pa.Table, dict[str, tuple[int, int]]] | None = None  # the one read last
        self._foreign_versions: set[str] = set()  # those that were warned of
        self.refresh()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._places

    def __len__(self) -> int:
        return len(self._places)

    def refresh(self) -> None:
        """See what other processes have written since."""
        found = self._listed()
        if not self._files <= found:
            self._places = {run_id: name for run_id, name in self._places.items() if name in found}
        new, self._files = found - self._files, found
        for name in sorted(new, reverse=True):  # packs first: what is packed is read from the pack
            if not _is_pack(name):
                self._places.setdefault(name.removesuffix(".parquet"), name)
            elif (ids := self._read(name, read_run_ids)) is not None:
                self._places.update(dict.fromkeys(ids, name))

    def _listed(self) -> set[str]:
        names = os.listdir(self.folder) if self.folder.exists() else []  # noqa: PTH208  # in folders of thousands
        return {name for name in names if name.endswith(".parquet") and not name.startswith(".")}

    def write(self, run_id: str, labels: Mapping[str, Value], trajectory: Trajectory) -> None:
        """Store a run; a reader sees all of it or nothing.

        A file of the run's name that cannot be used is set aside first. If the run cannot be written, or the store was
        opened for reading, that is an `OSError`, and nothing is left behind.

        Args:
            run_id: Its name.
            labels: Values of the columns that are the same in every row.
            trajectory: Its steps.
        """
        self._require_writable()
        name = f"{run_id}.parquet"
        if os.path.lexists(self.folder / name) and self._read(name) is None and os.path.lexists(self.folder / name):
            self._move_away(name)  # of another version: nothing that was computed is lost
        write_table(to_table(run_id, labels, trajectory), self.folder / name)
        self._files.add(name)
        self._places[run_id] = name

    def find(self, run_id: str) -> Trajectory | None:
        """One run's steps.

        Args:
            run_id: Its name.

        Returns:
            The trajectory, exactly as written; None if there is no such run, or no longer a readable one.
        """
        tried: set[str] = set()
        while (name := self._places.get(run_id)) is not None and name not in tried:
            if (table := self._rows_of(run_id, name)) is not None:
                return to_trajectory(table)
            tried.add(name)
            self.refresh()  # `name` is forgotten now; another process may have packed the run
        return None

    def table(self) -> pd.DataFrame:
        """All runs as one long table.

        Returns:
            A row per step with the columns of `SCHEMA` and behind them those that only some files have, sorted by
            depth, width, seed, exponent, question and step.
        """
        tables: dict[str, pa.Table | None] = {}
        while missing := set(self._places.values()) - tables.keys():
            tables |= {name: self._read(name) for name in sorted(missing)}
            if any(tables[name] is None for name in missing):
                self.refresh()  # another process may have packed them meanwhile
        expected = Counter(self._places.values())
        found = [(table, name, n) for name, n in expected.items() if (table := tables[name]) is not None]
        return _joined([self._belonging(*each) for each in found]).to_pandas()

    def pack(self, enough: int = PACK_SIZE) -> None:
        """Pack single files into larger ones, if there are enough of them; only one process at a time may do so.

        A run's own file is removed only when its pack is on the disk and has been read back from there. The store must
        be writable.

        Args:
            enough: Number of single files from which on it is done.
        """
        self._require_writable()
        self.refresh()
        if sum(not _is_pack(name) for name in self._files) < enough:
            return
        self._remove_packed()
        singles = sorted({name for name in self._places.values() if not _is_pack(name)})
        if len(singles) < max(1, enough):
            return
        table = _joined([table for name in singles if (table := self._read(name)) is not None])
        bounds = [*_run_starts(table), table.num_rows]
        for first in range(0, len(bounds) - 1, PACK_SIZE):
            last = min(first + PACK_SIZE, len(bounds) - 1)
            if last - first >= min(enough, PACK_SIZE):  # the others wait for more
                self._write_pack(table.slice(bounds[first], bounds[last] - bounds[first]).combine_chunks())

    def _require_writable(self) -> None:
        if not self.writable:
            raise UnsupportedOperation(f"{self.folder}: the store was opened for reading; RunStore(..., writable=True)")

    def _remove_packed(self) -> None:
        """Remove single files whose runs are in a pack: an earlier packing was cut off there."""
        flushed: set[str] = set()
        for name in [name for name in self._files if not _is_pack(name)]:
            place = self._places.get(run_id := name.removesuffix(".parquet"))
            if place in (name, None) or self._rows_of(run_id, place) is None:
                continue
            if place not in flushed:  # who wrote it may have been killed before it was on the disk
                flush(self.folder / place)
                flush_folder(self.folder)
                flushed.add(place)
            if self._read(name) is not None:  # not one of another version, which holds what the pack does not
                self._remove(name)

    def _write_pack(self, table: pa.Table) -> None:
        name = f"{_PACK}{digest(table)}.parquet"
        write_table(table, self.folder / name)
        self._files.add(name)
        if self._read(name) is None:  # which holds its values against their digest
            return
        for run_id in pc.unique(table["run_id"]).to_pylist():
            single, self._places[run_id] = self._places[run_id], name
            self._remove(single)

    def _remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        self._files.discard(name)

    def _rows_of(self, run_id: str, name: str) -> pa.Table | None:
        """The rows of a run in a file, None if it is not to be had from there."""
        if not _is_pack(name):
            return self._read(name)
        if self._pack is None or self._pack[0] != name:
            table = self._read(name)
            if table is None:
                return None
            starts = _run_starts(table)
            ends = [*starts[1:], table.num_rows]
            ids = table["run_id"].take(pa.array(starts)).to_pylist()
            self._pack = name, table, dict(zip(ids, zip(starts, ends, strict=True), strict=True))
        _, table, ranges = self._pack
        begin, end = ranges[run_id]
        return table.slice(begin, end - begin)

    @overload
    def _read(self, name: str) -> pa.Table | None: ...
    @overload
    def _read(self, name: str, how: Callable[[Path], T]) -> T | None: ...
    def _read(self, name: str, how: Callable[[Path], T] | None = None) -> T | pa.Table | None:
        """Read a file; None if it is gone or cannot be used: it is forgotten then, so that nobody asks for it again."""
        try:
            if how is not None:
                return self._opened(name, how)
            table = self._opened(name, read_table)
            if not _is_pack(name) and pc.unique(table["run_id"]).to_pylist() != [Path(name).stem]:
                raise DamagedFile("the file of another run")
            return table
        except FileNotFoundError:
            self._files.discard(name)
        except OtherVersion as other:
            self._say_version(name, other)
        except DamagedFile as damage:
            self._say_damage(name, damage)
        self._places = {run_id: place for run_id, place in self._places.items() if place != name}
        return None

    def _opened(self, name: str, how: Callable[[Path], T]) -> T:
        """Read a file; one that is listed and cannot be opened, even when it is tried again, is damaged."""
        try:
            return how(self.folder / name)
        except FileNotFoundError:
            if name not in self._listed():
                raise
        try:
            return how(self.folder / name)
        except FileNotFoundError:
            if name not in self._listed():
                raise
            raise DamagedFile("it is listed, but there is no such file: a link that leads nowhere?") from None

    def _say_version(self, name: str, other: OtherVersion) -> None:
        """Warn of a file of another version, once for each version; the file stays where it is."""
        if other.version not in self._foreign_versions:
            logger.warning(
                "%s is of schema version %r, and this version of sharpness-phases reads %r: it is left out and left "
                "where it is, as are all others of that version. Read them with the version that wrote them; "
                "`phases run` computes anew what it needs.",
                self.folder / name,
                other.version,
                VERSION,
            )
        self._foreign_versions.add(other.version)

    def _say_damage(self, name: str, damage: DamagedFile) -> None:
        """Warn of a damaged file, which is set aside if the store may be written."""
        kept = "left out; `phases run` sets it aside"
        if self.writable:
            try:
                kept = f"set aside as {self._move_away(name)}; `phases run` computes it anew"
            except OSError as error:
                kept = f"left out; it could not be set aside: {error.strerror}"
        logger.warning("%s cannot be used (%s): %s.", self.folder / name, damage, kept)

    def _move_away(self, name: str) -> Path:
        """Move a file to where it is in nobody's way; returns its new path."""
        folder = self.folder.with_name("damaged")
        make_folder(folder)
        kept = next(path for n in count() if not os.path.lexists(path := folder / f"{name}{f'.{n}' if n else ''}"))
        (self.folder / name).rename(kept)
        flush_folder(folder)
        self._files.discard(name)
        return kept

    def _belonging(self, table: pa.Table, name: str, expected: int) -> pa.Table:
        """A file's runs without those that are read from another file."""
        ids = pc.unique(table["run_id"]).to_pylist()
        if len(ids) == expected:
            return table
        return table.filter(pc.is_in(table["run_id"], pa.array([i for i in ids if self._places.get(i) == name])))


def _joined(tables: Iterable[pa.Table]) -> pa.Table:
    """One sorted table; a column that a file lacks is null in its rows."""
    found = list(tables)
    unknown = list(dict.fromkeys(name for table in found for name in table.column_names if name not in _KNOWN))
    types = {name: _common_type({t.field(name).type for t in found if name in t.column_names}) for name in unknown}
    parts = [_with_types(table, types) for table in found]
    return pa.concat_tables([SCHEMA.empty_table(), *parts], promote_options="default").sort_by(_ORDER)


def _common_type(types: set[pa.DataType]) -> pa.DataType:
    """A type that can hold the values of a column which files hold as different types; texts can hold all."""
    try:
        schemas = [pa.schema([("values", each)]) for each in sorted(types, key=str)]
        return pa.unify_schemas(schemas, promote_options="permissive").field("values").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()


def _with_types(table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """A table whose unknown columns have the types given."""
    for index, field in enumerate(table.schema):
        if (wanted := types.get(field.name, field.type)) != field.type:
            table = table.set_column(index, field.name, _as_type(table.column(index), wanted))
    return table


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # such as lists as texts
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, wanted)])


def _is_pack(name: str) -> bool:
    return name.startswith(_PACK)


def _run_starts(table: pa.Table) -> list[int]:
    """Where the rows of each run begin, in a table that has them together."""
    ids = table["run_id"].to_numpy()
    return np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])).tolist() if len(ids) else []

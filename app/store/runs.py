"""The runs of an experiment: one Parquet file per run, packed into larger ones when there are many."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.store.records import (
    SCHEMA,
    DamagedFile,
    digest,
    read_run_ids,
    read_table,
    to_table,
    to_trajectory,
    write_table,
)

logger = logging.getLogger(__name__)

PACK_SIZE = 1000
"""Runs in a pack; as many single files are packed."""

_PACK = "pack-"
_ORDER = [(name, "ascending") for name in ("depth", "width", "seed", "lr_exponent", "question", "run_id", "step")]


class RunStore:
    """The runs of one experiment, in `folder/<run_id>.parquet` and `folder/pack-<digest>.parquet`.

    Several processes may write to one folder. A file that is damaged, foreign or of another version is set aside in
    `damaged` beside the folder, with a warning, and counts as absent from then on.

    Args:
        folder: Where the files are; created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: set[str] = set()
        self._places: dict[str, str] = {}  # run id -> name of its file
        self._pack: tuple[str, pa.Table, dict[str, tuple[int, int]]] | None = None  # the one read last
        self.refresh()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._places

    def __len__(self) -> int:
        return len(self._places)

    def refresh(self) -> None:
        """See what other processes have written since."""
        names = os.listdir(self.folder) if self.folder.exists() else []  # noqa: PTH208  # in folders of thousands
        found = {name for name in names if name.endswith(".parquet") and not name.startswith(".")}
        if not self._files <= found:
            self._places = {run_id: name for run_id, name in self._places.items() if name in found}
        for name in sorted(found - self._files, reverse=True):  # packs first: what is packed is read from the pack
            if not _is_pack(name):
                self._places.setdefault(name.removesuffix(".parquet"), name)
            elif (ids := self._read(name, read_run_ids)) is not None:
                self._places.update(dict.fromkeys(ids, name))
        self._files = found

    def write(self, run_id: str, labels: Mapping[str, Any], trajectory: Trajectory) -> None:
        """Store a run; a reader sees all of it or nothing.

        Args:
            run_id: Its name.
            labels: Values of the columns that are the same in every row.
            trajectory: Its steps.

        Raises:
            OSError: If it cannot be written; nothing is left behind then.
        """
        name = f"{run_id}.parquet"
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
        while (name := self._places.get(run_id)) is not None:
            if (table := self._rows_of(run_id, name)) is not None:
                return to_trajectory(table)
        return None

    def table(self) -> pd.DataFrame:
        """All runs as one long table.

        Returns:
            A row per step with the columns of `SCHEMA`, sorted by depth, width, seed, exponent, question and step.
        """
        while True:
            expected = Counter(self._places.values())
            tables = [self._belonging(table, name, n) for name, n in expected.items() if (table := self._read(name))]
            if expected.keys() >= set(self._places.values()):  # else another process has packed files meanwhile
                return self._joined(tables).to_pandas()

    def pack(self, enough: int = PACK_SIZE) -> None:
        """Pack single files into larger ones, if there are enough of them; only one process at a time may do so.

        A run's own file is removed only when its pack has been read back.

        Args:
            enough: Number of single files from which on it is done.
        """
        self.refresh()
        if sum(not _is_pack(name) for name in self._files) < enough:
            return
        for name in [name for name in self._files if not _is_pack(name)]:
            place = self._places.get(run_id := name.removesuffix(".parquet"))
            if place != name and place is not None and self._rows_of(run_id, place) is not None:
                self._remove(name)  # an earlier packing was cut off here
        singles = sorted({name for name in self._places.values() if not _is_pack(name)})
        if len(singles) < max(1, enough):
            return
        table = self._joined([table for name in singles if (table := self._read(name)) is not None])
        bounds = [*_run_starts(table), table.num_rows]
        for first in range(0, len(bounds) - 1, PACK_SIZE):
            last = min(first + PACK_SIZE, len(bounds) - 1)
            if last - first >= min(enough, PACK_SIZE):  # the others wait for more
                self._write_pack(table.slice(bounds[first], bounds[last] - bounds[first]).combine_chunks())

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

    def _read(self, name: str, how: Callable[[Path], Any] | None = None) -> Any:
        """Read a file; None if it is gone, or damaged, which sets it aside."""
        try:
            table = (how or read_table)(self.folder / name)
            if how is None and not _is_pack(name) and pc.unique(table["run_id"]).to_pylist() != [Path(name).stem]:
                raise DamagedFile("the file of another run")
            return table
        except FileNotFoundError:
            self.refresh()
        except DamagedFile as damage:
            self._set_aside(name, damage)
        return None

    def _set_aside(self, name: str, damage: DamagedFile) -> None:
        """Move a file to where it disturbs nobody."""
        folder = self.folder.with_name("damaged")
        kept = next(path for n in count() if not (path := folder / f"{name}{f'.{n}' if n else ''}").exists())
        try:
            folder.mkdir(exist_ok=True)
            (self.folder / name).rename(kept)
            where = f"set aside as {kept}"
        except OSError as error:
            where = f"left out; it could not be set aside: {error.strerror}"
        logger.warning("%s cannot be used (%s): %s. `phases run` computes it anew.", self.folder / name, damage, where)
        self._files.discard(name)
        self._places = {run_id: place for run_id, place in self._places.items() if place != name}

    def _belonging(self, table: pa.Table, name: str, expected: int) -> pa.Table:
        """A file's runs without those that are read from another file."""
        ids = pc.unique(table["run_id"]).to_pylist()
        if len(ids) == expected:
            return table
        return table.filter(pc.is_in(table["run_id"], pa.array([i for i in ids if self._places.get(i) == name])))

    def _joined(self, tables: Iterable[pa.Table]) -> pa.Table:
        return pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by(_ORDER)


def _is_pack(name: str) -> bool:
    return name.startswith(_PACK)


def _run_starts(table: pa.Table) -> list[int]:
    """Where the rows of each run begin, in a table that has them together."""
    ids = table["run_id"].to_numpy()
    return np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])).tolist() if len(ids) else []

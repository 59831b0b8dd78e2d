"""What a file of runs holds, and whether it still holds it."""

from __future__ import annotations

import base64
import errno
import hashlib
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sharpness_phases.runs.trajectory import COLUMNS, PER_RUN, PER_STEP, Column, Trajectory, Value
from sharpness_phases.store.files import atomic_file

_ARROW_TYPES: dict[type[Value], pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}

SCHEMA = pa.schema([(column.name, _ARROW_TYPES[column.type]) for column in COLUMNS])
"""Columns of a run: a row per step; what describes the run is repeated in every row. NaN: not measured."""

VERSION = "1"
"""Of the schema, in the metadata of every file. A further column is no other version; a column that changes its meaning
or its type is."""

_VERSION_KEY, _DIGEST_KEY = b"sharpness-phases.schema", b"sharpness-phases.digest"

_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""What the system says where a link leads to no file; trying again would not help."""


class DamagedFile(Exception):
    """A file that does not hold what was written to it, or no runs at all; the message is the reason."""


class OtherVersion(DamagedFile):
    """A file of another version of the schema: nothing else is known to be wrong with it.

    Attributes:
        version: The version.
    """

    def __init__(self, version: str) -> None:
        super().__init__(f"schema version {version!r}, not {VERSION!r}")
        self.version = version


def to_table(run_id: str, labels: Mapping[str, Value], trajectory: Trajectory) -> pa.Table:
    """A run as rows.

    Args:
        run_id: Its name.
        labels: Values of the columns that are the same in every row, and that the trajectory does not hold.
        trajectory: Its steps.

    Returns:
        A table of `SCHEMA`.
    """
    rows = trajectory.steps + 1
    same = {**labels, "run_id": run_id} | {name: getattr(trajectory, name) for name in PER_RUN}
    columns: dict[str, np.ndarray | list[Value]] = {name: [value] * rows for name, value in same.items()}
    columns |= {name: getattr(trajectory, name) for name in PER_STEP}
    columns["step"] = np.arange(rows)
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def to_trajectory(table: pa.Table) -> Trajectory:
    """The steps of a table that holds one run."""
    return Trajectory(
        **{name: table[name].to_numpy() for name in PER_STEP},
        **{name: table[name][0].as_py() for name in PER_RUN},
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Write runs to a file, whole or not at all, with all that `read_table` needs to notice damage.

    Args:
        table: With the columns of `SCHEMA`, and others behind them that are to be kept.
        path: The file.
    """
    metadata = {_VERSION_KEY: VERSION.encode(), _DIGEST_KEY: digest(table).encode()}
    with atomic_file(path) as unfinished, _for_arrow(unfinished, "wb") as sink:
        pq.write_table(table.replace_schema_metadata(metadata), sink, write_page_checksum=True)


def read_table(path: Path) -> pa.Table:
    """Read a file of runs; pages are held against their checksums, and all values of the file against their digest.

    Args:
        path: The file.

    Returns:
        The columns of `SCHEMA`, exactly as written; those that the file lacks hold what stands for "missing"
        (`sharpness_phases.runs.trajectory.COLUMNS`). Columns that this version does not know come behind them.

    Raises:
        DamagedFile: If it is not what was written, or not a file of runs at all; `OtherVersion`, if it is of another
            version of the schema. An `OSError` means that it may not or cannot be read.
    """
    with _opened(path) as file:
        table = file.read()
        if not table.num_rows:
            raise DamagedFile("no rows")
        if _stored_digest(file) != digest(table).encode():
            raise DamagedFile("other values than were written")
        return _completed(table.replace_schema_metadata(None))


def read_run_ids(path: Path) -> list[str]:
    """The runs in a file, in its order; nothing but their names is read.

    It fails as `read_table` does where names or columns are at fault; wrong values are left for `read_table` to notice.

    Args:
        path: The file.

    Returns:
        Their names.
    """
    with _opened(path) as file:
        _stored_digest(file)
        return list(pc.unique(file.read(columns=["run_id"])["run_id"]).to_pylist())


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A file of runs, its pages held against their checksums; what a decoder makes of damage is a `DamagedFile`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise DamagedFile("no file, but something else of its name")
        with (
            _for_arrow(path, "rb") as source,
            pq.ParquetFile(source, page_checksum_verification=True) as file,
        ):
            _require_version(file)
            _require_columns(file)
            yield file
    except (MemoryError, DamagedFile):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ESTALE:  # removed by another machine (NFS)
            raise FileNotFoundError(errno.ENOENT, "removed by another process", str(path)) from None
        if isinstance(error, OSError) and error.errno in _NO_FILE:
            raise DamagedFile(os.strerror(error.errno)) from None
        if isinstance(error, OSError) and error.errno:  # the machine's fault, not the file's
            raise type(error)(error.errno, os.strerror(error.errno), str(path)) from None
        raise DamagedFile(" ".join(str(error).split()) or type(error).__name__) from None


@contextmanager
def _for_arrow(path: Path, mode: str) -> Iterator[Path | pa.NativeFile]:
    """A file as Arrow finds it, which takes names for UTF-8: it is opened here where the locale spells it otherwise."""
    spelled = os.fsencode(path)
    if spelled == str(path).encode("utf-8", "surrogatepass"):
        yield path
    else:
        with pa.OSFile(spelled, mode) as file:
            yield file


def _stored_digest(file: pq.ParquetFile) -> bytes:
    """The digest that a file holds; every version that was released wrote one."""
    found: bytes | None = (file.schema_arrow.metadata or {}).get(_DIGEST_KEY)
    if not found:
        raise DamagedFile(
            "no digest of its values: written by another program, and nothing tells whether they are right"
        )
    return found


def _require_version(file: pq.ParquetFile) -> None:
    metadata = file.schema_arrow.metadata or {}
    version = metadata.get(_VERSION_KEY, VERSION.encode()).decode(errors="replace")
    if version != VERSION:
        raise OtherVersion(version)


def _require_columns(file: pq.ParquetFile) -> None:
    """Refuse a file whose columns cannot be those of runs."""
    found = {field.name: field.type for field in file.schema_arrow}
    wrong = [
        f"no {column.name}" if column.name not in found else f"{column.name} of type {found[column.name]}"
        for column in COLUMNS
        if (column.missing is None if column.name not in found else not _holds(found[column.name], column))
    ]
    if wrong:
        raise DamagedFile(f"other columns than those of a run: {', '.join(wrong)}")
    names, leaves = _names_in_arrow(file), [file.schema.column(i).path for i in range(len(file.schema))]
    of_leaves = [next((name for name in names if f"{leaf}.".startswith(f"{name}.")), leaf) for leaf in leaves]
    if list(dict.fromkeys(of_leaves)) != names:  # one that is damaged would be taken for a missing column
        raise DamagedFile("two names for one column")


def _names_in_arrow(file: pq.ParquetFile) -> list[str]:
    """The names of the columns as Arrow has written them beside Parquet's own; neither has a checksum.

    Parquet's third copy, in `file.metadata`, is left alone: some damage there ends the process.

    Returns:
        The names.

    Raises:
        DamagedFile: If Arrow has not written the file.
    """
    written: bytes | None = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if written is None:
        raise DamagedFile("no schema of Arrow's: written by another program")
    names: list[str] = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(written, validate=True))).names
    return names


def _completed(table: pa.Table) -> pa.Table:
    """A table with all columns of `SCHEMA`, in its order, and behind them those that are unknown."""
    columns = {name: table[name] for name in table.column_names}
    known = [
        _without_nulls(columns.pop(column.name).cast(_type_of(column)), column)
        if column.name in columns
        else pa.repeat(pa.scalar(column.missing, _type_of(column)), table.num_rows)
        for column in COLUMNS
    ]
    return pa.table([*known, *columns.values()], names=[*SCHEMA.names, *columns])


def _without_nulls(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Null, which other programs write for NaN, is what stands for "missing"."""
    if not values.null_count:
        return values
    missing = math.nan if column.type is float else column.missing
    if missing is None:
        raise DamagedFile(f"rows without {column.name}")
    return pc.fill_null(values, pa.scalar(missing, _type_of(column)))


def _type_of(column: Column) -> pa.DataType:
    return SCHEMA.field(column.name).type


def _holds(found: pa.DataType, column: Column) -> bool:
    """Whether a file's column has the type of ours; other programs write texts in several ways."""
    return _is_text(found) if column.type is str else found == _type_of(column)


def _is_text(found: pa.DataType) -> bool:
    plain = found.value_type if pa.types.is_dictionary(found) else found
    return pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain)


def digest(table: pa.Table) -> str:
    """A hash of all values of all columns, whatever the file's encoding.

    Args:
        table: Of `SCHEMA`, or with fewer columns or more, of any type.

    Returns:
        32 hexadecimal digits.
    """
    found = hashlib.blake2b(digest_size=16)
    for column in table.itercolumns():
        found.update(_bytes_of(column))
    return found.hexdigest()


def _bytes_of(column: pa.ChunkedArray) -> bytes:
    """What the digest of a column is made of; never another one for columns of `SCHEMA`: files hold their digests."""
    if _is_text(column.type) and not column.null_count:
        return "\0".join(column.to_pylist()).encode()
    plain = pa.types.is_floating(column.type) or not column.null_count
    values = column.to_numpy() if plain else np.empty(0, object)
    # Lists, and columns with nulls: their numpy objects are addresses.
    return repr(column.to_pylist()).encode() if values.dtype == object else values.tobytes()

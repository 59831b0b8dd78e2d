"""What a file of runs holds, and whether it still holds it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.store.files import atomic_file

SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("question", pa.string()),
        ("family", pa.string()),
        ("dataset", pa.string()),
        ("loss_name", pa.string()),
        ("depth", pa.int64()),
        ("width", pa.int64()),
        ("seed", pa.int64()),
        ("lr_exponent", pa.float64()),
        ("c", pa.float64()),
        ("learning_rate", pa.float64()),
        ("step", pa.int64()),
        ("loss", pa.float64()),
        ("accuracy", pa.float64()),
        ("sharpness", pa.float64()),
        ("residual", pa.float64()),
        ("hvps", pa.int64()),
        ("diverged", pa.bool_()),
        ("barrier", pa.float64()),
    ]
)
"""Columns of a run: a row per step; what describes the run is repeated in every row. NaN: not measured."""

VERSION = "1"
"""Of the schema, in the metadata of every file; files of another version are set aside."""

_PER_STEP = ("loss", "accuracy", "sharpness", "residual", "hvps")
_VERSION_KEY, _DIGEST_KEY = b"sharpness-phases.schema", b"sharpness-phases.digest"


class DamagedFile(Exception):
    """A file that does not hold what was written to it; the message is the reason."""


def to_table(run_id: str, labels: Mapping[str, Any], trajectory: Trajectory) -> pa.Table:
    """A run as rows.

    Args:
        run_id: Its name.
        labels: Values of the columns that are the same in every row.
        trajectory: Its steps.

    Returns:
        A table of `SCHEMA`.
    """
    rows = trajectory.steps + 1
    columns: dict[str, Any] = {name: [value] * rows for name, value in labels.items()}
    columns |= {name: getattr(trajectory, name) for name in _PER_STEP}
    columns |= {
        "run_id": [run_id] * rows,
        "step": np.arange(rows),
        "diverged": [trajectory.diverged] * rows,
        "barrier": [trajectory.barrier] * rows,
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def to_trajectory(table: pa.Table) -> Trajectory:
    """The steps of a table that holds one run."""
    return Trajectory(
        **{name: table[name].to_numpy() for name in _PER_STEP},
        diverged=bool(table["diverged"][0].as_py()),
        barrier=float(table["barrier"][0].as_py()),
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Write runs to a file, whole or not at all, with all that `read_table` needs to notice damage.

    Args:
        table: Of `SCHEMA`.
        path: The file.
    """
    metadata = {_VERSION_KEY: VERSION.encode(), _DIGEST_KEY: digest(table).encode()}
    with atomic_file(path) as unfinished:
        pq.write_table(table.replace_schema_metadata(metadata), unfinished, write_page_checksum=True)


def read_table(path: Path) -> pa.Table:
    """Read a file of runs; pages are held against their checksums, and all values against their digest.

    Args:
        path: The file.

    Returns:
        A table of `SCHEMA`, exactly as written.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it may not or cannot be read.
        DamagedFile: If it is not what was written, of another version, or not a file of runs at all.
    """
    with _opened(path) as file:
        metadata = file.schema_arrow.metadata or {}
        version = metadata.get(_VERSION_KEY, VERSION.encode()).decode(errors="replace")
        if version != VERSION:
            raise DamagedFile(f"schema version {version!r}, not {VERSION!r}")
        if not file.schema_arrow.remove_metadata().equals(SCHEMA):
            raise DamagedFile("other columns than those of a run")
        table = file.read()
        if not table.num_rows:
            raise DamagedFile("no rows")
        if metadata.get(_DIGEST_KEY, b"") not in (b"", digest(table).encode()):
            raise DamagedFile("other values than were written")
        return table.replace_schema_metadata(None)


def read_run_ids(path: Path) -> list[str]:
    """The runs in a file, in its order; nothing but their names is read.

    Args:
        path: The file.

    Returns:
        Their names.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it may not or cannot be read.
        DamagedFile: If the names cannot be read; all else is `read_table`'s to notice.
    """
    with _opened(path) as file:
        return list(pc.unique(file.read(columns=["run_id"])["run_id"]).to_pylist())


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A file of runs, its pages held against their checksums; what a decoder makes of damage is a `DamagedFile`."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (MemoryError, DamagedFile):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ESTALE:  # removed by another machine (NFS)
            raise FileNotFoundError(errno.ENOENT, "removed by another process", str(path)) from None
        if isinstance(error, OSError) and error.errno:  # the machine's fault, not the file's
            raise
        raise DamagedFile(" ".join(str(error).split()) or type(error).__name__) from None


def digest(table: pa.Table) -> str:
    """A hash of all values, whatever the file's encoding.

    Args:
        table: Of `SCHEMA`.

    Returns:
        32 hexadecimal digits.
    """
    found = hashlib.blake2b(digest_size=16)
    for column in table.itercolumns():
        texts = pa.types.is_string(column.type)
        found.update("\0".join(column.to_pylist()).encode() if texts else column.to_numpy().tobytes())
    return found.hexdigest()

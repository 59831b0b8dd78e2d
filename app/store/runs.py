"""One Parquet file per run, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from app.trajectory import Trajectory

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

_PER_STEP = ("loss", "accuracy", "sharpness", "residual", "hvps")


def run_id(description: Mapping[str, Any]) -> str:
    """Name of a run: a hash of everything that decides its numbers.

    Args:
        description: Plain JSON values.

    Returns:
        24 hexadecimal digits.
    """
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class RunStore:
    """The runs of one experiment, in `folder/<run_id>.parquet`.

    Args:
        folder: Where the files are; created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known = {path.stem for path in folder.glob("*.parquet")}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._known

    def __len__(self) -> int:
        return len(self._known)

    def write(self, run_id: str, labels: Mapping[str, Any], trajectory: Trajectory) -> None:
        """Store a run; a reader sees all of it or nothing.

        Args:
            run_id: Its name.
            labels: Values of the columns that are the same in every row.
            trajectory: Its steps.
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
        table = pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(run_id)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            pq.write_table(table, temporary, write_page_checksum=True)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._known.add(run_id)

    def read(self, run_id: str) -> Trajectory:
        """One run's steps.

        Args:
            run_id: Its name.

        Returns:
            The trajectory, exactly as written.

        Raises:
            KeyError: If there is no such run.
        """
        if run_id not in self:
            raise KeyError(f"No run {run_id!r} in {self.folder}.")
        table = pq.read_table(self._path(run_id), columns=[*_PER_STEP, "diverged", "barrier"])
        return Trajectory(
            **{name: table[name].to_numpy() for name in _PER_STEP},
            diverged=bool(table["diverged"][0].as_py()),
            barrier=float(table["barrier"][0].as_py()),
        )

    def table(self, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """The runs as one long table, a row per step.

        Args:
            run_ids: Which runs; all by default.

        Returns:
            The columns of `SCHEMA`, sorted by depth, width, seed, exponent, question and step.
        """
        names = sorted(self._known if run_ids is None else run_ids)
        tables = [pq.read_table(self._path(name), schema=SCHEMA) for name in names]
        table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        order = ["depth", "width", "seed", "lr_exponent", "question", "run_id", "step"]
        return table.sort_by([(name, "ascending") for name in order]).to_pandas()

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.parquet"

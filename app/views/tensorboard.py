"""TensorBoard files: a folder for every run, HParams for every initialisation, the pictures.

The files are written with TensorBoard's own protocol buffers, without TensorFlow: redrawing stored runs stays quick.
"""

from __future__ import annotations

import logging
import shutil
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from app.analysis.tables import CELL, CONSTANTS

logger = logging.getLogger(__name__)

SWEEP = "sweep"
"""Folder of what belongs to no single run: the list of hyperparameters and the pictures."""

MAX_INITIALISATIONS, MAX_RUNS = 200, 500
"""Shown in TensorBoard, which is slow with more; the first initialisations of all networks come first."""

_HPARAMS = ("depth", "width", "seed")
_METRICS = ("lambda_0", "loss_0", *CONSTANTS)


def write_tensorboard(
    folder: Path, runs: pd.DataFrame, constants: pd.DataFrame, pictures: Mapping[str, Path] | None = None
) -> None:
    """Write all files of an experiment; what was in the folder before is replaced.

    Args:
        folder: Where; point `tensorboard --logdir` at it.
        runs: A row per step, one run for each initialisation and c, as `app.analysis.tables.merge_runs` returns it.
        constants: A table as `app.analysis.tables.constants_table` returns it.
        pictures: Names and PNG files of the pictures to show.
    """
    shutil.rmtree(folder, ignore_errors=True)
    every_run, every_row = runs, constants
    runs, constants = _few_runs(runs), constants.sort_values("seed", kind="stable").head(MAX_INITIALISATIONS)
    if len(runs) < len(every_run) or len(constants) < len(every_row):
        logger.info(
            "TensorBoard shows the first initialisations only: %d of %d with their constants, the trajectories of %d.",
            len(constants),
            len(every_row),
            runs.groupby(CELL).ngroups,
        )
    for (depth, width, seed), row in constants.groupby(["depth", "width", "seed"]):
        _write_session(folder / f"d{depth}_w{width}_s{seed}", row.iloc[0])
    for key, run in runs.groupby([*CELL, "lr_exponent"], sort=False):
        labels = dict(zip([*CELL, "lr_exponent"], key, strict=True))
        session = f"d{labels['depth']}_w{labels['width']}_s{labels['seed']}"
        _write_run(folder / session / f"c=2^{labels['lr_exponent']:g}", run)
    _write_sweep(folder / SWEEP, constants, pictures or {})


def _few_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the first initialisations: of all, if there are few enough."""
    first = runs[runs["step"] == 0]
    sizes = first.groupby(["seed", *CELL[:-1]], sort=True).size()
    kept = sizes[sizes.cumsum() <= max(MAX_RUNS, sizes.iloc[0])] if len(sizes) else sizes
    chosen = pd.MultiIndex.from_frame(runs[["seed", *CELL[:-1]]]).isin(kept.index)
    return runs[chosen]


class _EventFile:
    """One event file; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._now = time.time()
        self._file = (folder / f"events.out.tfevents.{int(self._now)}.sharpness-phases.0").open("wb")
        self._writer = RecordWriter(self._file)
        self._write(Event(wall_time=self._now, step=0, file_version="brain.Event:2"))

    def __enter__(self) -> _EventFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Write a number; one that is not finite is left out, as TensorBoard cannot scale its axis to it."""
        if np.isfinite(value):
            metadata = scalar_metadata.create_summary_metadata(display_name=None, description=None)
            tensor = tensor_util.make_tensor_proto(np.float32(value))
            self.summary(Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]), step)

    def image(self, tag: str, png: bytes) -> None:
        """Write a picture."""
        width, height = struct.unpack(">II", png[16:24])
        texts = np.array([str(width).encode(), str(height).encode(), png], dtype=object)
        metadata = image_metadata.create_summary_metadata(display_name=None, description=None)
        tensor = tensor_util.make_tensor_proto(texts)
        self.summary(Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]), 0)

    def summary(self, summary: Any, step: int = 0) -> None:
        """Write any summary protocol buffer."""
        self._write(Event(wall_time=self._now, step=step, summary=summary))

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


def _write_run(folder: Path, run: pd.DataFrame) -> None:
    """The scalars of one run over its steps."""
    lambda_0, learning_rate = run["sharpness"].iloc[0], run["learning_rate"].iloc[0]
    scalars: dict[str, Iterable[float]] = {
        "loss": run["loss"],
        "accuracy": run["accuracy"],
        "sharpness": run["sharpness"],
        "sharpness/normalized": run["sharpness"] / lambda_0,
        "sharpness/threshold": [2 / learning_rate] * len(run),
    }
    with _EventFile(folder) as events:
        for tag, values in scalars.items():
            for step, value in zip(run["step"], values, strict=True):
                events.scalar(tag, value, step)


def _write_session(folder: Path, row: pd.Series) -> None:
    """HParams of one initialisation, with its constants as metrics; a censored one is absent."""
    hparams: dict[str, Any] = {name: int(row[name]) for name in _HPARAMS}
    hparams |= {name: str(row[name]) for name in ("model", "dataset", "loss")}
    with _EventFile(folder) as events:
        events.summary(summary_v2.hparams_pb(hparams, trial_id=folder.name))
        for name in _METRICS:
            events.scalar(name, float(row[name]), 0)
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
        data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
        value = Summary.Value(
            tag=hparams_metadata.SESSION_END_INFO_TAG,
            metadata=hparams_metadata.create_summary_metadata(data),
            tensor=hparams_metadata.NULL_TENSOR,
        )
        events.summary(Summary(value=[value]))


def _write_sweep(folder: Path, constants: pd.DataFrame, pictures: Mapping[str, Path]) -> None:
    """The list of hyperparameters and metrics, and the pictures."""
    hparams = [summary_v2.HParam(name, summary_v2.RealInterval(*_range(constants[name]))) for name in _HPARAMS]
    hparams += [
        summary_v2.HParam(name, summary_v2.Discrete(sorted(set(constants[name])) or [""]))
        for name in ("model", "dataset", "loss")
    ]
    metrics = [summary_v2.Metric(name) for name in _METRICS if constants[name].notna().any()]
    with _EventFile(folder) as events:
        events.summary(summary_v2.hparams_config_pb(hparams, metrics))
        for name, path in pictures.items():
            events.image(name, path.read_bytes())


def _range(values: pd.Series) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)

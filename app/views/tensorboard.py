"""TensorBoard files: a folder for every run with its scalars and HParams; a layout of charts, and the pictures.

The files are written with TensorBoard's own protocol buffers, without TensorFlow: redrawing stored runs stays quick.
"""

from __future__ import annotations

import logging
import shutil
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.analysis.tables import CELL, CONSTANTS
from sharpness_phases.views.labels import by_cell, phase_of
from sharpness_phases.views.thinning import first_initialisations

logger = logging.getLogger(__name__)

SWEEP = "sweep"
"""Folder of what belongs to no single run: the lists of hyperparameters and charts."""

PICTURES = "Pictures"
"""Folder of the pictures, and the group that they form among the tags. A run of their own, the only one that holds
images, and with a capital, which sorts before all others: TensorBoard shows tags and runs in the order of their names,
opens on the first. They are written first, too: its dashboard Images, which ticks none of hundreds of runs, lists them
in the order of their times."""

HParams: TypeAlias = dict[str, float | int | str]
"""What tells the runs of an experiment apart, by name: a row of TensorBoard's table."""

MAX_RUNS, MAX_INITIALISATIONS = 500, 200
"""The largest numbers that TensorBoard shows: of runs, those of the first initialisations of all networks; and of
initialisations, with one run of each further one, so that its constants stand in the table. Chosen so: TensorBoard
reads thousands of runs slowly (docs/cluster.md), and fewer would leave initialisations out of the table needlessly."""

_RESULTS = ("result/final_loss", "result/max_normalized_sharpness")
_CONSTANTS = (*BOUNDARIES, *(name for name in CONSTANTS if name not in BOUNDARIES), "lambda_0", "loss_0")
"""Metrics of every run; those of the phases come first, as TensorBoard shows the first five of all metrics unasked."""

_CHARTS = {
    "Sharpness and its threshold, the edge": r"^sharpness(/threshold)?$",
    "Sharpness, normalized: lambda_t / lambda_0": r"^sharpness/normalized$",
    "Loss": r"^loss$",
    "Accuracy": r"^accuracy$",
}
"""The charts of the dashboard Custom Scalars: titles, and patterns of the tags that are drawn together."""


def write_tensorboard(
    folder: Path,
    runs: pd.DataFrame,
    constants: pd.DataFrame,
    pictures: Mapping[str, Path] | None = None,
    edge_constant: float = 2.0,
) -> None:
    """Write all files of an experiment; what was in the folder before is replaced.

    Args:
        folder: Where; point `tensorboard --logdir` at it.
        runs: A row per step, one run for each initialisation and c, as `analysis.tables.merge_runs` returns it.
        constants: A table as `analysis.tables.constants_table` returns it.
        pictures: Names and PNG files of the pictures to show.
        edge_constant: The learning rate times the optimizer's stability edge (`sharpness_phases.runs.axis`), of runs
            that do not tell their edge; NaN where it is not known.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if pictures:
        _write_pictures(folder / PICTURES, pictures)
    last = runs["step"].max()
    known = by_cell(constants)
    shown = []
    for key, run in _few_runs(runs).groupby([*CELL, "lr_exponent"], sort=False):
        *_, depth, width, seed, exponent = key
        row = known.get((depth, width, seed))
        shown.append(_hparams(run, row))
        metrics = _results(run, last) | _constants(row)
        _write_run(folder / f"d{depth}_w{width}_s{seed}" / f"c=2^{exponent:g}", run, shown[-1], metrics, edge_constant)
    _write_sweep(folder / SWEEP, shown, constants)


def _few_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """All runs, if they are few enough; else those of the first initialisations, and one of each further one."""
    begins = runs["step"] == 0
    whole = first_initialisations(runs, begins, MAX_RUNS)
    if whole.all():
        return runs
    order = runs[begins & ~whole].sort_values(["diverged", "lr_exponent"], ascending=[True, False], kind="stable")
    single = order.drop_duplicates(CELL).sort_values("seed", kind="stable")
    cells = runs[begins].drop_duplicates(CELL)
    complete = len(cells) - len(single)
    single = single.head(max(0, MAX_INITIALISATIONS - complete))
    logger.info(
        "TensorBoard shows the first initialisations only: all runs of %d of %d, and one run each of %d more.",
        complete,
        len(cells),
        len(single),
    )
    return runs[whole | runs["run_id"].isin(single["run_id"])]


def _hparams(run: pd.DataFrame, constants: pd.Series | None) -> HParams:
    """What tells the runs of an experiment apart.

    Every run has the same keys and none is empty, or TensorBoard loses columns of its table; of more than five it hides
    the rest at first.

    Returns:
        c, depth, width, seed and phase of the run.
    """
    first = run.iloc[0]
    c = float(first["c"])
    numbers = {name: int(first[name]) for name in ("depth", "width", "seed")}
    return {"c": c, **numbers, "phase": phase_of(c, constants)}


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

    def summary(self, summary: Summary, step: int = 0) -> None:
        """Write any summary protocol buffer."""
        self._write(Event(wall_time=self._now, step=step, summary=summary))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())


def _write_run(
    folder: Path, run: pd.DataFrame, hparams: HParams, metrics: Mapping[str, float], edge_constant: float
) -> None:
    """The scalars of one run over its steps, and its row in the table of HParams."""
    lambda_0, learning_rate = run["sharpness"].iloc[0], run["learning_rate"].iloc[0]
    scalars: dict[str, Iterable[float]] = {
        "loss": run["loss"],
        "accuracy": run["accuracy"],
        "sharpness": run["sharpness"],
        "sharpness/normalized": run["sharpness"] / lambda_0,
        "sharpness/threshold": _edges(run, edge_constant / learning_rate),
    }
    if "at_floor" in run and run["at_floor"].notna().any():
        scalars |= {f"sharpness/{name}": run[name] for name in ("participation", "at_floor")}
    with _EventFile(folder) as events:
        events.summary(summary_v2.hparams_pb(hparams, trial_id=f"{folder.parent.name}/{folder.name}"))
        for tag, values in scalars.items():
            for step, value in zip(run["step"], values, strict=True):
                events.scalar(tag, value, step)
        for tag, value in metrics.items():
            events.scalar(tag, value, 0)
        events.summary(_session_end())


def _edges(run: pd.DataFrame, otherwise: float) -> pd.Series:
    """The stability edge at every step, as the run tells it or as it follows from its rate."""
    known = run["edge"] if "edge" in run else pd.Series(np.nan, run.index)
    return known.fillna(otherwise)


def _results(run: pd.DataFrame, last: int) -> dict[str, float]:
    """Metrics of a run; no final loss of one that ended early, as its question was answered or it diverged."""
    ended_early = run["diverged"].iloc[0] or run["step"].iloc[-1] < last
    values = (
        np.nan if ended_early else float(run["loss"].iloc[-1]),
        float((run["sharpness"].iloc[1:] / run["sharpness"].iloc[0]).max()),
    )
    return dict(zip(_RESULTS, values, strict=True))


def _constants(row: pd.Series | None) -> dict[str, float]:
    """Metrics of a run's initialisation; a censored constant is absent."""
    return {} if row is None else {f"constants/{name}": float(row[name]) for name in _CONSTANTS}


def _session_end() -> Summary:
    """That the run is over, and went well."""
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    value = Summary.Value(
        tag=hparams_metadata.SESSION_END_INFO_TAG,
        metadata=hparams_metadata.create_summary_metadata(data),
        tensor=hparams_metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _write_pictures(folder: Path, pictures: Mapping[str, Path]) -> None:
    with _EventFile(folder) as events:
        for name, path in pictures.items():
            events.image(f"{PICTURES}/{name}", path.read_bytes())


def _write_sweep(folder: Path, shown: Sequence[HParams], constants: pd.DataFrame) -> None:
    """The lists of hyperparameters, metrics and charts."""
    known = [name for name in _CONSTANTS if constants[name].notna().any()]
    metrics = [summary_v2.Metric(name, display_name=name.rpartition("/")[2].replace("_", " ")) for name in _RESULTS]
    metrics += [summary_v2.Metric(f"constants/{name}", display_name=name) for name in known]
    with _EventFile(folder) as events:
        events.summary(summary_v2.hparams_config_pb(list(_hparam_infos(shown)), metrics))
        events.summary(_layout())


def _hparam_infos(shown: Sequence[HParams]) -> Iterator[summary_v2.HParam]:
    """The columns of the table: a range to choose from for c, values to tick for the others."""
    c = [float(hparams["c"]) for hparams in shown] or [0.0]
    yield summary_v2.HParam("c", summary_v2.RealInterval(min(c), max(c)))
    for name, kind in (("depth", int), ("width", int), ("seed", int), ("phase", str)):
        yield summary_v2.HParam(name, summary_v2.Discrete({hparams[name] for hparams in shown}, dtype=kind))


def _layout() -> Summary:
    """Which scalars the dashboard Custom Scalars draws in one chart."""
    charts = [
        layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[pattern]))
        for title, pattern in _CHARTS.items()
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="Runs", chart=charts)])
    tensor = tensor_util.make_tensor_proto(np.array(layout.SerializeToString(), dtype=object))
    metadata = layout_metadata.create_summary_metadata()
    value = Summary.Value(tag=layout_metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=metadata)
    return Summary(value=[value])

"""What an experiment's folder shows: tables, pictures, TensorBoard's files and the report."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pandas as pd

from sharpness_phases.analysis.tables import summary_json
from sharpness_phases.analyzer import PhaseAnalyzer
from sharpness_phases.store.files import write_text
from sharpness_phases.store.folder import stored_config
from sharpness_phases.views.report.page import Findings, write_report
from sharpness_phases.views.tensorboard import write_tensorboard

_NOT_ALWAYS = (
    "regimes.csv",
    "regimes.png",
    "saturation.png",
    "saturation_diagram.png",
    "phase_diagram.png",
    "phase_diagram.svg",
    "phase_diagram_over_depth.png",
    "phase_diagram_over_ratio.png",
    "trajectories.png",
)

logger = logging.getLogger(__name__)


def write_results(analyzer: PhaseAnalyzer, folder: Path) -> None:
    """Write everything that follows from the runs; each file but TensorBoard's whole or not at all.

    Args:
        analyzer: The analyzer of the runs.
        folder: The experiment's folder, with its config.yaml.

    Raises:
        OSError: If a file cannot be written.
    """
    constants, labels = analyzer.critical_constants(), analyzer.regime_table()
    write_text(folder / "critical_constants.csv", constants.to_csv(index=False))
    write_text(folder / "summary.json", json.dumps(summary_json(analyzer.summary), indent=1, allow_nan=False) + "\n")
    if not labels.empty:
        write_text(folder / "regimes.csv", labels.to_csv(index=False))
    out_of_order = len(analyzer.violations())
    if out_of_order:
        logger.warning(
            "%d of %d initialisations: the usual order c_loss <= c_sharp <= c_barrier <= c_max does not hold",
            out_of_order,
            len(constants),
        )
    trajectories = analyzer.trajectories()
    pictures = _draw(analyzer, trajectories, folder)
    _remove_what_is_out_of_date(folder, {"regimes.csv"} if not labels.empty else set(), pictures)
    if analyzer.config.tensorboard:
        write_tensorboard(folder / "tensorboard", trajectories, constants, pictures)
    else:
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # of an earlier config
    write_report(
        folder / "report.html",
        Findings(
            title=analyzer.title,
            config=analyzer.config,
            runs=analyzer.runs,
            trajectories=trajectories,
            constants=constants,
            summary=analyzer.summary,
            regimes=labels,
            out_of_order=out_of_order,
            pictures=pictures,
            environment=stored_config(folder).environment or {},
        ),
    )


def _remove_what_is_out_of_date(folder: Path, tables: set[str], pictures: dict[str, Path]) -> None:
    """Remove what an earlier config of the same folder had to show and this one has not."""
    written = tables | {path.with_suffix(ending).name for path in pictures.values() for ending in (".png", ".svg")}
    for name in _NOT_ALWAYS:
        if name not in written:
            (folder / name).unlink(missing_ok=True)


def _draw(analyzer: PhaseAnalyzer, trajectories: pd.DataFrame, folder: Path) -> dict[str, Path]:
    """Draw what the runs show; the pictures by name."""
    pictures = {}
    if analyzer.constants_are_known:
        diagram = analyzer.phase_diagram()
        diagram.save(folder / "phase_diagram.svg")
        pictures["phase_diagram"] = diagram.save(folder / "phase_diagram.png")
        if len(analyzer.config.sweep.depths) > 1:
            for over in ("depth", "ratio"):
                name = f"phase_diagram_over_{over}"
                pictures[name] = analyzer.phase_diagram(over).save(folder / f"{name}.png")
    if analyzer.saturation_is_known:
        pictures["saturation"] = analyzer.saturation_figure().save(folder / "saturation.png")
        pictures["saturation_diagram"] = analyzer.saturation_diagram().save(folder / "saturation_diagram.png")
    if not analyzer.regime_table().empty:
        pictures["regimes"] = analyzer.regime_figure().save(folder / "regimes.png")
    if not trajectories.empty:
        pictures["trajectories"] = analyzer.trajectory_figure().save(folder / "trajectories.png")
    return pictures

"""What an experiment's folder shows: tables, pictures, TensorBoard's files and the report."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.over import OverFindings
from sharpness_phases.store.files import write_text
from sharpness_phases.store.folder import stored_config
from sharpness_phases.views.pictures import PICTURES
from sharpness_phases.views.up_to_date import REPORT_FILE, drawn_from, is_up_to_date

logger = logging.getLogger(__name__)


def write_results(findings: Findings, folder: Path, anew: bool = True) -> None:
    """Write everything that follows from the runs; each file but TensorBoard's whole or not at all.

    What an earlier config of the same folder had to show, and this one has not, is removed. An `OSError` if a file
    cannot be written.

    Args:
        findings: What the runs say.
        folder: The experiment's folder, with its config.yaml.
        anew: Whether to draw what is there already, and was drawn from the same runs in the same way, too.
    """
    tables = _write_tables(findings, folder)
    _warn_of_violations(findings)
    source, board = drawn_from(findings, folder), folder / "tensorboard"
    drawn = [path for kind in PICTURES for file in kind.drawn(findings) for path in file.paths(folder)]
    _remove_what_is_out_of_date(folder, {*tables, *drawn})
    if not findings.config.tensorboard:
        shutil.rmtree(board, ignore_errors=True)  # of an earlier config
    if anew or not is_up_to_date(folder, source, [*drawn, *([board] if findings.config.tensorboard else [])]):
        _draw_all(findings, folder, source)


def _draw_all(findings: Findings, folder: Path, source: str) -> None:
    """Draw the pictures, TensorBoard's files and the report, which comes last."""
    from sharpness_phases.views.report.page import Report, write_report

    shown = {name: paths[0] for name, paths in _draw(findings, folder).items()}
    if findings.config.tensorboard:
        from sharpness_phases.views.tensorboard import write_tensorboard

        constants = findings.critical_constants()
        edge = findings.axis.rate_times_edge
        write_tensorboard(folder / "tensorboard", findings.trajectories(), constants, shown, edge)
    environment = stored_config(folder).environment or {}
    write_report(folder / REPORT_FILE, Report(findings, shown, environment, source))


def write_results_over(findings: OverFindings, folder: Path) -> None:
    """Write what an experiment along one more axis shows of all its values: tables, and the pictures along it.

    An `OSError` if a file cannot be written.

    Args:
        findings: What the runs say.
        folder: The experiment's folder, beside those of its values.
    """
    tables, pictures = _write_tables(findings, folder), _draw(findings, folder)
    _remove_what_is_out_of_date(folder, {*tables, *(path for paths in pictures.values() for path in paths)})


def _write_tables(findings: Findings, folder: Path) -> list[Path]:
    """Write the tables; those beside pictures, which not every experiment has, are returned."""
    write_text(folder / "critical_constants.csv", findings.critical_constants().to_csv(index=False))
    write_text(folder / "summary.json", json.dumps(findings.summary_json(), indent=1, allow_nan=False) + "\n")
    beside = [kind.table for kind in PICTURES if kind.table is not None and kind.drawn(findings)]
    for table in beside:
        write_text(folder / table.name, table.of(findings).to_csv(index=False))
    return [folder / table.name for table in beside]


def _warn_of_violations(findings: Findings) -> None:
    if out_of_order := len(findings.violations()):
        logger.warning(
            "%d of %d initialisations: the usual order c_loss <= c_sharp <= c_barrier <= c_max does not hold",
            out_of_order,
            len(findings.critical_constants()),
        )


def _draw(findings: Findings, folder: Path) -> dict[str, list[Path]]:
    """Draw what the runs show; the files of every picture by its name, the PNG first."""
    drawn = {}
    for kind in PICTURES:
        for file in kind.drawn(findings):
            shown, paths = kind.draw(findings, file.choice), file.paths(folder)
            for path in reversed(paths):
                shown.save(path)
            drawn[file.name] = paths
    return drawn


def _remove_what_is_out_of_date(folder: Path, written: set[Path]) -> None:
    """Remove what the list of pictures has and this experiment has not."""
    for kind in PICTURES:
        for path in kind.paths(folder):
            if path not in written:
                path.unlink(missing_ok=True)

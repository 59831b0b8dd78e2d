"""What the command line shows: progress and tables."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sharpness_phases.runs.spec import Cell
from sharpness_phases.views import pictures
from sharpness_phases.views.by_network import Averaged, censored_sides, measured_constants, networks, written


class ConsoleProgress:
    """A bar with the time left on a terminal, a line for every finished cell elsewhere; use as a context manager.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin = time.monotonic()
        self._weights: dict[Cell, float] = {}
        self._done = self._computed = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=600,
        )

    def __enter__(self) -> ConsoleProgress:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if not self._bar.disable:  # it would print an empty line
            self._bar.stop()

    def started(self, cells: Sequence[Cell]) -> None:
        """See `sharpness_phases.experiment.Progress`."""
        self._begin, self._done = time.monotonic(), 0
        # The time of a cell grows with the network: with d w^2 once its arithmetic outweighs what every step costs.
        self._weights = {cell: 1.0 + cell.depth * (cell.width / 256) ** 2 for cell in cells}
        self._bar.add_task("initialisations", total=sum(self._weights.values()), count=f"0/{len(cells)}")

    def finished(self, cell: Cell, computed: int) -> None:
        """See `sharpness_phases.experiment.Progress`."""
        self._done += 1
        self._computed += computed
        count = f"{self._done}/{len(self._weights)}"
        self._bar.update(self._bar.task_ids[-1], advance=self._weights[cell], description=cell.name, count=count)
        if not self._console.is_terminal:
            seconds = time.monotonic() - self._begin
            news = f"{computed} new runs" if computed else "complete already"
            self._console.print(f"{count} {cell.name}: {news}, {seconds:.0f} s so far", highlight=False)


def constants_summary(summary: pd.DataFrame) -> Table:
    """The critical constants of every network: boundary, quartiles and number of censored initialisations.

    Args:
        summary: A table as `sharpness_phases.analysis.tables.summary_table` returns it.

    Returns:
        A table to print, of the constants that were measured.
    """
    names = measured_constants(summary)
    table = Table(
        title=_title(names),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in ("depth", "width", "n", *names):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("censored", justify="right", min_width=8)  # long when all are: this column may wrap
    for network in networks(summary):
        rows = [network.constants[name] for name in names]
        values = [_boundary_and_bar(row) for row in rows]
        censored = ", ".join(
            f"{name}: {' + '.join(censored_sides(row))}"
            for name, row in zip(names, rows, strict=True)
            if row.n_censored
        )
        table.add_row(str(network.depth), str(network.width), str(network.seeds), *values, censored or "0")
    return table


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts, numbers to the right.

    Args:
        title: Above the table.
        columns: Names of the columns.
        rows: Texts.

    Returns:
        A table to print.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Args:
        seconds: The time.

    Returns:
        Such as "40 seconds", "15 minutes", "3.5 hours" or "4.0 days".
    """
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"


def places(folder: Path) -> list[str]:
    """Where an experiment's results are: a line for every kind of which there are any.

    Args:
        folder: The experiment's.

    Returns:
        Lines to print.
    """
    others = {
        "Report": [folder / "report.html"],
        "Tables": [folder / "critical_constants.csv", folder / "summary.json"],
        "All files": [folder],
    }
    lines = []
    for title, paths in (pictures.places(folder) | others).items():
        found = [path for path in paths if path.exists()]
        if found:
            lines.append(f"{title + ':':<15}{', '.join([str(found[0]), *(path.name for path in found[1:])])}")
    if (folder / "tensorboard").is_dir():
        lines.append(f"{'TensorBoard:':<15}{shlex.join(['phases', 'board', str(folder)])}")
    return lines


def _title(names: Sequence[str]) -> str:
    """What the numbers are."""
    interval = "; c_crit (95% interval)" if "c_crit" in names else ""
    return f"Critical constants: median (quartiles){interval}"


def _boundary_and_bar(row: Averaged) -> str:
    """Such as "3.2 (3-3.4)", or "high (12-high)"; nothing in brackets where nothing is known of the spread."""
    if math.isnan(row.boundary):
        return "-"
    low, high = map(written, row.bar)
    return written(row.boundary) if low == high == "-" else f"{written(row.boundary)} ({low}-{high})"

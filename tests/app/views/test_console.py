import io

import tables
from rich.console import Console

from app.sweep.plan import Cell
from app.views.console import ConsoleProgress, constants_summary


def shown(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def test_the_summary_shows_mean_quartiles_and_censored_counts():
    summary = tables.summary(c_sharp=99, depths=(2,), widths=(8, 16))
    text = shown(constants_summary(summary))
    row = summary.set_index(["constant", "width"]).loc[("c_loss", 16)]
    assert f"{row['mean']:.3g} ({row['q25']:.3g}-{row['q75']:.3g})" in text
    assert "c_sharp: 3 high" in text


def test_the_summary_fits_a_terminal_of_80_columns():
    text = shown(constants_summary(tables.summary()))
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_elsewhere_than_on_a_terminal_progress_is_a_line_for_every_cell():
    console = Console(file=io.StringIO(), width=80)
    with ConsoleProgress(console) as progress:
        cells = [Cell(2, 8, 0), Cell(2, 8, 1)]
        progress.started(cells)
        progress.finished(cells[0], 12)
        progress.finished(cells[1], 0)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("1/2 d2_w8_s0: 12 new runs")
    assert lines[1].startswith("2/2 d2_w8_s1: complete already")
    assert len(lines) == 2


def test_on_a_terminal_progress_is_a_bar_with_the_time_left():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with ConsoleProgress(console) as progress:
        cells = [Cell(2, 8, 0), Cell(2, 8, 1)]
        progress.started(cells)
        progress.finished(cells[0], 12)
    text = console.file.getvalue()
    assert "1/2" in text
    assert "left:" in text

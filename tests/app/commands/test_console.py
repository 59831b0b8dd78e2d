import io

import tables
from rich.console import Console

from sharpness_phases.commands.console import ConsoleProgress, constants_summary, duration, places
from sharpness_phases.runs.spec import Cell


def shown(renderable, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def test_the_summary_shows_boundaries_quartiles_and_censored_counts():
    summary = tables.summary(c_sharp=99, depths=(2,), widths=(8, 16))
    text = shown(constants_summary(summary))
    row = summary.set_index(["constant", "width"]).loc[("c_loss", 16)]
    assert f"{row['boundary']:.3g} ({row['boundary_q25']:.3g}-{row['boundary_q75']:.3g})" in text
    assert "high (high-high)" in text
    assert "c_sharp: 3 high" in text


def test_the_summary_fits_a_terminal_of_80_columns():
    text = shown(constants_summary(tables.summary()))
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_places_name_only_what_is_there_and_a_command_that_a_shell_takes(tmp_path):
    folder = tmp_path / "my runs"
    (folder / "tensorboard").mkdir(parents=True)
    for name in ("phase_diagram.png", "phase_diagram.svg", "report.html", "summary.json"):
        (folder / name).touch()
    assert [line.split(maxsplit=1) for line in places(folder)[1:]] == [
        ["Report:", f"{folder}/report.html"],
        ["Tables:", f"{folder}/summary.json"],
        ["All", f"files:     {folder}"],
        ["TensorBoard:", f"phases board '{folder}'"],
    ]
    assert places(folder)[0] == f"Phase diagram: {folder}/phase_diagram.png, phase_diagram.svg"


def test_times_have_the_unit_that_suits_them():
    assert [duration(t) for t in (40, 900, 12600, 345600)] == ["40 seconds", "15 minutes", "3.5 hours", "4.0 days"]


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

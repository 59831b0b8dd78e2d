"""The commands that show what has been run: plot, compare, board, configs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Literal

import typer

from sharpness_phases.commands import completion
from sharpness_phases.commands.options import Folder, PictureFile, out
from sharpness_phases.errors import UserError

_VECTOR = ".pdf"  # what papers want


def plot(
    folder: Folder,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            autocompletion=completion.kinds,
            help="diagram, trajectories, saturation, saturation_diagram or regimes.",
        ),
    ] = "diagram",
    style: Annotated[
        str,
        typer.Option(
            "--style",
            metavar="STYLE",
            autocompletion=completion.styles,
            help="screen; paper: as wide as a column, 3.3 in, with fonts of 7 to 9 pt; wide: two columns; "
            "grey: paper without colours.",
        ),
    ] = "screen",
    output: PictureFile = None,
    over: Annotated[
        Literal["width", "depth", "ratio"] | None,
        typer.Option("--over", help="Vertical axis of the diagram: 1/width, depth or depth/width."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Which initialisation, of trajectories and regimes.")
    ] = None,
) -> None:
    """Draw a picture of stored runs, for a screen or for a paper."""
    from sharpness_phases.views.pictures import KINDS, picture
    from sharpness_phases.views.style import STYLES

    for name, value, allowed in (("--kind", kind, KINDS), ("--style", style, STYLES)):
        if value not in allowed:
            raise UserError(f"{name}: must be one of {', '.join(allowed)}; got {value!r}")
    from sharpness_phases.analyzer import PhaseAnalyzer

    path = output or folder / f"{kind}-{style}{'.png' if style == 'screen' else _VECTOR}"
    try:
        shown = picture(PhaseAnalyzer.load(folder), kind, over, seed)
        shown.save(path, STYLES[style])
    except UserError as error:
        raise error if str(error).startswith(("--", str(folder))) else UserError(f"{folder}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    out.print(f"Picture: {path}", markup=False)


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", autocompletion=completion.folders, help="Folders that `phases run` has written."
        ),
    ],
    output: PictureFile = None,
    over: Annotated[
        Literal["width", "depth", "ratio"], typer.Option("--over", help="Vertical axis: 1/width, depth or depth/width.")
    ] = "ratio",
) -> None:
    """Draw the phase diagrams of several experiments on one sheet, by default outputs/comparison.png."""
    from sharpness_phases.experiment import compare as draw

    path = output or Path("outputs/comparison.png")
    try:
        draw(folders, path, over)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    out.print(f"Comparison: {path}", markup=False)


def board(
    folder: Folder,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Where to listen; 0 for any free port. From 6006 on by default."),
    ] = None,
) -> None:
    """Show an experiment in TensorBoard, on this machine only, until Ctrl-C."""
    from sharpness_phases.store.folder import stored_config
    from sharpness_phases.views.tensorboard_server import start_tensorboard

    stored_config(folder)
    address = start_tensorboard(folder, port)
    out.print(f"TensorBoard of {folder}: {address} (Ctrl-C ends it)", markup=False)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        out.print("Ended.")


def configs() -> None:
    """List the shipped configs, with a line each."""
    from sharpness_phases.config.loading import describe_shipped

    for name, line in describe_shipped():
        out.print(f"{name:<28} {line}", markup=False)

"""The commands that show what has been run: plot, compare, board, configs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, TypeAlias

import typer

from sharpness_phases.commands import completion
from sharpness_phases.commands.options import Folder, PictureFile
from sharpness_phases.commands.output import out
from sharpness_phases.errors import UserError
from sharpness_phases.views.pictures import DEFAULT_KIND, KINDS, kinds_with_seed, picture

_VECTOR = ".pdf"  # what papers want


def _listed(names: Sequence[str], word: str) -> str:
    """Names in a sentence: a, b and c."""
    return f" {word} ".join([*([", ".join(names[:-1])] if names[:-1] else []), names[-1]])


Axis: TypeAlias = Literal["width", "depth", "ratio"]
KindOfPicture = Annotated[
    str,
    typer.Option("--kind", metavar="KIND", autocompletion=completion.kinds, help=f"{_listed(list(KINDS), 'or')}."),
]
StyleOfPicture = Annotated[
    str,
    typer.Option(
        "--style",
        metavar="STYLE",
        autocompletion=completion.styles,
        help="screen; paper: as wide as a column, 3.3 in, with fonts of 7 to 9 pt; wide: two columns; "
        "grey: paper without colours.",
    ),
]
AxisOfDiagram = Annotated[
    Axis | None, typer.Option("--over", help="Vertical axis of the diagram: 1/width, depth or depth/width.")
]
Initialisation = Annotated[
    int | None,
    typer.Option("--seed", min=0, help=f"Which initialisation, of {_listed(kinds_with_seed(), 'and')}."),
]


def plot(
    folder: Folder,
    kind: KindOfPicture = DEFAULT_KIND,
    style: StyleOfPicture = "screen",
    output: PictureFile = None,
    over: AxisOfDiagram = None,
    seed: Initialisation = None,
) -> None:
    """Draw a picture of stored runs, for a screen or for a paper."""
    from sharpness_phases.views.style import STYLES

    for name, value, allowed in (("--kind", kind, KINDS), ("--style", style, STYLES)):
        if value not in allowed:
            raise UserError(f"{name}: must be one of {', '.join(allowed)}; got {value!r}")
    from sharpness_phases.analyzer import PhaseAnalyzer
    from sharpness_phases.store.folder import errors_with_advice

    path = output or folder / f"{kind}-{style}{'.png' if style == 'screen' else _VECTOR}"
    with errors_with_advice(folder):
        analyzer = PhaseAnalyzer.load(folder)
    try:
        shown = picture(analyzer, kind, over, seed)
    except UserError as error:
        raise error if str(error).startswith("--") else UserError(f"{folder}: {error}") from None
    with _written(path):
        shown.save(path, STYLES[style])
    out.print(f"Picture: {path}", markup=False)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Blame the path of a picture for what cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", autocompletion=completion.folders, help="Folders that `phases run` has written."
        ),
    ],
    output: PictureFile = None,
    over: Annotated[Axis, typer.Option("--over", help="Vertical axis: 1/width, depth or depth/width.")] = "ratio",
) -> None:
    """Draw the phase diagrams of several experiments on one sheet, by default outputs/comparison.png."""
    from sharpness_phases.analyzer import compare as draw

    path = output or Path("outputs/comparison.png")
    with _written(path):
        draw(folders, path, over)
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
    # Without this, TensorBoard imports TensorFlow, which takes seconds and serves nothing here. It holds for the whole
    # process, which is why it stands in the command: Keras's callback for TensorBoard needs TensorFlow.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
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

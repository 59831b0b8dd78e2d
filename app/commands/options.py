"""What all commands share: where they print and how much, and the arguments that several of them take."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from sharpness_phases.commands import completion
from sharpness_phases.errors import MachineError, UserError

if TYPE_CHECKING:
    pass

logger = logging.getLogger("sharpness_phases")

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 100)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def show_messages(level: int = logging.INFO) -> None:
    """Have our messages from a level on printed to standard error; their time and level only among details.

    Args:
        level: As `logging` numbers them.
    """
    details = level < logging.INFO
    handler = RichHandler(console=err, show_time=details, show_path=False, show_level=details, markup=False)
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def progress_console() -> Console:
    """Where progress is shown; nowhere, if only errors are asked for."""
    return err if logger.isEnabledFor(logging.INFO) else Console(stderr=True, quiet=True)


def _quiet(value: bool) -> None:
    if value:
        show_messages(logging.ERROR)


def _verbose(value: bool) -> None:
    if value:
        show_messages(logging.DEBUG)


def _json_file(path: Path | None) -> Path | None:
    """With "-", all that is for people goes to standard error, so that standard output is JSON alone."""
    if path is not None and path.is_dir():
        raise UserError(f"--json {path}: a folder; name a file in it, or - for standard output")
    out.stderr = path == _STANDARD_OUTPUT
    return path


def _picture_file(path: Path | None) -> Path | None:
    from sharpness_phases.views.style import PICTURE_ENDINGS

    if path is not None and (path.suffix.lower() not in PICTURE_ENDINGS or path.is_dir()):
        raise UserError(f"--output {path}: must be a file that ends with one of {', '.join(PICTURE_ENDINGS)}")
    return path


_STANDARD_OUTPUT = Path("-")

Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", callback=_quiet, help="Print only errors, results and where they are.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", callback=_verbose, help="Print details of what is done.")]
Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        autocompletion=completion.configs,
        help="A YAML file, or the name of a shipped config (quickstart).",
    ),
]
OptionalConfig = Annotated[
    str,
    typer.Argument(metavar="[CONFIG]", autocompletion=completion.configs, help="A YAML file or a shipped config."),
]
Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", autocompletion=completion.folders, help="Folder that `phases run` has written."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Override a key: -s sweep.widths=[64,128]"),
]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="DIR", help="Folder of the results; outputs/NAME by default.")
]
PictureFile = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", callback=_picture_file, help="Where to: a .png, .svg or .pdf file."),
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-custom-code", help="Run the code that a config from elsewhere names (package.module:name)."),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=_json_file,
        help="Write the figures here as JSON, too; - for standard output, and nothing else there.",
    ),
]


def write_json(path: Path | None, content: Any, more: bool = False) -> None:
    """Write what --json asks for.

    Args:
        path: The option's value; None writes nothing.
        content: Plain values; NaN and infinities become null.
        more: Whether this is not all yet: a file is kept up to date, standard output waits for the whole.

    Raises:
        MachineError: If the file cannot be written.
    """
    from sharpness_phases.store.files import atomic_file

    if path is None or (more and path == _STANDARD_OUTPUT):
        return
    text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
    if path == _STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    try:
        if path.exists() and not path.is_file():  # a pipe
            path.write_text(text)
            return
        with atomic_file(path) as unfinished:
            unfinished.write_text(text)
    except OSError as error:
        raise MachineError(f"--json {path}: cannot be written: {error.strerror}") from None


def _plain(value: Any) -> Any:
    """Values that JSON has: numbers of NumPy's become Python's, what is no finite number becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value

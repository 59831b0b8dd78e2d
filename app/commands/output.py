"""Where commands print and how much, and the JSON that they write."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.logging import RichHandler

from sharpness_phases.errors import MachineError

logger = logging.getLogger("sharpness_phases")

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 100)
err = Console(stderr=True, highlight=False, soft_wrap=True)

T = TypeVar("T")

STANDARD_OUTPUT = Path("-")
"""What stands for standard output where a file is named."""


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


def one_by_one(what: str, values: Iterable[T], count: int | None = None) -> Iterable[T]:
    """Values one by one, with a bar on a terminal.

    Args:
        what: What they are, for the bar.
        values: The values.
        count: Their number, where it cannot be asked for.

    Returns:
        The same values.
    """
    from rich.progress import track

    console = progress_console()
    return track(values, what, count, console=console, disable=not console.is_terminal, transient=True)


def write_json(path: Path | None, content: object, more: bool = False) -> None:
    """Write what --json asks for.

    Args:
        path: The option's value; None writes nothing.
        content: Plain values; NaN and infinities become null.
        more: Whether this is not all yet: a file is kept up to date, standard output waits for the whole.

    Raises:
        MachineError: If the file cannot be written.
    """
    from sharpness_phases.store.files import atomic_file

    if path is None or (more and path == STANDARD_OUTPUT):
        return
    text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
    if path == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    try:
        if path.exists() and not path.is_file():  # a pipe
            path.write_text(text, encoding="utf-8")
            return
        with atomic_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"--json {path}: cannot be written: {error.strerror}") from None


def _plain(value: object) -> object:
    """Values that JSON has: numbers of NumPy's become Python's, what is no finite number becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain

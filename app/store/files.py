"""Files that are written whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = ".unfinished-"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A file to write to, which takes its place only when it is finished; a reader sees all of it or what was before.

    Args:
        path: Its place. The folder is made if need be.

    Yields:
        The path to write to, with the same ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Args:
        path: Its place.
        text: Its content.
    """
    with atomic_file(path) as unfinished:
        unfinished.write_text(text)


def remove_unfinished(*folders: Path) -> None:
    """Remove what a killed process left half written; only while no other process writes in the folders.

    Args:
        folders: Where to look, not below them.
    """
    for folder in folders:
        for path in folder.glob(f"{_TEMPORARY}*"):
            path.unlink(missing_ok=True)

"""Files that are written whole or not at all, and that are on the disk before anything is removed for them."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = ".unfinished-"

_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, errno.EACCES, errno.EPERM)
"""What a file system says that has no `fsync` for folders, or not for this user: there is nothing to wait for."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A file to write to, which takes its place only when it is finished; a reader sees all of it or what was before.

    Its content is on the disk before it takes its place, and its name when the context ends, so that a power cut leaves
    what was before or the whole file, too. Where the place is a symbolic link, the file that it leads to is replaced.

    Args:
        path: Its place. The folder is made if need be.

    Yields:
        The path to write to, with the same ending.
    """
    place = _without_links(path)
    make_folder(place.parent)
    temporary = place.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{place.name}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(place)
        flush_folder(place.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Args:
        path: Its place.
        text: Its content.
    """
    with atomic_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, as far as they are missing; their names are on the disk afterwards.

    Args:
        folder: The folder.
    """
    if folder.is_dir():
        return
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush_folder(path.parent)


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk; where that is possible, it is read from there from then on.

    Args:
        path: The file.
    """
    with _opened(path) as descriptor:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, whose `fsync` leaves the content in the disk's own memory
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Args:
        folder: The folder.
    """
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor to flush, if the file system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def remove_unfinished(*folders: Path) -> None:
    """Remove what a killed process left half written; only while no other process writes in the folders.

    Args:
        folders: Where to look, not below them.
    """
    for folder in folders:
        for path in folder.glob(f"{_TEMPORARY}*"):
            path.unlink(missing_ok=True)


def _without_links(path: Path) -> Path:
    """The place that a symbolic link leads to, where a file need not be yet; an `OSError` if it leads in a circle."""
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return place

"""The folder of an experiment: made, kept or removed again, and what is said where the machine gives out."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from sharpness_phases.config.loading import load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import MachineError, UserError
from sharpness_phases.store.claims import LOCK_FILE, Claims
from sharpness_phases.store.files import flush_folder, make_folder

CONFIG_FILE, RUNS_FOLDER = "config.yaml", "runs"
"""In the folder of an experiment: its config, and the folder of its runs."""

_GIVES_OUT = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # not a mistake in the path


@contextmanager
def work_folder(folder: Path, keep: Callable[[], bool]) -> Iterator[None]:
    """Make a folder; after a user's error, remove again what was made, unless it holds something to keep.

    It is kept, too, while another process or thread works in it, and where locks are refused: nobody can know then. A
    path that cannot be a folder is a `UserError`; one that may not be written, a full disk and lack of memory are a
    `MachineError`.

    Args:
        folder: The folder.
        keep: Whether it holds something to keep.

    Raises:
        UserError: The user's error from within.
    """
    made: list[Path] = []
    try:
        made = [path for path in [folder, *folder.parents] if not path.exists()]
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _remove_empty(made)
        kind = MachineError if error.errno in _GIVES_OUT else UserError
        raise kind(f"{folder}: results cannot be written there: {error.strerror}. Choose another --output") from None
    try:
        with errors_with_advice(folder):
            yield
    except UserError:
        if made:
            with Claims(folder) as claims, claims.alone() as alone:
                if alone and not keep():
                    _remove(folder)
            _remove_empty(made[1:])
        raise


@contextmanager
def errors_with_advice(folder: Path) -> Iterator[None]:
    """Say what to do where space, permission or memory is lacking.

    Args:
        folder: Named where the error names no file.

    Raises:
        MachineError: In place of an `OSError` or a `MemoryError`.
    """
    try:
        yield
    except OSError as error:
        place, reason = error.filename or folder, error.strerror or error
        raise MachineError(
            f"{place}: {reason}. Finished runs are kept; once this is mended, `phases run` goes on where it stopped."
        ) from None
    except MemoryError:
        raise MachineError("Out of memory. Finished runs are kept; take a machine with more, then run again.") from None


def _remove(folder: Path) -> None:
    """Remove a folder that nobody else works in; the lock file, at which who comes meanwhile waits, goes last."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()
    (folder / LOCK_FILE).unlink()
    _remove_empty([folder])


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders from the innermost outwards, up to one that holds something, such as another process' results."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def set_aside(path: Path, *beside: Path) -> Path | None:
    """Rename a file or folder to `<name>.old-1`, or the first number that is free, and what belongs to it likewise.

    What a symbolic link leads to is renamed; where that is a folder, the link leads to an empty one of its name then.

    Args:
        path: The file or folder.
        beside: Others that get the same number, as far as there are any.

    Returns:
        Its new path; None if there is no such file or folder, and nothing is renamed.
    """
    if not path.exists():
        return None
    existing = [each for each in (path, *beside) if each.exists()]
    places = [each.resolve() for each in existing]
    number = next(n for n in count(1) if not any(os.path.lexists(_numbered(place, n)) for place in places))
    for link, place in zip(existing, places, strict=True):
        was_folder = place.is_dir()
        place.rename(_numbered(place, number))
        if link.is_symlink() and was_folder:
            place.mkdir()
        flush_folder(place.parent)
    return _numbered(places[0] if path.is_symlink() else path, number)


def _numbered(place: Path, number: int) -> Path:
    return place.with_name(f"{place.name}.old-{number}")


def holds_runs(folder: Path) -> bool:
    """Whether there are files of runs in the folder of an experiment, whatever their version; none is read.

    Args:
        folder: The experiment's.

    Returns:
        Whether there are.
    """
    try:
        with os.scandir(folder / RUNS_FOLDER) as entries:
            return any(entry.name.endswith(".parquet") and not entry.name.startswith(".") for entry in entries)
    except FileNotFoundError:
        return False


def stored_config(folder: str | Path) -> ExperimentConfig:
    """The config of an experiment that has been run.

    Args:
        folder: Folder that `phases run` has written.

    Returns:
        Its config.

    Raises:
        UserError: If there is none.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{folder}: not the folder of an experiment: there is no {CONFIG_FILE} in it")
    return load_config(path)

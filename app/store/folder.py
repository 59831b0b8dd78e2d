"""The folder of an experiment: made, kept or removed again, and what is said where the machine gives out."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sharpness_phases.config.loading import load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import MachineError, UserError

CONFIG_FILE, RUNS_FOLDER = "config.yaml", "runs"
"""In the folder of an experiment: its config, and the folder of its runs."""

_GIVES_OUT = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # not a mistake in the path


@contextmanager
def work_folder(folder: Path, keep: Callable[[], bool]) -> Iterator[None]:
    """Make a folder; after a user's error, remove again what was made, unless it holds something to keep.

    A path that cannot be a folder is a `UserError`; one that may not be written, a full disk and lack of memory are a
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
        folder.mkdir(parents=True, exist_ok=True)
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
        if made and not keep():
            shutil.rmtree(folder)
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


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders from the innermost outwards, up to one that holds something, such as another process' results."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def set_aside(path: Path) -> Path | None:
    """Rename a folder to `<name>.old-1`, or the first number that is free.

    Args:
        path: The folder.

    Returns:
        Its new path; None if there is no such folder.
    """
    if not path.exists():
        return None
    number = 1
    while (old := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return path.rename(old)


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

"""Who works at what, among all processes that share the folder of an experiment."""

from __future__ import annotations

import fcntl
import hashlib
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
_PRESENCE = 0  # the byte on which everyone who works in the folder holds a shared lock


class Claims:
    """Claims of one process on names, such as a cell's; use as a context manager.

    A claim is a record lock (POSIX, fcntl) on a byte of one file: it ends with the process, however that ends, and
    holds between machines where the file system passes locks on, as NFS does. Elsewhere all claims are granted.

    Args:
        folder: The experiment's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / LOCK_FILE).open("a+b")
        self._supported = True
        self._lock(fcntl.LOCK_SH, _PRESENCE)

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def claim(self, name: str) -> bool:
        """Claim a name.

        Args:
            name: What for.

        Returns:
            Whether it is ours now; False while another process has it.
        """
        return self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, _byte(name))

    def wait(self, name: str) -> None:
        """Claim a name, however long that takes."""
        self._lock(fcntl.LOCK_EX, _byte(name))

    def release(self, name: str) -> None:
        """Give a name back."""
        self._lock(fcntl.LOCK_UN, _byte(name))

    def is_alone(self) -> bool:
        """Whether no other process works in the folder at this moment."""
        alone = self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, _PRESENCE)
        if alone:
            self._lock(fcntl.LOCK_SH, _PRESENCE)
        return alone

    def _lock(self, operation: int, byte: int) -> bool:
        if not self._supported:
            return True
        try:
            fcntl.lockf(self._file, operation, 1, byte)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: another process has it
            return False
        except OSError as error:
            self._supported = False
            logger.info("No locks on %s (%s): do not start two processes on it.", self._file.name, error.strerror)
        return True


def _byte(name: str) -> int:
    return 1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")

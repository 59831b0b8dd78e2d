"""Who works at what, among all processes and threads that share the folder of an experiment."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
_PRESENCE = 0  # the byte on which every process that works in the folder holds a shared lock

_TRIES = 100
"""How often a folder that is removed while it is entered is made anew; chosen so: whoever removes it does so once."""

_PAUSE = 0.05
"""Seconds between two tries where the kernel refuses to wait, as it sees a deadlock between two processes of several
threads; chosen so: short beside a run, long beside the call."""

_visitors = itertools.count()


class Claims:
    """Claims of one thread on names, such as a cell's; use as a context manager.

    A claim is a record lock (POSIX, fcntl) on a byte of one file: it ends with the process, however that ends, and
    holds between machines where the file system passes locks on, as NFS does. Elsewhere all claims are granted, but for
    those of other threads of this process.

    Args:
        folder: The experiment's folder; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._me = next(_visitors)
        self._lock = _LockFile.enter(folder / LOCK_FILE, self._me)
        self._leave = weakref.finalize(self, self._lock.leave, self._me)

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *error: object) -> None:
        self._leave()

    @property
    def are_certain(self) -> bool:
        """Whether the file system grants locks, as far as is known: else other processes are not seen."""
        return self._lock.supported

    def claim(self, name: str) -> bool:
        """Claim a name.

        Args:
            name: What for.

        Returns:
            Whether it is ours now; False while another process or thread has it.
        """
        return self._lock.take(_byte(name), self._me)

    def wait(self, name: str) -> None:
        """Claim a name, however long that takes."""
        self._lock.take(_byte(name), self._me, wait=True)

    def release(self, name: str) -> None:
        """Give a name back, if this thread has it."""
        self._lock.give_back(_byte(name), self._me)

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Claim a name, however long that takes, and give it back in the end.

        Args:
            name: What for.
        """
        self.wait(name)
        try:
            yield
        finally:
            self.release(name)

    def is_alone(self) -> bool:
        """Whether it is certain that nobody else works in the folder at this moment."""
        with self.alone() as alone:
            return alone

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Have the folder for oneself, if it is certain that nobody else works there; who comes then waits.

        Yields:
            Whether it is so, for as long as the context lasts. False where locks are refused: nobody can know.
        """
        alone = self._lock.be_alone()
        try:
            yield alone
        finally:
            if alone:
                self._lock.be_together()


def _byte(name: str) -> int:
    return 1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


_Identity = tuple[int, int]  # device and inode
_Owner = tuple[int, int]  # visitor and thread


class _LockFile:
    """A lock file within this process, shared by all who work in its folder.

    A record lock belongs to the whole process, and all are lost when any of its descriptors of the file is closed. So
    every lock file is opened once, and which thread has which byte is noted here.
    """

    _opened: dict[_Identity, _LockFile] = {}
    _guard = threading.RLock()
    _is_taken: bool

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.supported = True
        self._files = [file]
        self._present: list[int] = []
        self._forget_threads()

    @classmethod
    def enter(cls, path: Path, visitor: int) -> _LockFile:
        """The lock file at a path; from then on other processes see that we are there.

        It waits while somebody has the folder for himself. A folder that he has removed is made anew.

        Args:
            path: Its place.
            visitor: Who enters: a number of his own.

        Returns:
            The file.

        Raises:
            OSError: If it cannot be opened.
        """
        for _ in range(_TRIES):
            with cls._guard:  # else the last visitor could close the file before we are in
                lock = cls._open(path)
                lock._join(visitor)
            if lock._identity == _identity_at(path):
                return lock
            lock.leave(visitor)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    @classmethod
    def _open(cls, path: Path) -> _LockFile:
        here = _identity_at(path)
        if here is not None and here in cls._opened:
            return cls._opened[here]
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
        identity = _identity(os.fstat(file.fileno()))
        if identity in cls._opened:  # it has just come to this path; a descriptor that is closed takes all locks along
            cls._opened[identity]._files.append(file)
        return cls._opened.setdefault(identity, cls(path, file))

    @property
    def _identity(self) -> _Identity:
        return _identity(os.fstat(self._files[0].fileno()))

    def _join(self, visitor: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            if not self._present:
                self._until(lambda: self._lock(fcntl.LOCK_SH, _PRESENCE))
            self._present.append(visitor)

    def leave(self, visitor: int) -> None:
        """Give back all that a visitor has; the last one of the process closes the file."""
        with self._guard, self._changed:
            self._present.remove(visitor)
            for byte in [byte for byte, (owner, _) in self._owners.items() if owner == visitor]:
                del self._owners[byte]
                self._lock(fcntl.LOCK_UN, byte)
            if not self._present:
                del self._opened[self._identity]
                for file in self._files:
                    file.close()
            self._changed.notify_all()

    def take(self, byte: int, visitor: int, wait: bool = False) -> bool:
        """Take a byte for this thread of a visitor's.

        Args:
            byte: Its number, above 0.
            visitor: Who has entered.
            wait: Whether to wait until it is free.

        Returns:
            Whether it is his now; False while another thread or process has it.
        """
        owner = (visitor, threading.get_ident())
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._owners.get(byte, owner) == owner)
            if byte in self._owners:
                return self._owners[byte] == owner
            self._owners[byte] = owner
        taken = False
        try:  # without the condition, since it may take long
            if wait:
                self._until(lambda: self._lock(fcntl.LOCK_EX, byte))
            taken = wait or self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, byte)
        finally:
            if not taken:
                self._forget(byte)
        return taken

    def give_back(self, byte: int, visitor: int) -> None:
        """Give a byte back, if this thread of the visitor's has it."""
        if self._owners.get(byte) == (visitor, threading.get_ident()):
            self._lock(fcntl.LOCK_UN, byte)
            self._forget(byte)

    def be_alone(self) -> bool:
        """Keep others from entering until `be_together`, if it is certain that only one visitor is here."""
        with self._changed:
            if len(self._present) > 1 or self._is_taken:
                return False
            self._is_taken = self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, _PRESENCE) and self.supported
            return self._is_taken

    def be_together(self) -> None:
        """Let others enter again."""
        with self._changed:
            self._lock(fcntl.LOCK_SH, _PRESENCE)
            self._is_taken = False
            self._changed.notify_all()

    def _lock(self, operation: int, byte: int) -> bool:
        if not self.supported:
            return True
        try:
            fcntl.lockf(self._files[0], operation, 1, byte)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: another process has it
            return False
        except OSError as error:
            if error.errno == errno.EDEADLK:
                return False
            self.supported = False
            logger.info("No locks on %s (%s): do not start two processes on it.", self.path, error.strerror)
        return True

    @staticmethod
    def _until(done: Callable[[], bool]) -> None:
        while not done():
            time.sleep(_PAUSE)

    def _forget(self, byte: int) -> None:
        with self._changed:
            self._owners.pop(byte, None)
            self._changed.notify_all()

    def _forget_threads(self) -> None:
        self._changed = threading.Condition()
        self._owners: dict[int, _Owner] = {}
        self._is_taken = False

    @classmethod
    def begin_in_a_child(cls) -> None:
        """What a process that was split off (fork) has: none of its parent's locks, and its own presence."""
        cls._guard = threading.RLock()
        for lock in cls._opened.values():
            lock._forget_threads()
            lock._lock(fcntl.LOCK_SH | fcntl.LOCK_NB, _PRESENCE)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _identity_at(path: Path) -> _Identity | None:
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        return None


os.register_at_fork(after_in_child=_LockFile.begin_in_a_child)

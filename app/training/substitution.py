"""Functions of other libraries replaced for one thread, for as long as a `with` lasts."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

AnyFunction: TypeAlias = Callable[..., Any]
"""A function or method of another library."""


class Substitution(NamedTuple):
    """A function and what stands for it.

    Attributes:
        owner: The module or class that holds the function.
        name: Its name there; callers must look it up there at every call.
        substitute: Takes the same arguments, for a method with the object first.
    """

    owner: ModuleType | type
    name: str
    substitute: AnyFunction


class _Installed(NamedTuple):
    """The function that looks at the thread.

    Attributes:
        function: It.
        original: What it stands for.
        users: How many `with` in all threads need it.
    """

    function: AnyFunction
    original: AnyFunction
    users: int


class _Here(threading.local):
    """What this thread has replaced."""

    def __init__(self) -> None:
        self.table: dict[tuple[int, str], AnyFunction] = {}


_here = _Here()
_lock = threading.Lock()
_installed: dict[tuple[int, str], _Installed] = {}


@contextmanager
def substituted(substitutions: Sequence[Substitution]) -> Iterator[None]:
    """Replace functions for this thread; another thread that calls them meanwhile gets the functions themselves.

    Nothing stays replaced when the last `with` has ended, also after an exception.

    Args:
        substitutions: What is replaced; of two for one function, the one of the inner `with` counts.

    Yields:
        Nothing.
    """
    before = _here.table
    _here.table = before | {_key(each): each.substitute for each in substitutions}
    installed = list[Substitution]()
    try:
        for each in substitutions:
            _install(each)
            installed.append(each)
        yield
    finally:
        for each in reversed(installed):
            _remove(each)
        _here.table = before


def _key(each: Substitution) -> tuple[int, str]:
    return id(each.owner), each.name


def _install(each: Substitution) -> None:
    with _lock:
        key = _key(each)
        if key not in _installed:
            original = getattr(each.owner, each.name)
            _installed[key] = _Installed(_looking_at_the_thread(key, original), original, 0)
            setattr(each.owner, each.name, _installed[key].function)
        _installed[key] = _installed[key]._replace(users=_installed[key].users + 1)


def _looking_at_the_thread(key: tuple[int, str], original: AnyFunction) -> AnyFunction:
    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        return _here.table.get(key, original)(*args, **kwargs)

    return function


def _remove(each: Substitution) -> None:
    with _lock:
        key = _key(each)
        found = _installed[key] = _installed[key]._replace(users=_installed[key].users - 1)
        if found.users:
            return
        del _installed[key]
        if getattr(each.owner, each.name) is found.function:  # else somebody has wrapped it, and it passes all through
            setattr(each.owner, each.name, found.original)

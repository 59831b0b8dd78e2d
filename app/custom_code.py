"""The user's own code, named in a config as "package.module:attribute".

Modules are looked for in the current folder before all others, and are imported under their own names: a user's folder
may have an `app/` and a `models/` of its own. `custom_code_file` finds the file without running any of it, so that what
a config would run can be judged (`sharpness_phases.config.trust`) and hashed before; `load_custom` makes sure that
the module imported is the one that was found, as it stands there now.

The code of a name is its file and what that imports of the user's own: the files that `import` statements in it name,
and in those again, which lie in the current folder or in the folder of the search path where the first was found.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
import sysconfig
import time
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from sharpness_phases.errors import UserError

Custom: TypeAlias = Any
"""What the user's code gives: a function that builds a model, a loss, anything; who asks for it checks it."""

_imported_from: dict[str, Path] = {}  # top-level modules of the user's, each with the current folder of that time
_imported_as: dict[str, _Seen] = {}  # the names that were imported, each with its code at that time

_Mark: TypeAlias = tuple[int, int, int, int]
"""Time of change, time of the content's change, size, inode."""

_INSTALLED = ("site-packages", "dist-packages")  # folders into which others' packages are installed

_TICK = 2_000_000_000
"""Nanoseconds for which a file that was just written is read again although its time of change has not changed: file
systems keep time in ticks, of 2 s at most (FAT), and two changes within one look alike."""


def names_custom_code(location: str) -> bool:
    """Whether a text has the form "package.module:attribute".

    Args:
        location: A model family, a loss or an optimizer, as a config names it.

    Returns:
        Whether it is the place of the user's own code.

    Example:
        >>> [names_custom_code(text) for text in ("models.nets:mlp", "fcn", "models/nets.py:mlp")]
        [True, False, False]
    """
    module, colon, attribute = location.partition(":")
    return bool(colon) and all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()


def load_custom(location: str, key: str) -> Custom:
    """Import the user's object; its module is looked for in the current folder first.

    A module of the same name that an earlier call imported from another current folder makes room for it, and so does
    code that has changed since; one that anybody else imported does not, and is named in the error.

    Args:
        location: "package.module:attribute".
        key: Key of the config that names it, for messages.

    Returns:
        The object.

    Raises:
        UserError: If it cannot be imported.
    """
    module, _, attribute = location.partition(":")
    _look_in_the_current_folder_first()
    _forget_other_folders()
    _forget_what_has_changed(location)
    if reason := _in_the_way(module):
        raise UserError(f"{key}: {location!r} cannot be imported: {reason}")
    before = set(sys.modules)
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        # Own code may have asked for another module of the user's, in vain; or a module in the way has just been found.
        reason = _in_the_way(getattr(error, "name", None) or module)
        hint = f". {reason}" if reason else ""
        raise UserError(f"{key}: {location!r} cannot be imported: {type(error).__name__}: {error}{hint}") from error
    finally:
        _remember_this_folder(set(sys.modules) - before)


def custom_code_digest(location: str, of_one_file: bool = False) -> str:
    """A hash of the code of a name, so that a change of it makes new runs.

    What is loaded in other ways than by `import` statements (data, `importlib`) is not seen.

    Args:
        location: "package.module:attribute".
        of_one_file: Whether to hash its own file alone, as version 0.1 did; if it imports nothing of the user's, that
            is the same.

    Returns:
        64 hexadecimal digits; "" if it is not found.
    """
    if of_one_file:
        file = custom_code_file(location)
        return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    return _code_of(location).digest


def custom_code_file(location: str) -> Path | None:
    """The file that the user's object is in, found without running any of it; None if there is none."""
    found = _found(location.partition(":")[0])
    return None if found is None else found[1].resolve()


def runs_only_own_code(location: str) -> bool:
    """Whether a name stands for code in the current folder or below it, in files that are really there.

    Where a symbolic link leads decides, for the packages around the module, too. What was installed there, and a Python
    that stands there, do not count as own.

    Args:
        location: "package.module:attribute".

    Returns:
        Whether it does; False if there is no such file.
    """
    module = location.partition(":")[0]
    found = _found(module)
    if found is None:
        return False
    folder, file = found
    return all(is_own_file(each) for each in (file, *_packages_around(folder, module)))


def is_own_file(file: Path) -> bool:
    """Whether a file is in the current folder or below, where links lead, and neither installed nor Python's own."""
    return file.resolve().is_relative_to(Path.cwd().resolve()) and not _is_installed(file.resolve())


def _is_installed(file: Path) -> bool:
    return any(name in file.parts for name in _INSTALLED) or any(map(file.is_relative_to, _pythons_own()))


@lru_cache(maxsize=1)
def _pythons_own() -> set[Path]:
    return {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}


def _found(module: str) -> tuple[Path, Path] | None:
    """The folder of the search path in which there is a file of a module, and the file; the current folder is first."""
    folders = (Path.cwd(), *(Path.cwd() / folder for folder in sys.path))
    return next(((folder, file) for folder in folders if (file := _file_in(folder, module))), None)


def _file_in(folder: Path, module: str) -> Path | None:
    """The file of a module in a folder of the search path: of a package before a module, as Python does."""
    path = folder.joinpath(*module.split("."))
    return next((f for f in (path / "__init__.py", path.with_name(f"{path.name}.py")) if f.is_file()), None)


def _packages_around(folder: Path, module: str) -> Iterator[Path]:
    """The files of the packages that a module is in: they are run before it is."""
    names = module.split(".")[:-1]
    paths = (folder.joinpath(*names[: depth + 1], "__init__.py") for depth in range(len(names)))
    return (path for path in paths if path.is_file())


class _Seen(NamedTuple):
    """The code of a name at some time.

    Attributes:
        digest: Its hash.
        files: Its files by their modules.
        marks: What tells whether its files, and the folders that others could come to, have changed.
        time: When, in nanoseconds.
    """

    digest: str
    files: dict[str, Path]
    marks: dict[Path, _Mark]
    time: int

    def is_up_to_date(self) -> bool:
        """Whether everything is as it was, for certain."""
        return all(mark[0] < self.time - _TICK and _mark(path) == mark for path, mark in self.marks.items())


_Place = tuple[str, Path, tuple[str, ...]]  # a module, the current folder, the search path
_seen: dict[_Place, _Seen] = {}


def _code_of(location: str) -> _Seen:
    """The code of a name; it is read again only if it may have changed."""
    module = location.partition(":")[0]
    key: _Place = (module, Path.cwd(), tuple(sys.path))
    if key not in _seen or not _seen[key].is_up_to_date():
        _seen[key] = _read_code(module)
    return _seen[key]


def _read_code(module: str) -> _Seen:
    begin, found = time.time_ns(), _found(module)
    own = {Path.cwd()} if found is None else {Path.cwd(), found[0]}
    files: dict[str, Path] = {}
    contents: dict[str, bytes] = {}
    marks = {folder: _mark(folder) for folder in own}
    todo = [module]
    while todo:
        name = todo.pop()
        near = {folder: _mark(folder) for folder in (_nearest_folder(each, name) for each in own)}
        marks = near | marks
        file = found[1] if found is not None and name == module else _own_file_of(name, own)
        if file is None or name in files:
            continue
        files[name], marks[file] = file, _mark(file)
        contents[name] = file.read_bytes()
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        todo += [*_parents(name), *_imported_by(contents[name], package)]
    return _Seen(_digest(module, contents), files, marks, begin)


def _digest(module: str, contents: dict[str, bytes]) -> str:
    """One hash of all files; the hash of a single one is what version 0.1 had."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if content.strip()}
    if not hashes.keys() - {module}:
        return hashlib.sha256(contents[module]).hexdigest() if module in contents else ""
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()


def _own_file_of(module: str, own: set[Path]) -> Path | None:
    """The file of a module, if it is in one of the user's folders, and not ours."""
    found = None if module.partition(".")[0] == __package__ else _found(module)
    if found is None or _is_installed(found[1]) or not any(map(found[1].is_relative_to, own)):
        return None
    return found[1]


def _parents(module: str) -> list[str]:
    names = module.split(".")
    return [".".join(names[:count]) for count in range(1, len(names))]


@lru_cache(maxsize=1000)
def _imported_by(content: bytes, package: str) -> tuple[str, ...]:
    """The modules that the `import` statements of a file in a package may mean, wherever in the file they stand."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):  # which the import itself will tell
        return ()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(name for name in dict.fromkeys(found) if all(part.isidentifier() for part in name.split(".")))


def _nearest_folder(folder: Path, module: str) -> Path:
    """The innermost folder there is on the way to where a module's file would be."""
    path = folder.joinpath(*module.split("."))
    return next(each for each in (path, *path.parents) if each.is_dir())


def _mark(path: Path) -> _Mark:
    """What changes with a file or folder, its time of change first; zeros if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0, 0
    return max(status.st_mtime_ns, status.st_ctime_ns), status.st_mtime_ns, status.st_size, status.st_ino


def _look_in_the_current_folder_first() -> None:
    here = Path.cwd()
    if not sys.path or Path(sys.path[0] or here) != here:
        sys.path.insert(0, str(here))
    importlib.invalidate_caches()  # the file may have been written a moment ago


def _forget_other_folders() -> None:
    """Make room for modules of the current folder whose names an earlier current folder has taken."""
    here = Path.cwd()
    for top, folder in list(_imported_from.items()):
        if folder != here and _place_in(here, top) and _place_in(folder, top) in _origins(top):
            for name in [name for name in sys.modules if name.partition(".")[0] == top]:
                del sys.modules[name]


def _forget_what_has_changed(location: str) -> None:
    """Have the user's modules imported anew if the code of a name has changed since it was imported here."""
    now = _code_of(location)
    before = _imported_as.get(location, now)
    if before.digest != now.digest:
        for name, file in [*before.files.items(), *now.files.items()]:
            if file.resolve() in _files_of(name):
                del sys.modules[name]
                # Python takes a compiled file for the source's if size and second of its last change are the same.
                Path(cache_from_source(str(file))).unlink(missing_ok=True)
    _imported_as[location] = now


def _files_of(module: str) -> set[Path]:
    """The file that an imported module comes from, if any."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return {Path(file).resolve()} if file else set()


def _remember_this_folder(imported: set[str]) -> None:
    here = Path.cwd()
    for top in {name.partition(".")[0] for name in imported} - {__package__}:
        if (place := _place_in(here, top)) and place in _origins(top):
            _imported_from[top] = here


def _in_the_way(module: str) -> str:
    """Why a module of the current folder is not the one that its name imports; "" if it is, or if there is none."""
    top = module.partition(".")[0]
    place = _place_in(Path.cwd(), top)
    if place in _our_folders():
        return (
            f"{top!r} in this folder is the source of sharpness_phases itself, which is imported by that name alone "
            "(sharpness_phases.models, ...); start from the folder of your own code"
        )
    if top not in sys.modules or _file_in(Path.cwd(), module) is None or place in _origins(top):
        return ""
    other = ", ".join(sorted(map(str, _origins(top)))) or "elsewhere"
    mend = "rename yours" if _file_in(Path.cwd(), top) else f"rename yours, or add {top}/__init__.py"
    return f"{top!r} in the current folder is hidden by a module of the same name, from {other}; {mend}"


def _place_in(folder: Path, top: str) -> Path | None:
    """The folder of a top-level package, or the file of a top-level module, in a folder of the search path."""
    return next((p.resolve() for p in (folder / top, folder / f"{top}.py") if p.exists()), None)


def _origins(top: str) -> set[Path]:
    """Where an imported top-level module comes from: the folders of a package, or the file of a module."""
    module = sys.modules.get(top)
    file, folders = getattr(module, "__file__", None), getattr(module, "__path__", ())
    return {Path(place).resolve() for place in folders} or ({Path(file).resolve()} if file else set())


def _our_folders() -> set[Path]:
    """The folders of this package and of its models."""
    origins = [__file__, getattr(find_spec(f"{__package__}.models"), "origin", None)]
    return {Path(origin).resolve().parent for origin in origins if origin}

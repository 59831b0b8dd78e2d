"""The user's own code, named in a config as "package.module:attribute".

Modules are looked for in the current folder before all others, and are imported under their own names: a user's folder
may have an `app/` and a `models/` of its own. `custom_code_file` finds the file without running any of it, so that what
a config would run can be judged (`sharpness_phases.config.trust`) and hashed before; `load_custom` makes sure that
the module imported is the one that was found.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from sharpness_phases.errors import UserError

Custom: TypeAlias = Any
"""What the user's code gives: a function that builds a model, a loss, anything; who asks for it checks it."""

_imported_from: dict[str, Path] = {}  # top-level modules of the user's, each with the current folder of that time


def names_custom_code(location: str) -> bool:
    """Whether a text has the form "package.module:attribute".

    Args:
        location: A model family or a loss, as a config names it.

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

    A module of the same name that an earlier call imported from another current folder makes room for it; one that
    anybody else imported does not, and is named in the error.

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


def custom_code_digest(location: str) -> str:
    """A hash of the file that the user's object is in, so that a change of it makes new runs; "" if it is not found."""
    file = custom_code_file(location)
    return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def custom_code_file(location: str) -> Path | None:
    """The file that the user's object is in, found without running any of it; None if there is none."""
    module = location.partition(":")[0]
    return next((file for folder in (Path.cwd(), *map(Path, sys.path)) if (file := _file_in(folder, module))), None)


def _file_in(folder: Path, module: str) -> Path | None:
    """The file of a module in a folder of the search path: of a package before a module, as Python does."""
    path = folder.joinpath(*module.split("."))
    return next((f.resolve() for f in (path / "__init__.py", path.with_name(f"{path.name}.py")) if f.is_file()), None)


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

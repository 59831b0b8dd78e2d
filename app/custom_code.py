"""The user's own code, named in a config as "package.module:attribute"."""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from sharpness_phases.errors import UserError


def names_custom_code(location: str) -> bool:
    """Whether a text has the form "package.module:attribute"."""
    module, colon, attribute = location.partition(":")
    return bool(colon) and all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()


def load_custom(location: str, key: str) -> Any:
    """Import the user's object; modules are looked for in the current folder, too.

    Args:
        location: "package.module:attribute".
        key: Key of the config that names it, for messages.

    Returns:
        The object.

    Raises:
        UserError: If it cannot be imported.
    """
    module, _, attribute = location.partition(":")
    _look_in_the_current_folder()
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:
        raise UserError(f"{key}: {location!r} cannot be imported: {type(error).__name__}: {error}") from error


def custom_code_digest(location: str) -> str:
    """A hash of the file that the user's object is in, so that a change of it makes new runs; "" if it is not found."""
    file = custom_code_file(location)
    return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def custom_code_file(location: str) -> Path | None:
    """The file that the user's object is in, found without running any of it; None if there is none."""
    module = Path(*location.partition(":")[0].split("."))
    for folder in (Path.cwd(), *map(Path, sys.path)):
        for file in (folder / f"{module}.py", folder / module / "__init__.py"):
            if file.is_file():
                return file.resolve()
    return None


def _look_in_the_current_folder() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)

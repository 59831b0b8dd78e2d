"""Model factories of variable width and depth, by family name.

Importing this package does not import Keras; a family's module is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.factory import ModelFactory
    from models.fcn import FCN

__all__ = ["FAMILIES", "FCN", "family"]

FAMILIES: dict[str, str] = {"fcn": "models.fcn:FCN"}
"""Family name, as a config says it, to "module:class"."""


def family(name: str) -> type[ModelFactory]:
    """Look up a model family.

    Args:
        name: One of `FAMILIES`.

    Returns:
        The factory class.

    Raises:
        ValueError: If there is no such family.
    """
    if name not in FAMILIES:
        raise ValueError(f"Unknown model family {name!r}; known families: {', '.join(sorted(FAMILIES))}.")
    module, _, attribute = FAMILIES[name].partition(":")
    return getattr(import_module(module), attribute)


def __getattr__(name: str) -> Any:
    for location in FAMILIES.values():
        module, _, attribute = location.partition(":")
        if attribute == name:
            return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'models' has no attribute {name!r}")

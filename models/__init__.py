"""Model factories of variable width and depth, by family name.

Importing this package does not import Keras; a family's module is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from models.factory import ModelFactory
    from models.fcn import FCN, LinearFCN
    from models.myrtle import MyrtleCNN
    from models.resnet import ResNet
    from models.uv import UV

__all__ = ["FAMILIES", "FCN", "UV", "FamilyInfo", "LinearFCN", "MyrtleCNN", "ResNet", "family"]


class FamilyInfo(NamedTuple):
    """What is known of a family without importing it.

    Attributes:
        location: "module:class".
        depths: The depths it can be built with; None for any.
        defaults: Settings whose default differs from other families'.
        fixed: Settings that cannot be changed.
        images: Whether its inputs must be images (height, width, channels).
        vectors: Whether its inputs must be vectors.
        normalizes: Whether it can be built with layer normalisation.
    """

    location: str
    depths: tuple[int, ...] | None = None
    defaults: Mapping[str, Any] = {}
    fixed: Mapping[str, Any] = {}
    images: bool = False
    vectors: bool = False
    normalizes: bool = False


FAMILIES: dict[str, FamilyInfo] = {
    "fcn": FamilyInfo("models.fcn:FCN"),
    "linear_fcn": FamilyInfo(
        "models.fcn:LinearFCN", defaults={"parameterization": "ntk"}, fixed={"activation": "linear"}
    ),
    "myrtle": FamilyInfo("models.myrtle:MyrtleCNN", depths=(5, 7, 10), images=True),
    "resnet": FamilyInfo("models.resnet:ResNet", depths=(18, 34), images=True, normalizes=True),
    "uv": FamilyInfo(
        "models.uv:UV",
        depths=(2,),
        fixed={"activation": "linear", "parameterization": "ntk", "bias": False, "output_layer": "default"},
        vectors=True,
    ),
}
"""The families by the name that a config says."""


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
    module, _, attribute = FAMILIES[name].location.partition(":")
    return getattr(import_module(module), attribute)


def __getattr__(name: str) -> Any:
    for info in FAMILIES.values():
        module, _, attribute = info.location.partition(":")
        if attribute == name:
            return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'models' has no attribute {name!r}")

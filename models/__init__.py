"""Model factories of variable width and depth, by family name.

Importing this package does not import Keras; a family's module is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sharpness_phases.models.families import FAMILIES, FamilyInfo, Tokens

if TYPE_CHECKING:
    from sharpness_phases.models.factory import ModelFactory
    from sharpness_phases.models.fcn import FCN, LinearFCN
    from sharpness_phases.models.myrtle import MyrtleCNN
    from sharpness_phases.models.resnet import ResNet
    from sharpness_phases.models.transformer import Transformer
    from sharpness_phases.models.uv import UV
    from sharpness_phases.models.vit import ViT

__all__ = [
    "FAMILIES",
    "FCN",
    "UV",
    "FamilyInfo",
    "LinearFCN",
    "MyrtleCNN",
    "ResNet",
    "Tokens",
    "Transformer",
    "ViT",
    "family",
]


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


def __getattr__(name: str) -> type[ModelFactory]:
    for info in FAMILIES.values():
        module, _, attribute = info.location.partition(":")
        if attribute == name:
            return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'sharpness_phases.models' has no attribute {name!r}")

"""The catalogue of model families: what is known of each without importing it, or Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias, TypedDict

Setting: TypeAlias = str | float | bool
"""The value of one setting of a `ModelFactory`."""


NORMALIZATIONS = ("none", "batch", "layer", "group", "rms")
"""Of the hidden layers: none, or as `sharpness_phases.models.normalization` tells."""


_OF_ATTENTION = ("none", "layer", "rms")

NORM_POSITIONS = ("pre", "post")
"""Where attention networks normalise: before a branch, or the sum of branch and identity."""

OWN_SETTINGS = ("heads", "norm_position", "patch_size")
"""Settings that some families alone have."""


class CommonSettings(TypedDict, total=False):
    """Settings of a `ModelFactory`, which tells what they mean, that `LinearFCN` has in common with all families."""

    bias: bool
    output_layer: str
    output_scale: float
    dtype: str


class Settings(CommonSettings, total=False):
    """All settings of a `ModelFactory` beside width and depth."""

    activation: str
    parameterization: str
    output_power: float


class Tokens(NamedTuple):
    """What inputs that are tokens are, and what is asked of a network that gets them.

    Attributes:
        vocabulary: Number of different tokens 0, 1, ...
        everywhere: Whether each token has a target, the next one, instead of the example as a whole.
    """

    vocabulary: int
    everywhere: bool = True


class FamilyInfo(NamedTuple):
    """What is known of a family without importing it.

    Attributes:
        location: "module:class".
        depths: The depths it can be built with; None for any.
        defaults: Settings whose default differs from other families'.
        fixed: Settings that cannot be changed.
        images: Whether its inputs must be images (height, width, channels).
        vectors: Whether its inputs must be vectors.
        tokens: Whether its inputs must be tokens; no other family takes them.
        normalizations: The values that its `normalization` may have.
        settings: Those of `OWN_SETTINGS` that it has.
    """

    location: str
    depths: tuple[int, ...] | None = None
    defaults: Mapping[str, Setting] = {}
    fixed: Mapping[str, Setting] = {}
    images: bool = False
    vectors: bool = False
    tokens: bool = False
    normalizations: tuple[str, ...] = ("none",)
    settings: tuple[str, ...] = ()


FAMILIES: dict[str, FamilyInfo] = {
    "fcn": FamilyInfo("sharpness_phases.models.fcn:FCN", normalizations=NORMALIZATIONS),
    "linear_fcn": FamilyInfo(
        "sharpness_phases.models.fcn:LinearFCN", defaults={"parameterization": "ntk"}, fixed={"activation": "linear"}
    ),
    "myrtle": FamilyInfo(
        "sharpness_phases.models.myrtle:MyrtleCNN", depths=(5, 7, 10), images=True, normalizations=NORMALIZATIONS
    ),
    "resnet": FamilyInfo(
        "sharpness_phases.models.resnet:ResNet", depths=(18, 34), images=True, normalizations=NORMALIZATIONS
    ),
    "transformer": FamilyInfo(
        "sharpness_phases.models.transformer:Transformer",
        defaults={"normalization": "layer"},
        tokens=True,
        normalizations=_OF_ATTENTION,
        settings=("heads", "norm_position"),
    ),
    "vit": FamilyInfo(
        "sharpness_phases.models.vit:ViT",
        defaults={"normalization": "layer"},
        images=True,
        normalizations=_OF_ATTENTION,
        settings=("heads", "norm_position", "patch_size"),
    ),
    "uv": FamilyInfo(
        "sharpness_phases.models.uv:UV",
        depths=(2,),
        fixed={"activation": "linear", "parameterization": "ntk", "bias": False, "output_layer": "default"},
        vectors=True,
    ),
}
"""The families by the name that a config says."""

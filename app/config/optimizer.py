"""The `optimizer` section of a config: Keras' names and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from sharpness_phases.config.sections import MAX_STEPS, Section, known_or_custom, require
from sharpness_phases.custom_code import names_custom_code

Argument: TypeAlias = float | bool | str | None
"""What an optimizer's argument may be."""

_ANY: dict[str, Argument] = {"weight_decay": 0.0, "clipnorm": None, "clipvalue": None, "global_clipnorm": None}
_ADAM: dict[str, Argument] = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
_FROM_ZERO: dict[str, Argument] = {"amsgrad": False, "initial_second_moment": "zero"}

ARGUMENTS: dict[str, dict[str, Argument]] = {
    "sgd": {"momentum": 0.0, "nesterov": False, **_ANY},
    "rmsprop": {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False, **_ANY},
    "adam": {**_ADAM, **_FROM_ZERO, **_ANY},
    "adamw": {**_ADAM, **_FROM_ZERO, **_ANY, "weight_decay": 0.004},
    "nadam": {**_ADAM, **_ANY},
}
"""The optimizers that a config may name, with the arguments they take and Keras' default of each. They are handed to
Keras whether given or not, so that runs keep their numbers if Keras changes a default."""

_CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")

_Share = Annotated[float, Field(ge=0, lt=1)]
_Positive = Annotated[float, Field(gt=0)]


class WarmupConfig(Section):
    """A linear warm-up: the rate of step t, counted from 1, is eta (s + (1 - s) min(1, t / W)).

    Of the rate eta that a run is trained at, which it has from step W on (Kalra & Barkeshli 2024); c is that of
    eta. The start is a share of eta and no rate, so that it means the same at every c.
    """

    steps: Annotated[int, Field(ge=0, le=MAX_STEPS)] = 0
    """Steps W of the warm-up, at most those of a run; 0 for none."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share s of eta at which it begins, one step before the first."""

    @property
    def is_none(self) -> bool:
        """Whether every step has the rate eta."""
        return self.steps == 0 or self.start == 1


class OptimizerConfig(Section):
    """The optimizer that trains; null stands for Keras' default of an argument."""

    name: Annotated[str, AfterValidator(known_or_custom(*ARGUMENTS))] = "sgd"
    """Optimizer of Keras, or "package.module:Optimizer" of your own: a class, or a function that returns one."""
    momentum: _Share | None = None
    """Share of the last velocity that is kept, of sgd and rmsprop; null for 0."""
    nesterov: bool | None = None
    """Whether the velocity of sgd is Nesterov's; null for false."""
    rho: _Share | None = None
    """Share of the last second moment that rmsprop keeps; null for 0.9."""
    centered: bool | None = None
    """Whether rmsprop divides by the variance of gradients; null for false."""
    beta_1: _Share | None = None
    """Share of the last first moment that adam, adamw and nadam keep; null for 0.9."""
    beta_2: _Share | None = None
    """Share of their last second moment that they keep; null for 0.999."""
    epsilon: _Positive | None = None
    """What is added to the root of the second moment (rmsprop: below the root); null for 1e-7."""
    amsgrad: bool | None = None
    """Whether adam and adamw divide by the largest second moment so far; null for false."""
    initial_second_moment: Literal["zero", "gradient"] | None = None
    """The second moment v_0 of adam and adamw before the first step; null for zero, gradient for g_0^2: GI-Adam."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Decoupled decay gamma, w -= eta gamma w before each step; null for 0, for adamw 0.004."""
    clipnorm: _Positive | None = None
    """Largest norm of the gradient of a single weight array; null for any."""
    clipvalue: _Positive | None = None
    """Largest size of a gradient's coordinate; null for any."""
    global_clipnorm: _Positive | None = None
    """Largest norm of the whole gradient; null for any."""
    warmup: WarmupConfig = WarmupConfig()
    """A linear rise of the rate in the first steps."""

    @model_validator(mode="before")
    @classmethod
    def _without_defaults(cls, given: object) -> object:
        """Say null for what is Keras' default anyway: equal optimizers have equal sections, and equal runs."""
        if not isinstance(given, dict):
            return given
        name = given.get("name", "sgd")
        defaults = ARGUMENTS.get(name, {}) if isinstance(name, str) else {}
        return {key: None if _is_default(value, defaults.get(key)) else value for key, value in given.items()}

    @model_validator(mode="after")
    def _has_these_arguments(self) -> Self:
        given = self.model_dump(exclude={"name", "warmup"}, exclude_none=True)
        if self.is_custom:
            require(not given, f"{', '.join(given)}: not for your own optimizer; say it in its class or function")
            return self
        allowed = ARGUMENTS[self.name]
        wrong = [key for key in given if key not in allowed]
        require(not wrong, f"{', '.join(wrong)}: no argument of {self.name}, which takes {', '.join(allowed)}")
        clipping = [key for key in _CLIPPING if key in given]
        require(len(clipping) < 2, f"at most one of {', '.join(_CLIPPING)} may be given; got {' and '.join(clipping)}")
        return self

    @property
    def is_custom(self) -> bool:
        """Whether the optimizer is the user's own."""
        return names_custom_code(self.name)

    @property
    def arguments(self) -> dict[str, Argument]:
        """Every argument of the optimizer with its value; none of the user's own."""
        return {
            key: default if (given := getattr(self, key)) is None else given
            for key, default in ARGUMENTS.get(self.name, {}).items()
        }


def is_plain_descent(section: Mapping[str, object]) -> bool:
    """Whether an `optimizer` section, as plain values that may be wrong, says nothing but plain gradient descent.

    A warm-up is no matter of the optimizer's rule, and passed over.

    Args:
        section: Its values by key.

    Returns:
        Whether every value is the default of sgd, or null.
    """
    defaults: Mapping[str, object] = {"name": "sgd", **ARGUMENTS["sgd"]}
    return all(value is None or value == defaults.get(key) for key, value in section.items() if key != "warmup")


def _is_default(value: object, default: Argument) -> bool:
    """Whether a value is a default, of its type; 0 is no `false`."""
    if isinstance(default, bool) or isinstance(value, bool):
        return value is default
    return default is not None and isinstance(value, int | float | str) and value == default

"""`sweep.over`: an experiment along one more axis, any numeric key of its config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias, get_args

from pydantic import ValidationError

from sharpness_phases.config.optimizer import OptimizerConfig
from sharpness_phases.config.sections import (
    AnalysisConfig,
    DataConfig,
    ModelConfig,
    Section,
    SharpnessConfig,
    TrainingConfig,
)
from sharpness_phases.config.yaml_marks import Plain
from sharpness_phases.errors import UserError

Number: TypeAlias = int | float
"""A value on the axis."""

AXES: dict[str, type[Section]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "training": TrainingConfig,
    "optimizer": OptimizerConfig,
    "sharpness": SharpnessConfig,
    "analysis": AnalysisConfig,
}
"""The sections whose numeric keys can be an axis; depths and widths are axes of every diagram, and where an experiment
is computed changes nothing."""


class Axis(NamedTuple):
    """The axis that `sweep.over` names.

    Attributes:
        key: A key of a config, such as optimizer.beta_2.
        values: Its values, in the order in which they are run and drawn.
    """

    key: str
    values: list[Number]


def axis_over(over: Mapping[str, list[Number]]) -> Axis | None:
    """The axis of a `sweep.over`; None where it is empty."""
    return next((Axis(key, values) for key, values in over.items()), None)


def folder_of(key: str, value: Number) -> str:
    """The name of the folder of a value's experiment, in the folder of the whole: "optimizer.beta_2=0.9"."""
    return f"{key}={value!r}"


def require_one_value(over: Mapping[str, list[Number]], what: str) -> None:
    """Refuse an axis where one experiment is meant.

    Args:
        over: `sweep.over` of the config.
        what: What needs one experiment, such as a command.

    Raises:
        UserError: If there is an axis.
    """
    if (axis := axis_over(over)) is not None:
        key, value = axis.key, axis.values[0]
        raise UserError(
            f"{what}: needs one experiment, not several over {key}; name one: -s sweep.over={{}} -s {key}={value} "
            f"(its runs are in the folder {folder_of(key, value)})"
        )


def numeric_keys() -> list[str]:
    """The keys that can be an axis."""
    return [f"{name}.{key}" for name, section in AXES.items() for key in _numeric(section)]


def with_value(values: Mapping[str, Plain], key: str, value: Number) -> dict[str, Plain]:
    """Plain values of a config, or of a section, with that of one key changed.

    Args:
        values: Them; what is no section where the key has one is replaced by one.
        key: The key, with the sections that it is in: "optimizer.warmup.steps".
        value: Its new value.

    Returns:
        A changed copy.
    """
    name, _, rest = key.partition(".")
    section = values.get(name)
    return {**values, name: with_value(section if isinstance(section, Mapping) else {}, rest, value) if rest else value}


def fault_of_value(section: str, values: Mapping[str, Plain], key: str, value: Number) -> str | None:
    """What is wrong with a value of a key, in words; None if nothing is.

    Args:
        section: Name of the section.
        values: What else the config says in it.
        key: The key in it, with the sections there that it is in.
        value: Its value.

    Returns:
        What is allowed; faults of other keys are not told.
    """
    try:
        AXES[section].model_validate(with_value(values, key, value))
    except ValidationError as error:
        found = [each for each in error.errors() if each["loc"][:1] in ((), (key.partition(".")[0],))]
        return found[0]["msg"].removeprefix("Value error, ") if found else None
    return None


def _numeric(section: type[Section]) -> Iterator[str]:
    """The keys of a section that are numbers, with those of sections in it."""
    for key, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from (f"{key}.{each}" for each in _numeric(inner))
        elif _is_number(inner):
            yield key


def _is_number(annotation: object) -> bool:
    """Whether a type is int or float, or one of them beside null."""
    return annotation in (int, float) or any(map(_is_number, get_args(annotation)))

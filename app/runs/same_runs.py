"""What differs between two configs, and whether it gives their runs other numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.config.sections import Section
from sharpness_phases.runs.identity import identity
from sharpness_phases.runs.spec import Cell, RunSpec

_OF_THE_MACHINE = (
    "executor",
    "device.xla",
    "device.deterministic",
    "data.data_dir",
    "data.path",
    "sharpness.chunk_size",
)
"""Keys, or sections, that say how and where it is computed: neither runs nor tables depend on them beyond rounding. Of
a text's path that is so as far as the content is the same."""

_ANY_RUN = RunSpec(Cell(depth=1, width=1, seed=0))
"""The state before training: what decides its id decides that of every run."""


_Changed = tuple[tuple[str, ...], object, object]  # path of a key, its value before and now


class Difference(NamedTuple):
    """A key with other values in two configs.

    Attributes:
        key: The key, with its sections: "training.steps".
        before: Its value in the first config.
        now: Its value in the second.
        makes_other_runs: Whether no run of the first config is one of the second because of it. Other keys choose among
            runs (`sweep`), look at them otherwise (`analysis`), or carry them out otherwise (`executor`).
        shows: Whether tables or pictures can show it; keys about the machine alone are not seen in them.
    """

    key: str
    before: object
    now: object
    makes_other_runs: bool
    shows: bool

    def __str__(self) -> str:
        return f"{self.key}: {_word(self.before)} there, {_word(self.now)} here"


def differences(before: ExperimentConfig, now: ExperimentConfig) -> list[Difference]:
    """The keys in which two configs differ, when both are resolved; the environment is passed over.

    Args:
        before: A config.
        now: Another one.

    Returns:
        The differences, in the order of the keys.
    """
    found = []
    for path, old, new in _differing(before, now):
        key = ".".join(path)
        shows = not any(f"{key}.".startswith(f"{each}.") for each in _OF_THE_MACHINE)
        found.append(Difference(key, old, new, _are_others(before, _with(before, path, new)), shows))
    if _are_others(before, now) and not any(each.makes_other_runs for each in found):  # only together they do
        return [each._replace(makes_other_runs=each.shows) for each in found]
    return found


def _are_others(before: ExperimentConfig, now: ExperimentConfig) -> bool:
    return identity(before, _ANY_RUN) != identity(now, _ANY_RUN)


def _differing(before: Section, now: Section, path: tuple[str, ...] = ()) -> Iterator[_Changed]:
    """The paths of the keys that differ, with both values; sections are entered."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(now, name)
        if isinstance(old, Section) and type(old) is type(new):
            yield from _differing(old, new, (*path, name))
        elif old != new and (*path, name) != ("environment",):
            yield (*path, name), old, new


def _with(config: ExperimentConfig, path: tuple[str, ...], value: object) -> ExperimentConfig:
    """A config with one key changed."""
    for name in reversed(path[1:]):
        value = {name: value}
    return config.changed(**{path[0]: value})


def _word(value: object) -> str:
    """A value as a config says it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)

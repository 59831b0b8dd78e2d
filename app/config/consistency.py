"""Values of a config that are right in themselves but do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sharpness_phases.config.optimizer import is_plain_descent
from sharpness_phases.config.over import fault_of_value, numeric_keys, with_value
from sharpness_phases.config.sections import (
    MAX_STEPS,
    LearningRateGrid,
    ModelConfig,
    SharpnessConfig,
    SweepConfig,
    TrainingConfig,
    default_saturation_time,
)
from sharpness_phases.config.yaml_marks import Plain
from sharpness_phases.data.catalogue import (
    CONTEXT_LENGTH,
    DATA_SETS,
    EMBEDDED,
    MODULAR_ADDITION,
    MODULUS,
    SHAKESPEARE,
    TEXT,
    DataSetInfo,
    DataSize,
    described,
    names_of,
)
from sharpness_phases.models.families import FAMILIES, FamilyInfo

_MAX_INITIALISATIONS = 1_000_000
"""Initialisations of an experiment; chosen so: a list of ten times as many takes gigabytes."""


class Inconsistency(NamedTuple):
    """A value that does not fit the others.

    Attributes:
        key: The key, with the sections that it is in.
        message: What is allowed, and what was received.
    """

    key: tuple[str, ...]
    message: str


def inconsistencies(plain: dict[str, Plain]) -> list[Inconsistency]:
    """Values that do not fit together: more examples than there are, depths that a family lacks, lengths of runs.

    Args:
        plain: A config as plain values; what is missing or wrong in itself is passed over.

    Returns:
        Every fault.
    """
    found = _lengths_of_runs(plain) + _number_of_initialisations(plain) + _one_optimizer(plain) + _warmup(plain)
    found += _over(plain)
    dataset = _section(plain, "data").get("dataset", EMBEDDED)
    if isinstance(dataset, str) and dataset in DATA_SETS:
        size = _size_of_data(plain, dataset)
        found += _settings_of_data(plain, dataset)
        found += _family(plain, described(size))
        found += _numbers_of_examples(plain, size)
    return found


_SETTINGS_OF_DATA = {
    "path": (None, (TEXT,)),
    "context_length": (CONTEXT_LENGTH, (TEXT, SHAKESPEARE)),
    "modulus": (MODULUS, (MODULAR_ADDITION,)),
}
"""Keys of `data` that some sets alone have: the default, and these sets."""


def _size_of_data(plain: dict[str, Plain], dataset: str) -> DataSize:
    """What decides the data's size; defaults where something else is in its place."""
    path = _section(plain, "data").get("path")
    length = _count(plain, "data", "context_length", CONTEXT_LENGTH)
    modulus = _count(plain, "data", "modulus", MODULUS)
    return DataSize(
        dataset,
        length if length and length >= 1 else CONTEXT_LENGTH,
        modulus if modulus and modulus >= 2 else MODULUS,
        path if isinstance(path, str) else None,
    )


def _settings_of_data(plain: dict[str, Plain], dataset: str) -> list[Inconsistency]:
    """Settings that this data set does not have, and the file that a text needs."""
    data = _section(plain, "data")
    found = [
        Inconsistency(("data", key), f"only for {' and '.join(sets)}; got the data set {dataset}")
        for key, (default, sets) in _SETTINGS_OF_DATA.items()
        if data.get(key, default) != default and dataset not in sets
    ]
    if dataset == TEXT and data.get("path") is None:
        found.append(Inconsistency(("data", "path"), "text needs a file"))
    return found


def _number_of_initialisations(plain: dict[str, Plain]) -> list[Inconsistency]:
    """More initialisations than can be listed."""
    lists = [_section(plain, "sweep").get(name) for name in ("depths", "widths")]
    seeds = _count(plain, "sweep", "seeds", SweepConfig.model_fields["seeds"].default)
    depths, widths = (len(values) if isinstance(values, list) else 1 for values in lists)
    if seeds is None or depths * widths * seeds <= _MAX_INITIALISATIONS:
        return []
    message = f"depths times widths times seeds must be at most {_MAX_INITIALISATIONS}; got {depths * widths * seeds}"
    return [Inconsistency(("sweep", "seeds"), message)]


def _over(plain: dict[str, Plain]) -> list[Inconsistency]:
    """A `sweep.over` along something else than a numeric key, or with values that the key cannot have."""
    over = _section(plain, "sweep").get("over")
    if not isinstance(over, dict):
        return []
    faults = [fault for key, values in over.items() if isinstance(values, list) for fault in _along(plain, key, values)]
    return [Inconsistency(("sweep", "over"), fault) for fault in dict.fromkeys(faults)]


def _along(plain: dict[str, Plain], key: str, values: list[Plain]) -> Iterator[str]:
    """What is wrong with an axis, in words."""
    allowed = numeric_keys()
    if key not in allowed:
        yield f"must be along one of {', '.join(allowed)}; got {key!r}"
        return
    name, _, inner = key.partition(".")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue  # which is told of the list
        if (fault := fault_of_value(name, _section(plain, name), inner, value)) is not None:
            yield f"{key} = {value:g}: {fault}"
            continue
        changed = with_value(plain, key, value) | {"sweep": {**_section(plain, "sweep"), "over": {}}}
        yield from (
            f"{key} = {value:g}: {'.'.join(other)} {message}"
            for other, message in inconsistencies(changed)
            if (other, message) not in inconsistencies({**plain, "sweep": changed["sweep"]})
        )


def _one_optimizer(plain: dict[str, Plain]) -> list[Inconsistency]:
    """A momentum as older configs say it, beside an optimizer."""
    momentum = _section(plain, "training").get("momentum")
    if not isinstance(momentum, int | float) or not momentum or is_plain_descent(_section(plain, "optimizer")):
        return []
    message = f"must be 0 beside an `optimizer`, whose momentum is optimizer.momentum; got {momentum:g}"
    return [Inconsistency(("training", "momentum"), message)]


def _warmup(plain: dict[str, Plain]) -> list[Inconsistency]:
    """Warm-ups that do not end within a run, and two of them."""
    steps = _count(plain, "training", "steps", _default_steps())
    older = _count(plain, "training", "warmup_steps", 0)
    section = _section(_section(plain, "optimizer"), "warmup").get("steps", 0)
    newer = section if isinstance(section, int) and not isinstance(section, bool) else None
    found = [
        Inconsistency(key, f"must be at most {steps}, the steps of a run (training.steps); got {warmup}")
        for key, warmup in ((("training", "warmup_steps"), older), (("optimizer", "warmup", "steps"), newer))
        if warmup is not None and steps is not None and warmup > steps > 0
    ]
    if older and newer:
        message = f"must be 0 beside optimizer.warmup, which says the same; got {older}"
        found.append(Inconsistency(("training", "warmup_steps"), message))
    return found


def _lengths_of_runs(plain: dict[str, Plain]) -> list[Inconsistency]:
    """Settings of long runs that would have no effect, or cannot have theirs; T is the length of the transient."""
    steps = _section(plain, "training").get("steps", _default_steps())
    transient = _section(plain, "analysis").get("transient_steps")
    every = _section(plain, "sharpness").get("every", 1)
    found = _length_of_saturation(plain)
    search = _section(plain, "sweep").get("search", "adaptive")
    if not (isinstance(steps, int) and isinstance(every, int) and isinstance(transient, int | None)):
        return found
    key = ("analysis", "transient_steps")
    if transient is not None and transient > steps:
        message = f"must be at most {steps}, the steps of a run (training.steps); got {transient}"
        found.append(Inconsistency(key, message))
    if transient is not None and transient < steps and search == "adaptive":
        message = "below training.steps needs `sweep.search: exhaustive`; an adaptive search ends runs at T"
        found.append(Inconsistency(key, message))
    if every > 1 and transient in (None, steps):
        message = f"above 1 needs an analysis.transient_steps below training.steps; got {every}"
        found.append(Inconsistency(("sharpness", "every"), message))
    return found


def _length_of_saturation(plain: dict[str, Plain]) -> list[Inconsistency]:
    """A c tau of the saturation that the lowest c = 2^start reaches after too many steps tau."""
    analysis = _section(plain, "analysis")
    time = analysis.get("saturation_time")
    grid = _section(_section(plain, "sweep"), "lr_exponents")
    start = grid.get("start", LearningRateGrid.model_fields["start"].default)
    if analysis.get("saturation") is not True or not isinstance(start, int | float) or abs(start) > 50:
        return []
    time = default_saturation_time(plain.get("loss")) if time is None else time
    if not isinstance(time, int | float) or time <= MAX_STEPS * 2.0**start:
        return []
    message = f"at c = 2^{start:g}, the lowest of the grid, it takes more than {MAX_STEPS} steps; got {time:g}"
    return [Inconsistency(("analysis", "saturation_time"), message)]


def _family(plain: dict[str, Plain], data: DataSetInfo) -> list[Inconsistency]:
    """Depths that the family does not have, and data that it cannot take."""
    name = _section(plain, "model").get("family", "fcn")
    info = FAMILIES.get(name) if isinstance(name, str) else None
    if info is None:
        return []
    found = []
    depths = _section(plain, "sweep").get("depths")
    if info.depths is not None and isinstance(depths, list) and any(depth not in info.depths for depth in depths):
        message = f"depths of {name} must be among {list(info.depths)}; got {depths}"
        found.append(Inconsistency(("sweep", "depths"), message))
    if info.tokens != (data.kind == "tokens"):
        sets = ", ".join(names_of("tokens"))
        message = f"{name} needs tokens: {sets}" if info.tokens else f"{name} does not take tokens; transformer does"
        found.append(Inconsistency(("data", "dataset"), message))
        return found
    found += _heads(plain, info) + _patches(plain, info, data)
    if info.images and data.kind != "images":
        found.append(Inconsistency(("data", "dataset"), f"{name} needs images"))
    if info.vectors and data.kind != "vectors":
        message = f"{name} needs inputs that are vectors: {', '.join(names_of('vectors'))}"
        found.append(Inconsistency(("data", "dataset"), message))
    return found


def _heads(plain: dict[str, Plain], info: FamilyInfo) -> list[Inconsistency]:
    """Widths that are no multiples of the number of heads."""
    heads = _count(plain, "model", "heads", ModelConfig.model_fields["heads"].default)
    widths = _section(plain, "sweep").get("widths")
    if "heads" not in info.settings or not heads or heads < 1 or not isinstance(widths, list):
        return []
    wrong = [width for width in widths if isinstance(width, int) and width % heads]
    message = f"widths must be multiples of model.heads, {heads}; got {', '.join(map(str, wrong))}"
    return [Inconsistency(("sweep", "widths"), message)] if wrong else []


def _patches(plain: dict[str, Plain], info: FamilyInfo, data: DataSetInfo) -> list[Inconsistency]:
    """Patches that do not fill the images."""
    side = _count(plain, "model", "patch_size", ModelConfig.model_fields["patch_size"].default)
    if "patch_size" not in info.settings or data.kind != "images" or not side or side < 1:
        return []
    if not any(length % side for length in data.shape[:2]):
        return []
    message = f"must divide the sides of the images, {' and '.join(map(str, data.shape[:2]))}; got {side}"
    return [Inconsistency(("model", "patch_size"), message)]


def _numbers_of_examples(plain: dict[str, Plain], size: DataSize) -> list[Inconsistency]:
    """More examples than the set has, or than are chosen of it."""
    dataset, available = size.dataset, described(size).train
    if dataset == TEXT and not available:  # no such file here, as where an experiment from elsewhere is read
        return []
    chosen = _count(plain, "data", "train_examples", None)
    found = []
    if chosen is not None and chosen > available:
        message = f"must be at most {available}, the training examples of {dataset}; got {chosen}"
        found.append(Inconsistency(("data", "train_examples"), message))
    limit = available if chosen is None else min(chosen, available)
    for section, key, default in (
        ("sharpness", "examples", SharpnessConfig.model_fields["examples"].default),
        ("training", "batch_size", TrainingConfig.model_fields["batch_size"].default),
    ):
        value = _count(plain, section, key, default)
        if value is not None and limit >= 1 and value > limit:
            message = f"must be at most {limit}, the training examples there are; got {value}"
            found.append(Inconsistency((section, key), message))
    return found


def _section(plain: dict[str, Plain], name: str) -> dict[str, Plain]:
    """A section's values; none, where there is no such section or something else in its place."""
    values = plain.get(name)
    return values if isinstance(values, dict) else {}


def _count(plain: dict[str, Plain], section: str, key: str, default: int | None) -> int | None:
    """An integer of a section; None where something else is in its place."""
    value = _section(plain, section).get(key, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _default_steps() -> int:
    return TrainingConfig.model_fields["steps"].default

"""Values of a config that are right in themselves but do not fit together."""

from __future__ import annotations

from typing import Any

from sharpness_phases.config.sections import SharpnessConfig, TrainingConfig
from sharpness_phases.data.catalogue import EMBEDDED, IMAGE_SETS, ONE_POINT
from sharpness_phases.models.families import FAMILIES


def inconsistencies(plain: dict[str, Any]) -> list[tuple[tuple[str, str], str]]:
    """Values that do not fit together: more examples than there are, depths that a family lacks, lengths of runs.

    Args:
        plain: A config as plain values; what is missing or wrong in itself is passed over.

    Returns:
        Key path and message of every fault.
    """

    def number(section: str, key: str, default: int | None = None) -> int | None:
        values = plain.get(section)
        value = values.get(key, default) if isinstance(values, dict) else default
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    data = plain.get("data")
    dataset = data.get("dataset", EMBEDDED) if isinstance(data, dict) else EMBEDDED
    lengths = _length_misfits(plain)
    if not isinstance(dataset, str) or dataset not in IMAGE_SETS:
        return lengths
    available, chosen = IMAGE_SETS[dataset].train, number("data", "train_examples")
    faults = lengths + _family_misfits(plain, IMAGE_SETS[dataset].shape)
    if chosen is not None and chosen > available:
        message = f"must be at most {available}, the training examples of {dataset}; got {chosen}"
        faults.append((("data", "train_examples"), message))
    limit = available if chosen is None else min(chosen, available)
    for section, key, default in (
        ("sharpness", "examples", SharpnessConfig.model_fields["examples"].default),
        ("training", "batch_size", TrainingConfig.model_fields["batch_size"].default),
    ):
        value = number(section, key, default)
        if value is not None and limit >= 1 and value > limit:
            faults.append(((section, key), f"must be at most {limit}, the training examples there are; got {value}"))
    return faults


def _length_misfits(plain: dict[str, Any]) -> list[tuple[tuple[str, str], str]]:
    """Settings of long runs that would have no effect, or cannot have theirs."""
    sections = {name: plain.get(name) for name in ("training", "sharpness", "sweep", "analysis")}
    values = {name: section if isinstance(section, dict) else {} for name, section in sections.items()}
    steps = values["training"].get("steps", TrainingConfig.model_fields["steps"].default)
    transient = values["analysis"].get("transient_steps")
    every = values["sharpness"].get("every", 1)
    if not all(isinstance(value, int) for value in (steps, every, 0 if transient is None else transient)):
        return []
    faults = []
    key = ("analysis", "transient_steps")
    if transient is not None and transient > steps:
        faults.append((key, f"must be at most {steps}, the steps of a run (training.steps); got {transient}"))
    if transient is not None and transient < steps and values["sweep"].get("search", "adaptive") == "adaptive":
        faults.append((key, "below training.steps needs `sweep.search: exhaustive`; an adaptive search ends runs at T"))
    if every > 1 and transient in (None, steps):
        message = f"above 1 needs an analysis.transient_steps below training.steps; got {every}"
        faults.append((("sharpness", "every"), message))
    return faults


def _family_misfits(plain: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[tuple[str, str], str]]:
    """Depths that the family does not have, and data that it cannot take."""
    model, sweep = plain.get("model"), plain.get("sweep")
    name = model.get("family", "fcn") if isinstance(model, dict) else "fcn"
    info = FAMILIES.get(name) if isinstance(name, str) else None
    if info is None:
        return []
    faults = []
    depths = sweep.get("depths") if isinstance(sweep, dict) else None
    if info.depths is not None and isinstance(depths, list) and any(depth not in info.depths for depth in depths):
        faults.append((("sweep", "depths"), f"depths of {name} must be among {list(info.depths)}; got {depths}"))
    if info.images and len(shape) != 3:
        faults.append((("data", "dataset"), f"{name} needs images"))
    if info.vectors and len(shape) != 1:
        faults.append((("data", "dataset"), f"{name} needs inputs that are vectors: {ONE_POINT}"))
    return faults

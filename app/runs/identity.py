"""The identity of runs: a hash of everything that decides a run's numbers, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sharpness_phases.config.optimizer import WarmupConfig
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.config.sections import Section
from sharpness_phases.custom_code import custom_code_digest, names_custom_code
from sharpness_phases.data.tokens import text_digest
from sharpness_phases.runs.spec import CONDUCT, Cell, Purpose, RunSpec, cells, purposes

if TYPE_CHECKING:
    import pandas as pd

Plain = str | int | float | bool | None | Sequence["Plain"] | Mapping[str, "Plain"]
"""A value that JSON has."""

NUMERICS = 10
"""Raised whenever a change of the code changes the numbers of a run, so that old runs are not taken for new ones."""

OLDEST_READABLE = 4
"""Of the numerics whose runs are still read, by commands that read, where there are none of the present numerics."""

_HASHED_IN_0_1: dict[str, tuple[str, ...]] = {
    "model": (
        "family",
        "activation",
        "parameterization",
        "bias",
        "normalization",
        "output_layer",
        "output_scale",
        "output_power",
        "subtract_initial",
    ),
    "data": ("dataset", "train_examples", "seed"),
    "training": ("batch_size", "steps", "momentum"),
    "sharpness": ("examples", "solver", "tolerance", "seed", "chunk_size", "every"),
    "optimizer": (),
}
"""The keys that version 0.1 hashed whatever their value, by section. They are hashed like that for ever, so that its
runs are found; a key that came later is hashed only where it differs from its default. A section that decides numbers
and came later is listed without keys."""

_DECIDES_NOTHING = {"data": ("data_dir", "path"), "sharpness": ("chunk_size",)}
"""Keys of these sections that change no number, beyond rounding, of a network of this project. The content of a text
decides, and not its place: see `own_code`."""

TEXT_FILE = "data.path"
"""The name under which the digest of a text file stands among those of the user's own code."""


def run_id(description: Mapping[str, Plain]) -> str:
    """Name of a run: a hash of everything that decides its numbers.

    Args:
        description: Plain JSON values.

    Returns:
        24 hexadecimal digits.
    """
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def identity(config: ExperimentConfig, spec: RunSpec) -> str:
    """The run id under which a run is stored.

    Args:
        config: The experiment; its name, grid, executor, chunks and pictures do not change a run, nor does XLA beyond
            rounding. Chunks do change one of a model that holds batch normalisation.
        spec: The run.

    Returns:
        The id.
    """
    return next(identities(config, spec))


class Computed(NamedTuple):
    """What a run was computed by.

    Attributes:
        numerics: The `NUMERICS` of this project's code.
        own: The digest of every function, and of the text, of the user's own that the config names.
    """

    numerics: int
    own: dict[str, str]


def own_code(config: ExperimentConfig, of_one_file: bool = False) -> dict[str, str]:
    """The digests of the user's own code and text in a config, as they are at this moment.

    Args:
        config: The experiment.
        of_one_file: As for `custom_code_digest`.

    Returns:
        An entry for every such name.
    """
    names = [name for name in (config.model.family, config.loss, config.optimizer.name) if names_custom_code(name)]
    text = {} if config.data.path is None else {TEXT_FILE: text_digest(config.data.path)}
    return {name: custom_code_digest(name, of_one_file) for name in names} | text


def identities(config: ExperimentConfig, spec: RunSpec, computed: Computed | None = None) -> Iterator[str]:
    """The run ids under which a run may be stored: the present one, then those of earlier versions.

    Args:
        config: The experiment.
        spec: The run.
        computed: What computed it; the present code by default.

    Yields:
        The ids; version 0.1 hashed `sharpness.chunk_size`, too, as is done where it decides numbers.
    """
    by = Computed(NUMERICS, own_code(config)) if computed is None else computed
    if _chunks_may_decide(config):
        yield run_id(_description(config, spec, by, config.sharpness.chunk_size))
        return
    yield run_id(_description(config, spec, by, chunk_size=None))
    if config.sharpness.chunk_size is not None:
        yield run_id(_description(config, spec, by, config.sharpness.chunk_size))


def _chunks_may_decide(config: ExperimentConfig) -> bool:
    """Whether the model holds batch normalisation, which takes the statistics of each chunk, or may do, being own."""
    may_hold = names_custom_code(config.model.family) or config.model.normalization == "batch"
    return may_hold and config.sharpness.batch_norm == "batch"


def belonging(config: ExperimentConfig, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of a table that an experiment asks for, or can ask for; runs of other configs are left out.

    Of a cell without runs of the present `NUMERICS`, those of the newest earlier one are taken; and of one without runs
    of the user's own code as it is now, those that version 0.1 knew by one file of it, if that is as it was.

    Args:
        config: The experiment.
        runs: A row per step, the rows of a run together.

    Returns:
        Their rows.
    """
    first = runs[~runs["run_id"].duplicated()]
    grid, asked, reasons = set(config.sweep.lr_exponents.exponents()), set(cells(config)), set(purposes(config))
    readings = _readings(config)
    found: dict[Cell, dict[int, list[str]]] = {}
    for name, depth, width, seed, exponent, why in zip(
        *(first[column] for column in ("run_id", "depth", "width", "seed", "lr_exponent", "question")), strict=True
    ):
        cell = Cell(depth, width, seed)
        if cell not in asked or why not in reasons or not (why == Purpose.INITIAL or exponent in grid):
            continue
        spec = RunSpec(cell, Purpose(why), None if why == Purpose.INITIAL else exponent)
        if (age := _age_of(name, config, spec, readings)) is not None:
            found.setdefault(cell, {}).setdefault(age, []).append(name)
    kept = [name for of_cell in found.values() for name in of_cell[min(of_cell)]]
    return runs[runs["run_id"].isin(kept)].reset_index(drop=True)


def _readings(config: ExperimentConfig) -> list[Computed]:
    """What may have computed runs that are still read, the present code first."""
    codes = [own_code(config)]
    codes += [old for old in [own_code(config, of_one_file=True)] if old != codes[0]]
    return [Computed(number, code) for number in range(NUMERICS, OLDEST_READABLE - 1, -1) for code in codes]


def _age_of(name: str, config: ExperimentConfig, spec: RunSpec, readings: Sequence[Computed]) -> int | None:
    """The index of the reading by which a stored run is this one; None if it is another run."""
    return next((age for age, each in enumerate(readings) if name in identities(config, spec, each)), None)


def _description(
    config: ExperimentConfig, spec: RunSpec, computed: Computed, chunk_size: int | None
) -> dict[str, Plain]:
    question = None if spec.purpose in (Purpose.INITIAL, Purpose.WHOLE) else spec.purpose.value
    said = config if config.warmup == WarmupConfig() else _with_one_warmup(config)
    sections = _hashed_sections(*(getattr(said, name) for name in _HASHED_IN_0_1))
    description: dict[str, Plain] = {**sections, "sharpness": {**sections["sharpness"], "chunk_size": chunk_size}}
    description |= {"numerics": computed.numerics, "own": computed.own, "loss": config.loss}
    description |= {"cell": [spec.cell.depth, spec.cell.width, spec.cell.seed]}
    description |= {"lr_exponent": spec.exponent, "question": question}
    if config.device.tensor_float_32:
        description["tensor_float_32"] = True
    if config.transient_steps < config.training.steps:
        description["transient_steps"] = config.transient_steps
    return description | CONDUCT[spec.purpose].decided_by(config)


def _with_one_warmup(config: ExperimentConfig) -> ExperimentConfig:
    """A config that says a warm-up as older ones do, where they can, and none by saying nothing."""
    warmup = config.warmup
    if warmup.start and not warmup.is_none:
        return config
    steps = 0 if warmup.is_none else warmup.steps
    return config.changed(training={"warmup_steps": steps}, optimizer={"warmup": WarmupConfig()})


@lru_cache(maxsize=8)
def _hashed_sections(*sections: Section) -> dict[str, dict[str, Plain]]:
    """What is hashed of the sections of `_HASHED_IN_0_1`, in this order; a section without such keys is left out."""
    hashed = {name: _hashed(name, section) for name, section in zip(_HASHED_IN_0_1, sections, strict=True)}
    return {name: values for name, values in hashed.items() if values}


def _hashed(name: str, section: Section) -> dict[str, Plain]:
    """The keys of a section that decide numbers: those of version 0.1, and later ones that have not their default."""
    values = section.model_dump(mode="json")
    later = [
        key
        for key, field in type(section).model_fields.items()
        if key not in _HASHED_IN_0_1[name]
        and key not in _DECIDES_NOTHING.get(name, ())
        and getattr(section, key) != field.default
    ]
    return {key: values[key] for key in (*_HASHED_IN_0_1[name], *later)}

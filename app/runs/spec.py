"""The cells of an experiment and the identity of its runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.config.sections import DataConfig, ModelConfig, SharpnessConfig, TrainingConfig
from sharpness_phases.custom_code import custom_code_digest, names_custom_code
from sharpness_phases.runs.questions import Criteria, Question

if TYPE_CHECKING:
    import pandas as pd

NUMERICS = 4
"""Raised whenever a change of the code changes the numbers of a run, so that old runs are not taken for new ones."""

INITIAL, WHOLE = "initial", "whole"
"""What stands for the question in the table of the measurement before training, and of a whole trajectory."""


@dataclass(frozen=True)
class Cell:
    """One initialisation of one architecture: the unit of work, which shares weights, batches and lambda_0."""

    depth: int
    width: int
    seed: int

    @property
    def name(self) -> str:
        """Such as d4_w256_s0."""
        return f"d{self.depth}_w{self.width}_s{self.seed}"


def cells(config: ExperimentConfig) -> list[Cell]:
    """All cells of an experiment; the initialisations of one architecture follow each other."""
    sweep = config.sweep
    return [Cell(d, w, s) for d in sweep.depths for w in sweep.widths for s in range(sweep.seeds)]


def criteria(config: ExperimentConfig) -> Criteria:
    """What counts as rising in this experiment."""
    return Criteria(
        steps=config.transient_steps,
        loss_tolerance=config.analysis.loss_tolerance,
        sharpness_tolerance=config.sharpness_tolerance,
        barrier=config.analysis.barrier,
    )


def identity(config: ExperimentConfig, cell: Cell, exponent: float | None, question: Question | None) -> str:
    """Run id: a hash of everything that decides the run's numbers.

    Args:
        config: The experiment; its name, grid, seeds, executor and pictures do not change a run, nor does XLA beyond
            rounding.
        cell: The initialisation.
        exponent: x of c = 2^x; None for the measurement before training.
        question: Why the run may stop early; None for a whole trajectory.

    Returns:
        The id.
    """
    description = _shared(config.model, config.data, config.loss, config.training, config.sharpness) | {
        "cell": [cell.depth, cell.width, cell.seed],
        "lr_exponent": exponent,
        "question": question,
    }
    if config.device.tensor_float_32:
        description["tensor_float_32"] = True
    if question is None and exponent is not None and config.analysis.barrier:
        description["barrier"] = True
    if config.transient_steps < config.training.steps:
        description["transient_steps"] = config.transient_steps
    if question is Question.SATURATION:
        description["saturation_time"] = config.saturation_time
    if question is Question.LOSS:
        description["tolerance"] = config.analysis.loss_tolerance
    if question in (Question.SHARPNESS, Question.ONSET):
        description["tolerance"] = config.sharpness_tolerance
    return run_id(description)


def run_id(description: Mapping[str, Any]) -> str:
    """Name of a run: a hash of everything that decides its numbers.

    Args:
        description: Plain JSON values.

    Returns:
        24 hexadecimal digits.
    """
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@lru_cache(maxsize=8)
def _shared(
    model: ModelConfig, data: DataConfig, loss: str, training: TrainingConfig, sharpness: SharpnessConfig
) -> dict[str, Any]:
    """The part of a run's description that all runs of an experiment share."""
    own = {name: custom_code_digest(name) for name in (model.family, loss) if names_custom_code(name)}
    return {
        "numerics": NUMERICS,
        "own": own,
        "model": model.model_dump(mode="json"),
        "data": data.model_dump(mode="json", exclude={"data_dir"}),
        "loss": loss,
        "training": training.model_dump(mode="json"),
        "sharpness": sharpness.model_dump(mode="json"),
    }


def belonging(config: ExperimentConfig, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of a table that an experiment asks for, or can ask for; runs of other configs are left out.

    Args:
        config: The experiment.
        runs: A row per step, the rows of a run together.

    Returns:
        Their rows.
    """
    first = runs[~runs["run_id"].duplicated()]
    grid, asked, reasons = set(config.sweep.lr_exponents.exponents()), set(cells(config)), _reasons(config)
    kept = []
    for name, depth, width, seed, exponent, why in zip(
        *(first[column] for column in ("run_id", "depth", "width", "seed", "lr_exponent", "question")), strict=True
    ):
        cell = Cell(depth, width, seed)
        if cell not in asked or why not in reasons or not (why == INITIAL or exponent in grid):
            continue
        if name == identity(config, cell, None if why == INITIAL else exponent, reasons[why]):
            kept.append(name)
    return runs[runs["run_id"].isin(kept)].reset_index(drop=True)


def _reasons(config: ExperimentConfig) -> dict[str, Question | None]:
    """Why a run of this experiment may have been carried out, and the question that stands for."""
    questions = [*criteria(config).questions, Question.ONSET]
    questions += [Question.SATURATION] if config.analysis.saturation else []
    return {INITIAL: None, WHOLE: None} | {question.value: question for question in questions}


def reason(exponent: float | None, question: Question | None) -> str:
    """Why a run was carried out, as it stands in its table."""
    return INITIAL if exponent is None else WHOLE if question is None else question.value


def saturation_steps(config: ExperimentConfig, exponent: float) -> int:
    """The step tau with c tau nearest to the saturation time; 1 at least."""
    return max(1, round(config.saturation_time / 2.0**exponent))


def labels(config: ExperimentConfig, cell: Cell, exponent: float | None, lambda_0: float) -> dict[str, Any]:
    """The columns of a run's table that are the same in every row."""
    c = float("nan") if exponent is None else 2.0**exponent
    return {
        "family": config.model.family,
        "dataset": config.data.dataset,
        "loss_name": config.loss,
        "depth": cell.depth,
        "width": cell.width,
        "seed": cell.seed,
        "lr_exponent": float("nan") if exponent is None else exponent,
        "c": c,
        "learning_rate": c / lambda_0,
    }

"""A run before it is carried out: its cell, its learning rate, and what it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.axis import axis_of, preconditions
from sharpness_phases.runs.questions import Criteria, Question


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


class Purpose(StrEnum):
    """What a run is for, as its table says in the column `question`; `CONDUCT` says how such a run is carried out."""

    INITIAL = "initial"
    """The state before training, with lambda_0."""
    WHOLE = "whole"
    """A whole trajectory: it answers every yes-or-no question."""
    LOSS = Question.LOSS.value
    """To answer that question, and to end where the answer is a rise in the first step, or divergence; so for those
    below. One that goes to its end tells of divergence, too, and of the line where a barrier is asked for."""
    SHARPNESS = Question.SHARPNESS.value
    ONSET = Question.ONSET.value
    DIVERGENCE = Question.DIVERGENCE.value
    BARRIER = Question.BARRIER.value
    SATURATION = Question.SATURATION.value
    """The sharpness at the one step tau with c tau = `saturation_time`."""


@dataclass(frozen=True)
class RunSpec:
    """A run of an experiment.

    Attributes:
        cell: The initialisation.
        purpose: What the run is for.
        exponent: x of the learning-rate constant c = 2^x (`sharpness_phases.runs.axis`); None before training.

    Raises:
        ValueError: If the exponent is missing, or given for the state before training.
    """

    cell: Cell
    purpose: Purpose = Purpose.INITIAL
    exponent: float | None = None

    def __post_init__(self) -> None:
        if (self.exponent is None) != (self.purpose is Purpose.INITIAL):
            raise ValueError(f"A run needs an exponent unless it is before training. Received: {self!r}.")

    @property
    def c(self) -> float:
        """The learning-rate constant c; NaN before training."""
        return float("nan") if self.exponent is None else 2.0**self.exponent

    @property
    def serving(self) -> Iterator[RunSpec]:
        """The runs that serve this one's purpose, itself last: a whole trajectory answers yes-or-no questions, too."""
        if self.purpose not in (Purpose.INITIAL, Purpose.WHOLE, Purpose.SATURATION):
            yield RunSpec(self.cell, Purpose.WHOLE, self.exponent)
        yield self

    def labels(self, config: ExperimentConfig, lambda_0: float) -> dict[str, str | int | float]:
        """The columns of the run's table that are the same in every row.

        Args:
            config: The experiment.
            lambda_0: Sharpness before training.

        Returns:
            Values by column; eta as `Axis.rate` gives it, c / lambda_0 for plain gradient descent.
        """
        return {
            "question": self.purpose.value,
            "family": config.model.family,
            "dataset": config.data.dataset,
            "loss_name": config.loss,
            "depth": self.cell.depth,
            "width": self.cell.width,
            "seed": self.cell.seed,
            "lr_exponent": float("nan") if self.exponent is None else self.exponent,
            "c": self.c,
            "learning_rate": float(axis_of(config).rate(self.c, lambda_0)),
        }


class RunLimits(NamedTuple):
    """How far a run goes, and what is measured on the way.

    Attributes:
        steps: Optimizer steps, unless a limit ends the run before.
        measured: Whether the sharpness is measured after each step, shape (steps,).
        first_loss_limit: The run ends if the loss exceeds this after its first step. Where it rises at once it does so
            at every larger c; where it rises later, it may do so at this c only, and diverge there: that run goes on.
        sharpness_limit: The sharpness is measured only as well as it takes to tell on which side of this it lies. If it
            exceeds it, the run ends after its first step, and goes on unmeasured after a later one, as with the loss.
            NaN for a run that is measured to the full tolerance.
        barrier_after: Step after which the line from the initial weights is looked at; None for never.
    """

    steps: int
    measured: np.ndarray
    first_loss_limit: float = float("inf")
    sharpness_limit: float = float("nan")
    barrier_after: int | None = None


class Conduct(NamedTuple):
    """How the runs for one purpose are carried out.

    Attributes:
        limits: Function (config, exponent, L_0, lambda_0) -> `RunLimits`.
        decided_by: What of the config decides such a run's numbers beside the sections that decide every run's; plain
            values by name.
    """

    limits: Callable[[ExperimentConfig, float, float, float], RunLimits]
    decided_by: Callable[[ExperimentConfig], dict[str, float | bool]] = lambda config: {}


def limits_of(spec: RunSpec, config: ExperimentConfig, loss_0: float, lambda_0: float) -> RunLimits:
    """How far a run goes, and what is measured on the way.

    Args:
        spec: The run; not that before training, which takes no step.
        config: The experiment.
        loss_0: Loss L_0 before training.
        lambda_0: Sharpness before training.

    Returns:
        The limits.

    Raises:
        ValueError: For the run before training.
    """
    if spec.exponent is None:
        raise ValueError(f"The state before training takes no step. Received: {spec!r}.")
    return CONDUCT[spec.purpose].limits(config, spec.exponent, loss_0, lambda_0)


def _none(steps: int) -> np.ndarray:
    return np.zeros(steps, bool)


def _nowhere(config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float) -> RunLimits:
    return RunLimits(0, _none(0))


def _whole(config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float) -> RunLimits:
    """Every step of the early transient is measured, later ones at every `sharpness.every`-th step."""
    step, transient = np.arange(1, config.training.steps + 1), config.transient_steps
    measured = (step <= transient) | (step % config.sharpness.every == 0)
    return RunLimits(len(step), measured, barrier_after=_line_after(config))


def _line_after(config: ExperimentConfig) -> int | None:
    """A run that goes to its end tells of the line, too, where that is asked for: where one is in doubt, both are."""
    return config.transient_steps if config.analysis.barrier else None


def _unless_the_loss_rises_at_once(
    config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float
) -> RunLimits:
    steps, limit = config.transient_steps, criteria(config).loss_threshold(loss_0)
    return RunLimits(steps, _none(steps), first_loss_limit=limit, barrier_after=_line_after(config))


def _unless_the_sharpness_rises_at_once(
    config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float
) -> RunLimits:
    steps, limit = config.transient_steps, criteria(config).sharpness_threshold(lambda_0)
    return RunLimits(steps, ~_none(steps), sharpness_limit=limit, barrier_after=_line_after(config))


def _first_and_last(config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float) -> RunLimits:
    steps = config.transient_steps
    step = np.arange(1, steps + 1)
    limit = criteria(config).sharpness_threshold(lambda_0)
    return RunLimits(steps, (step == 1) | (step == steps), sharpness_limit=limit)


def _until_divergence(config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float) -> RunLimits:
    return RunLimits(config.transient_steps, _none(config.transient_steps), barrier_after=_line_after(config))


def _with_the_line(config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float) -> RunLimits:
    steps = config.transient_steps
    return RunLimits(steps, _none(steps), barrier_after=steps)


def _to_saturation(config: ExperimentConfig, exponent: float, loss_0: float, lambda_0: float) -> RunLimits:
    steps = saturation_steps(config, exponent)
    return RunLimits(steps, np.arange(1, steps + 1) == steps)


def _loss_tolerance(config: ExperimentConfig) -> dict[str, float | bool]:
    return {"tolerance": config.analysis.loss_tolerance}


def _sharpness_tolerance(config: ExperimentConfig) -> dict[str, float | bool]:
    return {"tolerance": config.sharpness_tolerance}


CONDUCT: dict[Purpose, Conduct] = {
    Purpose.INITIAL: Conduct(_nowhere),
    Purpose.WHOLE: Conduct(_whole, lambda config: {"barrier": True} if config.analysis.barrier else {}),
    Purpose.LOSS: Conduct(_unless_the_loss_rises_at_once, _loss_tolerance),
    Purpose.SHARPNESS: Conduct(_unless_the_sharpness_rises_at_once, _sharpness_tolerance),
    Purpose.ONSET: Conduct(_first_and_last, _sharpness_tolerance),
    Purpose.DIVERGENCE: Conduct(_until_divergence),
    Purpose.BARRIER: Conduct(_with_the_line),
    Purpose.SATURATION: Conduct(_to_saturation, lambda config: {"saturation_time": config.saturation_time}),
}
"""How a run for each purpose is carried out."""


def learning_rates(config: ExperimentConfig, learning_rate: float, steps: int) -> np.ndarray:
    """The learning rates of a run's steps, with the warm-up of W steps from a share s that its config asks for.

    Args:
        config: The experiment.
        learning_rate: eta.
        steps: Their number.

    Returns:
        eta (s + (1 - s) min(1, t / W)) for the steps t = 1, 2, ..., shape (steps,); eta for W = 0.
    """
    warmup = config.warmup
    if warmup.is_none:
        return np.full(steps, learning_rate)
    risen = np.minimum(1.0, np.arange(1, steps + 1) / warmup.steps)
    return learning_rate * (warmup.start + (1 - warmup.start) * risen)


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
        preconditioned=preconditions(config.optimizer),
    )


def purposes(config: ExperimentConfig) -> list[Purpose]:
    """What runs of this experiment may be for."""
    questions = [*criteria(config).questions, Question.ONSET]
    questions += [Question.SATURATION] if config.analysis.saturation else []
    return [Purpose.INITIAL, Purpose.WHOLE, *(Purpose(question.value) for question in questions)]


def saturation_steps(config: ExperimentConfig, exponent: float) -> int:
    """The step tau with c tau nearest to the saturation time; 1 at least."""
    return max(1, round(config.saturation_time / 2.0**exponent))

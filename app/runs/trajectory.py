"""One short training run as arrays, and the one list of the columns in which runs are stored and analysed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

DIVERGENCE_LOSS = 1e5
"""A run whose loss is not finite or exceeds this has diverged (Kalra & Barkeshli 2023, App. B)."""

Value = str | int | float | bool
"""What stands in one place of a run's table."""


@dataclass(frozen=True)
class Trajectory:
    """Loss and sharpness over the steps 0, 1, ... of one run; index 0 is the state before training.

    Attributes:
        loss: Loss L_t on the measurement set, float64, shape (steps + 1,).
        accuracy: Accuracy on the measurement set, NaN where it is not defined.
        sharpness: lambda_t on the measurement set, NaN where it was not measured.
        residual: Residual ||Hv - lambda_t v|| of each measured sharpness; NaN for an estimate from a sample.
        converged: Whether lambda_t is known to be as exact as was asked for; not for a value of which only the side of
            a threshold was asked, nor for an estimate.
        hvps: Hessian-vector products spent at each step, int64.
        diverged: Whether the run ended because its loss was not finite or above `DIVERGENCE_LOSS`.
        barrier: Largest loss on the straight line from the first weights to the last, NaN where it was not measured.
        line_rise: Largest rise along that line: of the loss at a point above the lowest one before it.
        edge: The stability edge of the optimizer at the rate of the coming step, which lambda_t is held against; NaN
            where it is not known.
        participation: Share of the weights that take part in the eigenvector of lambda_t, 1 / (n sum u_i^4), as exact
            as `residual` tells; NaN where lambda_t was not measured.
        at_floor: Share of the weights whose preconditioner is epsilon's rather than the gradients'; NaN without a
            preconditioner, or where lambda_t was not measured.
    """

    loss: np.ndarray
    accuracy: np.ndarray
    sharpness: np.ndarray
    residual: np.ndarray
    converged: np.ndarray
    hvps: np.ndarray
    diverged: bool
    barrier: float = float("nan")
    line_rise: float = float("nan")
    edge: np.ndarray = field(default_factory=lambda: np.empty(0))
    participation: np.ndarray = field(default_factory=lambda: np.empty(0))
    at_floor: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        for name in ("edge", "participation", "at_floor"):
            if len(getattr(self, name)) != len(self.loss):  # not given
                object.__setattr__(self, name, np.full(len(self.loss), np.nan))

    @property
    def steps(self) -> int:
        """Number of optimizer steps taken."""
        return len(self.loss) - 1


def has_diverged(loss: float) -> bool:
    """Whether a loss counts as diverged."""
    return not np.isfinite(loss) or loss > DIVERGENCE_LOSS


class Column(NamedTuple):
    """A column of the table of runs, which has a row for every step of every run.

    Attributes:
        name: Its name.
        type: Type of its values; float is float64, int is int64.
        per_step: Whether it changes from step to step; else the same value stands in every row of a run.
        missing: The value that stands for "not known", in a file written before there was this column; None if a file
            without it is not a file of runs.
    """

    name: str
    type: type[Value]
    per_step: bool = False
    missing: Value | None = None

    @property
    def measured(self) -> bool:
        """Whether it holds an attribute of `Trajectory`; other columns say which run it is, or count its steps."""
        return self.name in Trajectory.__dataclass_fields__


COLUMNS = (
    Column("run_id", str),
    Column("question", str, missing=""),
    Column("family", str, missing=""),
    Column("dataset", str, missing=""),
    Column("loss_name", str, missing=""),
    Column("depth", int),
    Column("width", int),
    Column("seed", int),
    Column("lr_exponent", float),
    Column("c", float, missing=math.nan),
    Column("learning_rate", float, missing=math.nan),
    Column("step", int, per_step=True),
    Column("loss", float, per_step=True),
    Column("accuracy", float, per_step=True, missing=math.nan),
    Column("sharpness", float, per_step=True),
    Column("residual", float, per_step=True, missing=math.nan),
    Column("converged", bool, per_step=True, missing=False),
    Column("hvps", int, per_step=True, missing=0),
    Column("diverged", bool),
    Column("barrier", float, missing=math.nan),
    Column("line_rise", float, missing=math.nan),
    Column("edge", float, per_step=True, missing=math.nan),
    Column("participation", float, per_step=True, missing=math.nan),
    Column("at_floor", float, per_step=True, missing=math.nan),
)
"""The columns of a run, in their order in a file. A further one is an entry here (and an attribute of `Trajectory`, if
a run measures it); files without it are read with its `missing`. docs/files.md says what each means."""

PER_STEP = tuple(column.name for column in COLUMNS if column.per_step and column.measured)
"""The columns that are arrays of a `Trajectory`."""

PER_RUN = tuple(column.name for column in COLUMNS if not column.per_step and column.measured)
"""The columns that are single values of a `Trajectory`, repeated in every row."""

CELL = ("family", "dataset", "loss_name", "depth", "width", "seed")
"""The columns that say which initialisation of which network a run trains, on what."""

"""One short training run as arrays: what training produces, the store keeps and the analysis reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIVERGENCE_LOSS = 1e5
"""A run whose loss is not finite or exceeds this has diverged (Kalra & Barkeshli 2023, App. B)."""


@dataclass(frozen=True)
class Trajectory:
    """Loss and sharpness over the steps 0, 1, ... of one run; index 0 is the state before training.

    Attributes:
        loss: Loss L_t on the measurement set, float64, shape (steps + 1,).
        accuracy: Accuracy on the measurement set, NaN where it is not defined.
        sharpness: lambda_t on the measurement set, NaN where it was not measured.
        residual: Residual ||Hv - lambda_t v|| of each measured sharpness.
        hvps: Hessian-vector products spent at each step, int64.
        diverged: Whether the run ended because its loss was not finite or above `DIVERGENCE_LOSS`.
        barrier: Largest loss on the straight line from the first weights to the last, NaN where it was not measured.
    """

    loss: np.ndarray
    accuracy: np.ndarray
    sharpness: np.ndarray
    residual: np.ndarray
    hvps: np.ndarray
    diverged: bool
    barrier: float = float("nan")

    @property
    def steps(self) -> int:
        """Number of optimizer steps taken."""
        return len(self.loss) - 1


def has_diverged(loss: float) -> bool:
    """Whether a loss counts as diverged."""
    return not np.isfinite(loss) or loss > DIVERGENCE_LOSS

"""Made-up trajectories with known answers."""

import numpy as np

from sharpness_phases.runs.trajectory import Trajectory

T = 10

LABELS = {
    "question": "whole",
    "family": "fcn",
    "dataset": "made_up",
    "loss_name": "mse",
    "depth": 2,
    "width": 8,
    "seed": 0,
    "lr_exponent": 0.1,
    "c": 2**0.1,
    "learning_rate": 0.05,
}
"""What describes a made-up run in a store."""


def trajectory(loss=1.0, sharpness=1.0, diverged=False):
    """A run from its losses and sharpnesses (arrays or numbers); L_0 = lambda_0 = 1 unless given as arrays."""
    loss = np.full(T + 1, loss) if np.isscalar(loss) else np.asarray(loss, float)
    sharpness = np.full(len(loss), sharpness) if np.isscalar(sharpness) else np.asarray(sharpness, float)
    return Trajectory(
        loss=loss,
        accuracy=np.full(len(loss), 0.5),
        sharpness=sharpness,
        residual=np.zeros(len(loss)),
        converged=np.isfinite(sharpness),
        hvps=np.ones(len(loss), np.int64),
        diverged=diverged,
    )


def run(loss_rises=False, sharpness_rises=False, diverged=False):
    """A run that starts at L_0 = lambda_0 = 1 and does what is asked at step 3."""
    loss, sharpness = np.full(T + 1, 0.5), np.full(T + 1, 0.5)
    loss[0] = sharpness[0] = 1.0
    loss[3] = 1.5 if loss_rises else 0.5
    sharpness[3] = 1.5 if sharpness_rises else 0.5
    if diverged:
        loss, sharpness = np.append(loss[:5], 1e9), np.append(sharpness[:5], np.nan)
    return trajectory(loss, sharpness, diverged)

"""The uv model with a target, trained by the code that trains every network, below the edge of stability and beyond."""

from __future__ import annotations

import math

import keras
import numpy as np

from sharpness_phases.analysis.bifurcation import lyapunov_exponent, period_of
from sharpness_phases.analysis.uv_orbits import (
    APART,
    LARGEST_TARGET,
    SETTLED,
    SMALLEST_TARGET,
    Orbit,
    Start,
    ratio_of,
)
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.models.uv import UV
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.training.beginning import InitialState
from sharpness_phases.training.device import double_precision
from sharpness_phases.training.losses import HalfMeanSquaredError
from sharpness_phases.training.runner import TrajectoryRunner
from sharpness_phases.training.sharpness_model import SharpnessModel

WIDTH = 4
"""n. The map holds for every n; with sqrt(n) = 2 the division by sqrt(n) is exact."""

START = 0.25
"""r_0. For every g up to 2 it lies below the repelling fixed point 1 + 2 / g, and F(r_0) is no fixed point."""

TRANSIENT, VISITED = 256, 128
"""Steps that are left out, and steps after them that are kept. Chosen so: all cycles up to period 64 are seen, and 245
values of g take half a minute on two cores."""

MOST_TRANSIENT = 6144
"""Steps that are left out at most, where an orbit has not settled but will by its Lyapunov exponent. Near a threshold
it settles slowly: 0.0025 before g = 1 it takes about 2500 steps."""

STILL_SETTLING = 0.02
"""Lyapunov exponent, estimated from the kept steps, below which an orbit may still settle. Chosen so: in chaos it is
larger, but for a narrow range behind g = 1.3023, where it costs some seconds."""

_TOLERANCE = 1e-8  # relative residual of the sharpness; its error is about the square


VALUES_OF_G = [round(0.8025 + 0.005 * i, 4) for i in range(245)]
"""Where runs are made: 0.8 to 2.03, from below the edge to divergence, in steps of 0.005. None lies on a threshold,
where an orbit never settles: g = 1 and g = 2 are half a step away."""


class TargetRuns:
    """Training runs of the uv model on the one example (1, y), from balanced weights, in float64.

    The network, the loss, the optimizer's step and the measured sharpness are those of every experiment: a Keras model
    in a `SharpnessModel`, whose compiled `train_step` a `TrajectoryRunner` repeats.

    Args:
        target: y, of a size between `SMALLEST_TARGET` and `LARGEST_TARGET`.
        width: n.

    Attributes:
        start: The model and where all runs start.

    Raises:
        ValueError: If the target is too small, too large, or not a number.
    """

    def __init__(self, target: float = 1.0, width: int = WIDTH) -> None:
        if not SMALLEST_TARGET <= abs(target) <= LARGEST_TARGET:
            raise ValueError(
                f"`target` must be between {SMALLEST_TARGET:g} and {LARGEST_TARGET:g}, or minus that. "
                f"Received: {target!r}."
            )
        self.start = Start(target, width, START)
        factory = UV(width, dtype="float64")
        with double_precision():
            self._runner = _runner(factory, target)
            self._initial = self._runner.initial_state(factory.balanced_weights(START * target, seed=0))

    def orbit(self, g: float) -> Orbit:
        """Train with one learning rate, first a transient, then the steps that are kept.

        Args:
            g: eta |y| / sqrt(n).

        Returns:
            The orbit. Its transient is longer where it has not settled, but by its Lyapunov exponent will.
        """
        target, width = self.start.target, self.start.width
        rate = g * math.sqrt(width) / abs(target)
        state, taken = self._initial, 0
        while True:
            left_out = self._train(state, rate, TRANSIENT, measured=False)
            state, taken = self._state(), taken + TRANSIENT
            kept = None if left_out.diverged else self._train(state, rate, VISITED, measured=True)
            if kept is None or kept.diverged:
                nothing = np.empty(0)
                return Orbit(g, rate, taken, nothing, nothing)
            r = ratio_of(kept.loss, kept.sharpness, target, width)
            settles = period_of(r, SETTLED, APART) is None and lyapunov_exponent(r, g) < STILL_SETTLING
            if not settles or taken >= MOST_TRANSIENT:
                return Orbit(g, rate, taken, r, kept.sharpness)
            state, taken = self._state(), taken + VISITED

    def _train(self, state: InitialState, rate: float, steps: int, measured: bool) -> Trajectory:
        with double_precision():
            return self._runner.run(state, rate, np.zeros((steps, 1), np.int64), np.full(steps, measured))

    def _state(self) -> InitialState:
        """The present weights, with loss and sharpness, to go on from."""
        with double_precision():
            return self._runner.initial_state(self._runner.model.network.get_weights())


def _runner(factory: UV, target: float) -> TrajectoryRunner:
    """What trains the model, compiled as any network's."""
    x, y = np.ones((1, 1)), np.full((1, 1), target)
    model = SharpnessModel(
        factory.build((1,), 1, seed=0), measurement=(x, y), solver=Lanczos(tolerance=_TOLERANCE), every=0
    )
    # Compiled by XLA, a step of so small a network takes half as long, also on a CPU.
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=HalfMeanSquaredError(dtype="float64"), jit_compile=True)
    return TrajectoryRunner(model, x, y)

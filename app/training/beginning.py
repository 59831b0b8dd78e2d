"""The state before training: what it holds, and how a model is put back to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from sharpness_phases.training.preconditioners import reset_optimizer, squares
from sharpness_phases.training.rows import Row
from sharpness_phases.training.saved_state import SavedState, optimizer_variables
from sharpness_phases.training.sharpness_model import SharpnessModel


@dataclass(frozen=True)
class InitialState:
    """A network before training, shared by all learning rates of one initialisation.

    Attributes:
        weights: The network's weights.
        loss: Loss L_0 on the measurement set.
        accuracy: Accuracy on the measurement set.
        sharpness: Initial sharpness lambda_0.
        residual: Residual of lambda_0.
        error: Estimated error of lambda_0.
        converged: Whether lambda_0 is as exact as the solver was asked for.
        hvps: Products that lambda_0 took.
        sample_scale: lambda_0 over the sharpness on the sample of the measurement set; NaN without a sample.
        noise_seed: Fixes the noise of dropout and the like in every run.
        participation: Share of the weights that take part in the eigenvector of lambda_0.
        at_floor: Share of the weights whose preconditioner is epsilon's; NaN without one.
    """

    weights: list[np.ndarray]
    loss: float
    accuracy: float
    sharpness: float
    residual: float
    error: float
    converged: bool
    hvps: int
    sample_scale: float
    noise_seed: int = 0
    participation: float = float("nan")
    at_floor: float = float("nan")

    @property
    def row(self) -> Row:
        """What a run tells of step 0; the products of lambda_0 are not counted again."""
        return Row(
            self.loss,
            self.accuracy,
            self.sharpness,
            self.residual,
            float(self.converged),
            participation=self.participation,
            at_floor=self.at_floor,
        )


class Beginning:
    """Puts a model back to before training: weights, noise, and the optimizer's state.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: SharpnessModel) -> None:
        self._model = model
        self._noise = [v for v in model.network.non_trainable_variables if v.name == "seed_generator_state"]
        self._untrained: SavedState | None = None

    def put_back(self, weights: list[np.ndarray], noise_seed: int) -> None:
        """Put all back.

        Args:
            weights: Of the network, as `keras.Model.get_weights` gives them.
            noise_seed: Fixes the noise of dropout and the like.
        """
        self._model.network.set_weights(weights)
        for index, state in enumerate(self._noise):  # which are no weights to Keras
            state.assign([np.random.SeedSequence([noise_seed, index]).generate_state(1)[0] >> 1, 0])
        if self._untrained is None:
            self._untrained = self._state_of_optimizer()
        self._untrained.put_back()

    def expect(self, gradient: Sequence[tf.Tensor] | None) -> float:
        """Say what gradient the first step is made by: the optimizer's preconditioner P holds it already at step 0.

        Args:
            gradient: An array for each trainable variable; None where it is not known.

        Returns:
            The share of weights whose P is epsilon's; NaN where there is no P, or no gradient is given.
        """
        preconditioner = self._model.preconditioner
        if preconditioner is None or gradient is None:
            if preconditioner is not None:
                preconditioner.expect(None)
            return float("nan")
        clipped = self._model.optimizer._clip_gradients(list(gradient))  # of which a step takes the second moment
        flatten = self._model.tracker.hessian.flatten
        flat, squared = flatten([tf.convert_to_tensor(part) for part in clipped]), flatten(list(map(squares, clipped)))
        preconditioner.expect(flat, squared)
        return float(preconditioner.of_next_step(flat, squared).at_floor)

    def _state_of_optimizer(self) -> SavedState:
        """The state before the first step, which of an optimizer of one's own need not be zeros."""
        optimizer = self._model.optimizer
        optimizer.build(self._model.trainable_variables)
        if int(optimizer.iterations) > 0:
            reset_optimizer(optimizer)
        return SavedState(optimizer_variables(optimizer))

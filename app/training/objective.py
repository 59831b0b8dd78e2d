"""The function theta -> L(theta) that is differentiated: a network's mean loss on given examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Protocol, TypeAlias

import keras
import tensorflow as tf

from sharpness_phases.curvature.chunks import Chunks, NotAMean, require_mean
from sharpness_phases.curvature.examples import Nested, count_of
from sharpness_phases.curvature.gradient_differences import OPERATORS, Products
from sharpness_phases.curvature.hessian import HessianOperator
from sharpness_phases.curvature.operator import Scalar
from sharpness_phases.training.measurement_set import accuracy, without_weights
from sharpness_phases.training.precision import in_precision_of_weights
from sharpness_phases.training.rematerialization import rematerialized
from sharpness_phases.training.right_derivatives import (
    BatchNorm,
    measured,
    nothing_assigned,
    trained_batch_normalization,
)

OutputLoss: TypeAlias = Callable[..., Scalar]
"""Function (targets, outputs) -> mean loss, such as a Keras loss object; with a third argument where examples have
weights."""


class ComputesLoss(Protocol):
    """A Keras model with its loss, of which regularisers are a part."""

    def compute_loss(
        self,
        x: Nested = None,
        y: Nested = None,
        y_pred: Nested = None,
        sample_weight: Nested = None,
        training: bool = True,
    ) -> Scalar:
        """The mean loss of examples x with targets y and outputs y_pred."""
        ...


class Objective:
    """Mean loss L(theta) of a network, as a function of the examples, at the present weights theta.

    The network is in inference mode, but for batch normalisation, its second derivatives are right where TensorFlow's
    are not (`sharpness_phases.training.right_derivatives`), and it computes in the precision of its weights.

    Examples are one array or nested ones; targets y may be `Weighted`.

    Args:
        network: A Keras model.
        loss: Function (targets, outputs) -> mean loss, or (targets, outputs, weights) -> mean loss.
        batch_norm: "batch": batch normalisation that is not frozen normalises by the mean and variance of the examples,
            as in training; "inference": by its moving statistics. These never change.

    Example:
        The Hessian of L = mean (theta x)^2 / 2 over x = 1, 3 is mean x^2 = 5:

        >>> from sharpness_phases.training.losses import HalfMeanSquaredError
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> objective = Objective(network, HalfMeanSquaredError())
        >>> hessian = objective.hessian(tf.constant([[1.0], [3.0]]), tf.zeros([2, 1]))
        >>> hessian.linearize().matvec(tf.constant([1.0])).numpy()
        array([5.], dtype=float32)
    """

    def __init__(self, network: keras.Model, loss: OutputLoss, batch_norm: BatchNorm = "batch") -> None:
        self._network = network
        self._output_loss = loss
        self._batch_norm: BatchNorm = batch_norm

    @property
    def variables(self) -> list[tf.Variable]:
        """The network's trainable weights theta, as they are asked for: layers may be frozen later."""
        return [variable.value for variable in self._network.trainable_variables]

    def outputs(self, x: Nested) -> Nested:
        """The network's outputs (B, ...) for inputs (B, ...)."""
        with self._as_measured():
            return self._network(x, training=False)

    @contextmanager
    def _as_measured(self) -> Iterator[None]:
        with (
            measured(self._batch_norm),
            in_precision_of_weights(self._network),
            rematerialized(self._as_measured),
        ):
            yield

    def loss_of_outputs(self, x: Nested, y: Nested, outputs: Nested) -> Scalar:
        """L of examples whose outputs are known."""
        targets, sample_weight = without_weights(y)
        with measured(self._batch_norm):
            return self._output_loss(targets, outputs, *([] if sample_weight is None else [sample_weight]))

    def loss(self, x: Nested, y: Nested) -> Scalar:
        """L of inputs x and targets y, both (B, ...); callable inside a `tf.function`, differentiable."""
        return self.loss_of_outputs(x, y, self.outputs(x))

    def loss_and_accuracy(self, x: Nested, y: Nested) -> tuple[Scalar, Scalar]:
        """L and the accuracy in [0, 1], from one forward pass; NaN where the outputs are not class scores."""
        outputs = self.outputs(x)
        return self.loss_of_outputs(x, y, outputs), accuracy(y, outputs)

    def hessian(
        self,
        x: Nested,
        y: Nested,
        chunk_size: int | None = None,
        with_accuracy: bool = False,
        products: Products = "exact",
    ) -> HessianOperator:
        """The Hessian of L on these examples.

        Args:
            x: Inputs, shape (B, ...).
            y: Targets, shape (B, ...).
            chunk_size: Number of examples differentiated at once; None for all.
            with_accuracy: Whether its linearisation tells the accuracy, too.
            products: "exact", or by "differences" of the gradient.

        Returns:
            The operator, at the weights as they are whenever it is linearised.
        """
        loss = self.loss_and_accuracy if with_accuracy else self.loss
        of_chunks = self.depends_on_chunks(x, y, chunk_size)
        return OPERATORS[products](loss, self.variables, x, y, chunk_size, with_accuracy, of_chunks)

    def loss_and_accuracy_of_set(self, x: Nested, y: Nested, chunk_size: int | None) -> tuple[Scalar, Scalar]:
        """L and the accuracy of examples that are taken in chunks, the means over chunks where these decide them."""
        if not self.depends_on_chunks(x, y, chunk_size):
            return self.loss_and_accuracy(x, y)
        dtype = tf.as_dtype(self.variables[0].dtype)

        def of_a_chunk(x: Nested, y: Nested) -> tuple[Scalar, Scalar]:
            loss, share = self.loss_and_accuracy(x, y)
            return tf.cast(loss, dtype), tf.cast(share, dtype)

        loss, share = Chunks(x, y, chunk_size or count_of((x, y))).mean(of_a_chunk, ([], []), dtype)
        return loss, share

    def depends_on_chunks(self, x: Nested, y: Nested, chunk_size: int | None) -> bool:
        """Whether L is another one for each `chunk_size`: batch normalisation takes the statistics of a chunk.

        Args:
            x: Inputs, shape (B, ...).
            y: Targets, shape (B, ...).
            chunk_size: Number of examples differentiated at once; None for all.

        Returns:
            False also where all examples are one chunk.

        Raises:
            NotAMean: If so and chunks are not equally large, or the loss is no mean even with fixed statistics.
        """
        examples = count_of((x, y))
        if chunk_size is None or chunk_size >= examples or self._batch_norm != "batch":
            return False
        if not (layers := trained_batch_normalization(self._network)):
            return False
        if examples % chunk_size:
            raise NotAMean(
                f"Batch normalisation ({layers[0].name}) takes mean and variance of each chunk, which must be equally "
                f"large: `chunk_size` must divide the number of examples, {examples}. Received: {chunk_size}."
            )
        with_fixed_statistics = copy(self)
        with_fixed_statistics._batch_norm = "inference"
        require_mean(with_fixed_statistics.loss, x, y, chunk_size)
        return True


class CompiledObjective(Objective):
    """The loss that a Keras model was compiled with, with what regularisers and `add_loss` give.

    Nothing that it computes moves the state of the model, such as metrics of the losses of several outputs.

    Args:
        network: Computes the outputs.
        model: Computes the loss from them: the network itself, or a model that wraps it.
        batch_norm: As for `Objective`.
    """

    def __init__(self, network: keras.Model, model: ComputesLoss, batch_norm: BatchNorm = "batch") -> None:
        def loss(y: Nested, outputs: Nested, sample_weight: Nested = None) -> Scalar:
            return model.compute_loss(y=y, y_pred=outputs, sample_weight=sample_weight, training=False)

        super().__init__(network, loss, batch_norm)
        self._model = model

    def loss_of_outputs(self, x: Nested, y: Nested, outputs: Nested) -> Scalar:
        """L of examples whose outputs are known; a model's own loss may ask for the inputs, too."""
        targets, sample_weight = without_weights(y)
        with self._as_measured(), nothing_assigned():
            return self._model.compute_loss(x=x, y=targets, y_pred=outputs, sample_weight=sample_weight, training=False)

"""A callback that measures the sharpness while any Keras model trains."""

from __future__ import annotations

import inspect
import logging
import math
from typing import Any, NamedTuple

import keras

from sharpness_phases.curvature.gradient_differences import Products, require_products
from sharpness_phases.curvature.operator import Solver
from sharpness_phases.curvature.preconditioned import participation_ratio
from sharpness_phases.training.batches import Data, is_data_set
from sharpness_phases.training.measurement_set import ClassWeight, measurement_data
from sharpness_phases.training.optimizers import HESSIAN, StabilityEdge, stability_edge
from sharpness_phases.training.right_derivatives import BatchNorm, require_batch_norm
from sharpness_phases.training.schedule import Logs, Schedule
from sharpness_phases.training.sharpness_model import SharpnessModel

logger = logging.getLogger(__name__)


class Measured(NamedTuple):
    """One measurement.

    Attributes:
        step: Optimizer steps taken before it.
        loss: Loss on the measurement set.
        sharpness: Largest eigenvalue of the loss Hessian there; with a preconditioner P, of P^-1/2 H P^-1/2.
        learning_rate: The optimizer's learning rate eta at that step.
        threshold: The optimizer's stability edge at that rate (`sharpness_phases.stability_edge`; 2/eta for plain
            gradient descent): training is stable on a quadratic loss of a sharpness below it. None where the edge of
            such an optimizer is not known, or is not one of what is measured.
        participation: Share of the weights that take part in the top eigenvector
            (`sharpness_phases.curvature.preconditioned.participation_ratio`).
        at_floor: Share of the weights whose P is that of epsilon rather than of gradients; NaN without P. Where it is
            large, as near interpolation, the sharpness may be that of weights that hardly matter.
    """

    step: int
    loss: float
    sharpness: float
    learning_rate: float
    threshold: float | None
    participation: float
    at_floor: float


class SharpnessCallback(keras.callbacks.Callback):
    """Measures the sharpness of the compiled loss while a model trains that is not wrapped in a `SharpnessModel`.

    A measurement set that does not fit the model is refused with a `ValueError` when training begins.

    Loss and sharpness are measured at the weights between two steps, not read from batch logs, which are means over
    the epoch so far. What stands still while measuring, and what is refused, is told by `SharpnessModel`.

    Measured is, as in `SharpnessModel`, what the optimizer's edge is held against: the Hessian's largest eigenvalue,
    and that of P^-1/2 H P^-1/2 where the optimizer has a preconditioner P.

    The logs of every epoch get `sharpness`, the last one measured, and `sharpness/threshold`, the optimizer's stability
    edge at the rate of that step, whatever the schedule; with a preconditioner `sharpness/participation` and
    `sharpness/at_floor`, too (`Measured`). Where the edge is not known none is logged, and a warning says so once. The
    history of `fit` holds the logs, and callbacks later in the list see them: put this one before `TensorBoard` or
    `CSVLogger`.

    Of a model with a `train_step` of its own the loss is that of its `compute_loss`; a warning says so where the step
    does not call that.

    Args:
        measurement: What to measure on: (x, y) or (x, y, sample_weight) of arrays (M, ...), nested as the model takes
            them, or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches of these; see `SharpnessModel`.
        every: Measure after every k-th epoch or step, and once before training.
        unit: "epochs" or "steps" (of the optimizer; with `steps_per_execution`, after the execution they fall into).
        solver: Eigenvalue solver; `Lanczos()` by default.
        chunk_size: Number of measurement examples differentiated at once, to bound memory; None for all.
        verify: Check the model's second derivatives before training, as `SharpnessModel` does.
        batch_norm: Whether batch normalisation that trains uses the statistics of the measurement set ("batch"), as
            training uses those of its batch, or its moving ones ("inference"); see `SharpnessModel`.
        preconditioned: Whether to measure P^-1/2 H P^-1/2 where the optimizer has a preconditioner P; False for H.
        examples: Number M of examples to measure on, the first; None for all of arrays and at most 1024 of a data set.
        class_weight: Weights of the measured examples by class, as of `fit`; in the place of `sample_weight`.
        products: "exact" products with the Hessian, or "differences" of the gradient, for what TensorFlow cannot
            differentiate twice; see `SharpnessModel`.

    Attributes:
        history: The measurements of the last `fit`, as `Measured` tuples; `pandas.DataFrame(callback.history)` has a
            row for each.

    Raises:
        ValueError: If `every` is below 1, or `unit`, `batch_norm` or `products` unknown.

    Example:
        >>> x, y = keras.random.normal((64, 8), seed=0), keras.random.normal((64, 2), seed=1)
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        >>> callback = SharpnessCallback(measurement=(x[:32], y[:32]), every=2, unit="steps")
        >>> history = model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
        >>> [at.step for at in callback.history]
        [0, 2, 4, 6, 8]
        >>> sorted(history.history)
        ['loss', 'sharpness', 'sharpness/threshold']
    """

    def __init__(
        self,
        measurement: Data,
        every: int = 1,
        unit: str = "epochs",
        solver: Solver | None = None,
        chunk_size: int | None = None,
        verify: bool = True,
        batch_norm: BatchNorm = "batch",
        preconditioned: bool = True,
        examples: int | None = None,
        class_weight: ClassWeight | None = None,
        products: Products = "exact",
    ) -> None:
        super().__init__()
        self._schedule = Schedule(every, unit)
        self.history: list[Measured] = []
        self._settings: dict[str, Any] = {
            # Of a data set, the same examples for every `fit`.
            "measurement": tuple(measurement_data(measurement, examples)) if is_data_set(measurement) else measurement,
            "solver": solver,
            "chunk_size": chunk_size,
            "verify": verify,
            "batch_norm": require_batch_norm(batch_norm),
            "preconditioned": preconditioned,
            "examples": examples,
            "class_weight": class_weight,
            "products": require_products(products),
        }
        self._measuring: SharpnessModel | None = None
        self._said_unknown = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Measure before the first step."""
        self.history = []
        # A wrapper of its own, and new for every `fit`: the model may have been compiled anew.
        self._measuring = SharpnessModel(self.model, every=0, **self._settings)
        self._measuring.compile(optimizer=self.model.optimizer, jit_compile=bool(self.model.jit_compile))
        if _may_train_another_loss(self.model):
            logger.warning(
                "%s has a `train_step` of its own that does not call `compute_loss`: the sharpness is that of "
                "`compute_loss`, by default the loss given to `compile`, whatever the step descends.",
                type(self.model).__name__,
            )
        self._measure()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Measure, if a step is due."""
        if self._schedule.is_due_after_steps(self._steps(), self.history[-1].step):
            self._measure()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Measure, if the epoch is due, and tell the logs."""
        if self._schedule.is_due_after_epoch(epoch):
            self._measure()
        if logs is not None:
            logs |= _logged(self.history[-1])

    def _steps(self) -> int:
        return int(self.model.optimizer.iterations)

    def _measure(self) -> None:
        assert self._measuring is not None
        found = self._measuring.measure()
        sharpness = found.sharpness.to_python()
        if not self.history:
            self._measuring.doubted(sharpness)
        edge = self._measuring.stability_edge() if self._settings["preconditioned"] else self._edge_of_hessian()
        if edge.edge is None and not self._said_unknown:
            self._said_unknown = True
            logger.warning("SharpnessCallback logs no `sharpness/threshold`: %s.", edge.words)
        self.history.append(
            Measured(
                self._steps(),
                float(found.loss),
                float(sharpness.eigenvalue),
                float(self.model.optimizer.learning_rate),
                edge.edge,
                participation_ratio(sharpness.eigenvector),
                edge.at_floor,
            )
        )

    def _edge_of_hessian(self) -> StabilityEdge:
        """The edge of the model's optimizer, unless it is one of another operator than H, which is measured."""
        found = stability_edge(self.model.optimizer)
        if found.operator == HESSIAN:
            return found
        words = f"H is measured, and {type(self.model.optimizer).__name__} has an edge of {found.operator}"
        return StabilityEdge(None, None, words)


def _may_train_another_loss(model: keras.Model) -> bool:
    """Whether a model's training step names no function by which the loss that is measured could reach it."""
    code = getattr(inspect.unwrap(type(model).train_step), "__code__", None)
    return code is not None and not {"compute_loss", "_compute_loss", "train_step"} & set(code.co_names)


def _logged(measured: Measured) -> Logs:
    """What the logs of an epoch get of its last measurement."""
    logs = {"sharpness": measured.sharpness}
    if measured.threshold is not None:
        logs["sharpness/threshold"] = measured.threshold
    if not math.isnan(measured.at_floor):
        logs |= {"sharpness/participation": measured.participation, "sharpness/at_floor": measured.at_floor}
    return logs

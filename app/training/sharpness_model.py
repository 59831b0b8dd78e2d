"""A Keras model whose training step tracks the sharpness."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import keras
import tensorflow as tf

import sharpness_phases.models.layers  # noqa: F401  # registers our layers, so that saved models find them
import sharpness_phases.training.losses  # noqa: F401  # registers our loss, too
from sharpness_phases.curvature.examples import Nested, take
from sharpness_phases.curvature.gradient_differences import Products, require_products
from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import EigenResult, Scalar, Solver, Vector
from sharpness_phases.curvature.preconditioned import Diagonal
from sharpness_phases.training.batches import Batch, Data, is_data_set
from sharpness_phases.training.before_measuring import (
    computes_its_loss,
    require_a_loss,
    require_measurable,
    require_outputs,
    verified,
)
from sharpness_phases.training.measurement_set import (
    ClassWeight,
    measurement_data,
    with_weights,
)
from sharpness_phases.training.objective import CompiledObjective
from sharpness_phases.training.optimizers import (
    PRECONDITIONED,
    StabilityEdge,
    edge_now,
    inner_optimizer,
    stability_edge,
)
from sharpness_phases.training.preconditioners import Preconditioner, has_preconditioner
from sharpness_phases.training.right_derivatives import BatchNorm, require_batch_norm
from sharpness_phases.training.rounding import moved_by_rounding
from sharpness_phases.training.solver_config import solver_config, solver_from_config
from sharpness_phases.training.tracing import traced
from sharpness_phases.training.tracker import NO_THRESHOLD, Measurement, SharpnessTracker

logger = logging.getLogger(__name__)

Setting: TypeAlias = Any
"""An argument of `keras.Model` or of its `compile`, handed on as it is."""

KerasConfig: TypeAlias = dict[str, Any]
"""What Keras writes into a file, plain values by name."""

CustomObjects: TypeAlias = dict[str, type] | None
"""Classes by name, as `keras.saving.deserialize_keras_object` takes them."""

_ALONE = 1e6
"""Length of a vector beside which a random start of length 1 is nothing: the first Ritz value is that of the vector."""

_NOT_SAVED = "The measurement set is not saved with a model."


@keras.saving.register_keras_serializable(package="sharpness_phases")
class SharpnessModel(keras.Model):
    """Wraps any Keras model and measures the sharpness of its loss while it trains.

    The sharpness is the largest algebraic eigenvalue of the Hessian of the compiled loss (regularisers included), on
    one fixed measurement set, at the weights after the optimizer's step. It appears
    as `sharpness` in the logs of every step and epoch; between measurements the last value stands. Beside it stands
    `sharpness/threshold`, the optimizer's stability edge at its present rate, where that is known.

    Of an optimizer that divides its step by a diagonal P (Adam, AdamW, Nadam, RMSprop of Keras), what is measured is
    the largest eigenvalue of P^-1/2 H P^-1/2 in the place of the Hessian H: the one that its edge is held against. P is
    that of the last step; before the first, it is made of the gradient on the measurement set.

    Examples are one array or several: nested lists, tuples and dicts of arrays, as the network takes and gives them,
    with targets of any shape, masks, and weights of their own. `class_weight` and `sample_weight` of `fit` weigh the
    training steps only; what is measured has the weights of the measurement set.

    The loss is that of the weights in their own precision: of mixed precision, whose weights are float32, it is
    computed in float32. Weights that are themselves of float16 or bfloat16 are refused, and so are examples that have
    no loss (strings, NaN, labels that are no class) and a network that draws random numbers in inference, in words.

    What stands still while measuring: dropout, noise and augmentation are off. Batch normalisation that
    trains normalises by the mean and variance of the measurement set, since training descends the loss with the
    statistics of its batch, and 2/eta bounds the sharpness of that loss; of each chunk, if there is a `chunk_size`,
    which then decides the loss. What is frozen (`layer.trainable = False`, before `compile`) uses its moving
    statistics, as in training. No measurement changes these.

    It saves as any Keras model, whole or weights alone. The measurement set is not saved: `measure_on` after loading.

    Args:
        network: The model to train; it is shared, not copied.
        measurement: What to measure on: (x, y) or (x, y, sample_weight) of arrays (M, ...), nested as the network takes
            them, or (x,) where the loss needs no targets; or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches
            of these, whose first examples are taken once. None: train without measuring.
        solver: Eigenvalue solver; `Lanczos()` by default.
        every: Measure after every k-th optimizer step; 0 for only on request, with `sharpness()`.
        chunk_size: Number of measurement examples differentiated at once, to bound memory; None for all.
        verify: Check second derivatives before the first measurement: a product with the Hessian of each kind of layer
            that is not known to be right is compared with central differences of the gradient. It is looked for layers
            that draw random numbers in inference, too.
        seed: Fixes the random part of start vectors.
        batch_norm: "batch" for the loss with the statistics of the measurement set; "inference" for the loss with
            moving statistics, that of `evaluate` and `predict`, which training does not descend.
        preconditioned: Whether to measure P^-1/2 H P^-1/2 where the optimizer has a preconditioner P; False for H.
        examples: Number M of examples to measure on, the first; None for all of arrays and at most 1024 of a data set.
        class_weight: Weights of the measured examples by class, as of `fit`; in the place of `sample_weight`.
        products: "exact" products with the Hessian, by second derivatives, or "differences" of the gradient, for what
            TensorFlow cannot differentiate twice or does so wrongly; second derivatives are then not checked. Each
            takes two gradients, and keeps about four digits in float32; `converged` is true only if products are
            measured to be as exact as the solver's tolerance, or 1e-3 where that is finer. Kinks (ReLU, max-pooling)
            make an error of a tenth or more, with a preconditioner even of a factor: see `DifferenceOperator`. Where a
            layer's gradient is not the derivative of its outputs, as of batch renormalisation, it is the Jacobian of
            this gradient that is multiplied with, which is not symmetric: then nothing converges, or hardly.
        **kwargs: Of `keras.Model`.

    Raises:
        ValueError: If `every` is negative, `batch_norm` or `products` is no choice, or `measurement` is none: its parts
            have no or different numbers of examples, or no common shape.

    Example:
        >>> import numpy as np
        >>> x, y = np.eye(8, dtype="float32"), np.eye(8, dtype="float32")[:, :2]
        >>> network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, use_bias=False)])
        >>> model = SharpnessModel(network, measurement=(x, y), every=1)
        >>> model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        >>> history = model.fit(x, y, batch_size=4, verbose=0)
        >>> round(history.history["sharpness"][-1], 3)  # of mean |theta x - y|^2 / 2: the same at all weights
        0.125
    """

    def __init__(
        self,
        network: keras.Model,
        measurement: Data | None = None,
        solver: Solver | None = None,
        every: int = 1,
        chunk_size: int | None = None,
        verify: bool = True,
        seed: int = 0,
        batch_norm: BatchNorm = "batch",
        preconditioned: bool = True,
        examples: int | None = None,
        class_weight: ClassWeight | None = None,
        products: Products = "exact",
        **kwargs: Setting,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(every, bool) or not isinstance(every, int) or every < 0:
            raise ValueError(f"`every` must be an integer of at least 0. Received: {every!r}.")
        self.network = network
        self.built = network.built  # else Keras warns of empty weights when it saves
        self.solver = solver if solver is not None else Lanczos()
        self.every = every
        self._chunk_size = chunk_size
        self._verify, self._verified = verify, False
        self._seed = seed
        self._batch_norm = require_batch_norm(batch_norm)
        self._preconditioned = preconditioned
        self._products = require_products(products)
        self._live: Preconditioner | None = None
        self._keep(None if measurement is None else measurement_data(measurement, examples, class_weight, network))
        self._objective = CompiledObjective(network, self, self._batch_norm)
        self._measuring: SharpnessTracker | None = None
        self._lost_measurement = False

    def call(self, inputs: Nested, training: bool | None = None) -> Nested:
        """The wrapped network's output."""
        return self.network(inputs, training=training)

    @property
    def output_names(self) -> list[str]:
        """Names of the network's outputs, by which losses and metrics may be given."""
        return self.network.output_names

    def compile(self, *args: Setting, **kwargs: Setting) -> None:
        """Configure for training, as for any Keras model; without a `loss`, with the one that `network` has."""
        super().compile(*args, **kwargs)
        self._measuring, self._verified = None, False  # layers may have been frozen, or no longer be
        self._evaluate = traced(self._of_set, jit_compile=bool(self.jit_compile))

    def compute_loss(
        self,
        x: Nested = None,
        y: Nested = None,
        y_pred: Nested = None,
        sample_weight: Nested = None,
        training: bool = True,
    ) -> Scalar:
        """The loss that is trained on and whose sharpness is measured, regularisers included."""
        if self._compile_loss is None and (self.network.compiled or computes_its_loss(self.network)):
            return self.network._compute_loss(x, y, y_pred, sample_weight, training)  # also one that a subclass defines
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def measure_on(
        self,
        x: Nested | Data,
        y: Nested = None,
        sample_weight: Nested = None,
        examples: int | None = None,
        class_weight: ClassWeight | None = None,
    ) -> None:
        """Measure on these examples from now on; needed after loading, as data are not saved with a model.

        Args:
            x: Inputs, shape (M, ...), nested as the network takes them; or a `tf.data.Dataset` or
                `keras.utils.PyDataset`.
            y: Targets, shape (M, ...), as many as inputs; else a `ValueError`.
            sample_weight: Weights of the examples.
            examples: Number M of examples, as at construction.
            class_weight: Weights by class, as at construction.
        """
        data = x if is_data_set(x) else (x, y, sample_weight)
        self._keep(measurement_data(data, examples, class_weight, self.network))
        self._measuring, self._lost_measurement = None, False
        self.train_function = None  # Keras keeps the traced step, and in it the old examples

    def train_step(self, data: tuple[Nested, ...]) -> dict[str, Scalar]:
        """One optimizer step, then the sharpness at the new weights if it is due.

        Args:
            data: A batch (x, y) or (x, y, sample_weight).

        Returns:
            Keras' logs, `sharpness`, and `sharpness/threshold`.
        """
        if self._measurement is not None and self.every > 0:
            self.tracker  # noqa: B018  # built outside the graph, and before Keras makes metrics of losses inside it
        logs = super().train_step(data)
        if self._measurement is not None and self.every > 0:
            logs["sharpness"] = self._track()
            if self._is_held_against_its_edge() and (edge := edge_now(self.optimizer)) is not None:
                logs["sharpness/threshold"] = edge
        elif self._lost_measurement:
            logger.warning("Training goes on without measuring: call `measure_on(x, y)` first. %s", _NOT_SAVED)
        return logs

    def sharpness(self, warm_start: bool = False) -> EigenResult:
        """Measure the sharpness at the present weights.

        A model that is not compiled or has no measurement set is a `ValueError`; one whose second derivatives are wrong
        in TensorFlow is a `SecondDerivativeError`.

        Args:
            warm_start: Has no effect; of version 0.1, where a measurement could start from the last one. Each starts
                from a random vector, the same for every call (see `SharpnessTracker`).

        Returns:
            Eigenvalue, flat eigenvector, residual, error estimate, whether it converged, and the number of products;
            NaN where the weights give a loss that is not finite. What rounding in the precision of the weights may
            have moved by more than the tolerance has not converged, and is told (`doubted`).
        """
        return self.doubted(self.measure().sharpness.to_python())

    def measure(self) -> Measurement:
        """As `sharpness`, with loss and accuracy, and tensors as results; rounding is not looked at."""
        return self._measured_at(0)

    def doubted(self, result: EigenResult) -> EigenResult:
        """Look at what rounding does to a sharpness: change each weight by its last place, twice.

        That takes the gradient and one product each time. With `verify=False`, of weights in float64 or of products
        by differences, which tell their error themselves, nothing is looked at.

        Args:
            result: What was measured at the present weights.

        Returns:
            The same; not `converged` if either change moves v.H v by more than the tolerance, which is logged, too.
        """
        operator = self.tracker.operator
        if not (self._verify and result.converged and operator.dtype == tf.float32 and self._products == "exact"):
            return result
        vector = _ALONE * tf.constant(result.eigenvector, operator.dtype)
        moved = moved_by_rounding(
            self._objective.variables,
            result.eigenvalue,
            lambda: float(self._measured_at(0, -math.inf, vector).sharpness.eigenvalue),
        )
        if moved <= self.tracker.tolerance:
            return result
        logger.warning(
            "The sharpness %.6g is known to %.1g%% only: so far does a change of each weight by its last place move "
            "it. Measure in float64 (`keras.config.set_dtype_policy('float64')`, then build the network) for more.",
            result.eigenvalue,
            100 * moved,
        )
        return result._replace(converged=False)

    def _measured_at(
        self, index: Scalar | int, threshold: float = NO_THRESHOLD, towards: Vector | None = None
    ) -> Measurement:
        """As the tracker's `measure`, from one trace for all that is asked."""
        operator = self.tracker.operator
        nowhere = tf.zeros([operator.size], operator.dtype)
        start = nowhere if towards is None else towards
        return self._measure(tf.cast(index, tf.int64), tf.constant(threshold, operator.dtype), start)

    def stability_edge(self) -> StabilityEdge:
        """The compiled optimizer's edge as it stands, as `sharpness_phases.stability_edge` gives it.

        A model that is not compiled or has no measurement set is a `ValueError`.

        Returns:
            The edge, with the preconditioner P that `sharpness` uses, also before the first step.
        """
        hessian = self.tracker.hessian
        found = stability_edge(self.optimizer)
        if found.operator != PRECONDITIONED:
            return found
        live = self._live or Preconditioner(inner_optimizer(self.optimizer), hessian.variables)
        diagonal = live.of_last_step() if int(self.optimizer.iterations) else live(hessian.linearize().gradient)
        return found._replace(preconditioner=diagonal.values.numpy(), at_floor=float(diagonal.at_floor))

    def evaluate_measurement(self) -> tuple[Scalar, Scalar]:
        """Loss and accuracy on the measurement set at the present weights; callable inside a `tf.function`.

        Returns:
            Loss L and accuracy in [0, 1] (NaN where the outputs are not class scores), scalar tensors; a `ValueError`
            where the model is not compiled or has no measurement set.
        """
        self._require_compiled()
        return self._evaluate(*self._measurement_set())

    def loss_on_measurement(self) -> Scalar:
        """Loss on the measurement set at the present weights, as a tensor; callable inside a `tf.function`."""
        return self._of_set(*self._measurement_set())[0]

    @property
    def measurement(self) -> tuple[Nested, ...] | None:
        """The measurement set as tensors, (x, y) or with weights (x, y, sample_weight); None where there is none."""
        found = self._measurement
        return None if found is None else tuple(found[: 2 if found.sample_weight is None else 3])

    @property
    def traces(self) -> dict[str, int]:
        """How often each compiled function was traced since `compile`, of those that were needed."""
        functions = {"measure": getattr(self, "_measure", None), "evaluate": getattr(self, "_evaluate", None)}
        return {name: made.experimental_get_tracing_count() for name, made in functions.items() if made is not None}

    @property
    def tracker(self) -> SharpnessTracker:
        """What measures; built once for each `compile`, after a check of the network's second derivatives."""
        if self._measuring is None:
            self._measurement_set()
            self._require_compiled()
            self._measuring = _outside_graphs(self._build_tracker)
        return self._measuring

    def get_config(self) -> KerasConfig:
        """All arguments but the measurement set, for saving and copying."""
        return super().get_config() | {
            "network": keras.saving.serialize_keras_object(self.network),
            "solver": solver_config(self.solver),
            "every": self.every,
            "chunk_size": self._chunk_size,
            "verify": self._verify,
            "seed": self._seed,
            "batch_norm": self._batch_norm,
            "preconditioned": self._preconditioned,
            "products": self._products,
            "measures": self._measurement is not None or self._lost_measurement,
        }

    @classmethod
    def from_config(cls, config: KerasConfig, custom_objects: CustomObjects = None) -> SharpnessModel:
        """Build from what `get_config` gave; what measured then needs `measure_on(x, y)` to measure again."""
        settings = dict(config)
        measures = settings.pop("measures")
        settings["network"] = keras.saving.deserialize_keras_object(settings["network"], custom_objects)
        settings["solver"] = solver_from_config(settings["solver"], custom_objects)
        model = cls(**settings)
        model._lost_measurement = measures
        return model

    def compile_from_config(self, config: KerasConfig) -> None:
        """Compile with the saved optimizer, loss and metrics."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)  # so that its saved state finds its place

    def _keep(self, measurement: Batch | None) -> None:
        """Set what is measured on, past Keras' setter, which would put other lists and dicts in the place of these."""
        self.__dict__["_measurement"] = measurement

    def _of_set(self, x: Nested, y: Nested) -> tuple[Scalar, Scalar]:
        """Loss and accuracy of a measurement set."""
        return self._objective.loss_and_accuracy_of_set(x, y, self._chunk_size)

    def _require_compiled(self) -> None:
        if not self.compiled:
            raise ValueError("Call `compile` before measuring: the sharpness is that of the compiled loss.")

    def _measurement_set(self) -> tuple[Nested, Nested]:
        """Inputs, and targets with their weights."""
        if self._measurement is None:
            why = f" {_NOT_SAVED}" if self._lost_measurement else ""
            raise ValueError(
                f"No measurement set: pass `measurement=(x, y)` to SharpnessModel, or call `measure_on(x, y)`.{why}"
            )
        x, y, sample_weight = self._measurement
        return x, with_weights(y, sample_weight)

    def _build_tracker(self) -> SharpnessTracker:
        x, y = self._measurement_set()
        require_outputs(self.network)
        if not self.network.built:
            self.network(take(x, slice(1)))
        self.built = True
        require_a_loss(self.network, self, x)
        objective = self._objective
        variables = objective.variables
        require_measurable(self.network, objective, x, y, self._chunk_size)
        if self._verify and not self._verified:
            self._verified = verified(self.network, objective, x, y, self._batch_norm, self._products)
        tracker = SharpnessTracker(
            objective.loss_and_accuracy,
            variables,
            x,
            y,
            self.solver,
            self._chunk_size,
            self._seed,
            bool(self.jit_compile),
            self._of_set if objective.depends_on_chunks(x, y, self._chunk_size) else None,
            self._diagonal(variables),
            self._products,
        )
        self._measure = traced(tracker.measure)
        self._last = tf.Variable(tf.constant(float("nan"), tracker.operator.dtype), trainable=False)
        return tracker

    @property
    def preconditioner(self) -> Preconditioner | None:
        """The live preconditioner that `sharpness` uses; None where H is measured."""
        self.tracker  # noqa: B018  # builds it
        return self._live

    def _diagonal(self, variables: list[tf.Variable]) -> Diagonal | None:
        """P of the compiled optimizer, from the gradient; None where H is measured."""
        optimizer, self._live = inner_optimizer(self.optimizer), None
        if not (self._preconditioned and has_preconditioner(optimizer)):
            return None
        if not optimizer.built:
            optimizer.build(self.trainable_variables)
        live = self._live = Preconditioner(optimizer, variables)
        return lambda gradient: live(gradient).values

    def _is_held_against_its_edge(self) -> bool:
        """Whether the edge of the optimizer is one of what is measured."""
        return self._preconditioned or not has_preconditioner(inner_optimizer(self.optimizer))

    def _track(self) -> Scalar:
        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)

        def measured() -> Scalar:
            return self._last.assign(self._measured_at(step).sharpness.eigenvalue)

        due = tf.equal(step % self.every, 0)
        return tf.cond(due, measured, lambda: tf.identity(self._last))


def _outside_graphs(build: Callable[[], SharpnessTracker]) -> SharpnessTracker:
    """Call a function outside a graph that is being traced; gradient tapes work, as they do not in `tf.init_scope`."""
    if tf.executing_eagerly():
        return build()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()

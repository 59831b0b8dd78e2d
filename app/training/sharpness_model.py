"""A Keras model whose training step tracks the sharpness."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import tensorflow as tf

from app.curvature.hessian import HessianOperator
from app.curvature.lanczos import Lanczos
from app.curvature.result import EigenResult
from app.curvature.verify import (
    AGREEMENT,
    SecondDerivativeError,
    layer_names,
    refuse_wrong_layers,
    verify_products,
)
from app.training.tracker import Measurement, SharpnessTracker

_SETTLED = 2  # disagreements on different examples that make an error

logger = logging.getLogger(__name__)

_VERIFY_EXAMPLES = (8, 4, 2, 2, 2)  # few, so that few ReLU units switch between the two gradients


class SharpnessModel(keras.Model):
    """Wraps any Keras model and measures the sharpness of its loss while it trains.

    The sharpness is the largest algebraic eigenvalue of the Hessian of the compiled loss (regularisers included), in
    inference mode, on one fixed measurement set, at the weights after the optimizer's step. It appears
    as `sharpness` in the logs of every step and epoch; between measurements the last value stands.

    Args:
        network: The model to train; it is shared, not copied.
        measurement: Pair (x, y) of inputs (M, ...) and targets (M, ...) to measure on. None: train without measuring.
        solver: Eigenvalue solver; `Lanczos()` by default.
        every: Measure after every k-th optimizer step; 0 for only on request, with `sharpness()`.
        chunk_size: Number of measurement examples differentiated at once, to bound memory; None for all.
        verify: Check the network's second derivatives before the first measurement: layers known to be wrong in
            TensorFlow are refused, and a product is compared with central differences of the gradient.
        seed: Fixes the random part of start vectors.

    Raises:
        ValueError: If `every` is negative, or `measurement` is not a pair of equal lengths.

    Example:
        >>> model = SharpnessModel(network, measurement=(x, y), every=1)
        >>> model.compile(optimizer=keras.optimizers.SGD(0.1), loss=HalfMeanSquaredError())
        >>> history = model.fit(x, y, batch_size=512)
        >>> history.history["sharpness"]
    """

    def __init__(
        self,
        network: keras.Model,
        measurement: tuple[Any, Any] | None = None,
        solver: Any = None,
        every: int = 1,
        chunk_size: int | None = None,
        verify: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(every, bool) or not isinstance(every, int) or every < 0:
            raise ValueError(f"`every` must be an integer of at least 0. Received: {every!r}.")
        self.network = network
        self.solver = solver if solver is not None else Lanczos()
        self.every = every
        self._chunk_size = chunk_size
        self._verify = verify
        self._seed = seed
        self._measurement = None if measurement is None else _as_tensors(measurement, network)
        self._measuring: SharpnessTracker | None = None

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The wrapped network's output."""
        return self.network(inputs, training=training)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure for training, as for any Keras model."""
        super().compile(*args, **kwargs)
        self._measuring = None
        self._evaluate = tf.function(self._loss_and_accuracy, jit_compile=bool(self.jit_compile))

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step, then the sharpness at the new weights if it is due.

        Args:
            data: A batch (x, y) or (x, y, sample_weight).

        Returns:
            Keras' logs, and `sharpness`.
        """
        logs = super().train_step(data)
        if self._measurement is not None and self.every > 0:
            logs["sharpness"] = self._track()
        return logs

    def sharpness(self, warm_start: bool = False) -> EigenResult:
        """Measure the sharpness at the present weights.

        Args:
            warm_start: Start from the last measurement; else from a sample of the examples, or the gradient where
                they are few (see `SharpnessTracker`).

        Returns:
            Eigenvalue, flat eigenvector, residual, error estimate, whether it converged, and the number of products;
            NaN where the weights give a loss that is not finite.

        Raises:
            ValueError: If the model is not compiled or has no measurement set.
            SecondDerivativeError: If the network's second derivatives are wrong in TensorFlow.
        """
        return self.measure(warm_start).sharpness.to_python()

    def measure(self, warm_start: bool = False) -> Measurement:
        """As `sharpness`, with loss and accuracy, and tensors as results."""
        self.tracker  # noqa: B018  # built outside the graph
        return self._measure(tf.constant(warm_start))

    def evaluate_measurement(self) -> tuple[Any, Any]:
        """Loss and accuracy on the measurement set at the present weights; callable inside a `tf.function`.

        Returns:
            Loss L and accuracy in [0, 1] (NaN where the outputs are not class scores), scalar tensors.

        Raises:
            ValueError: If the model has no measurement set.
        """
        return self._evaluate(*self._measurement_set())

    def loss_on_measurement(self) -> Any:
        """Loss on the measurement set at the present weights, as a tensor; callable inside a `tf.function`.

        Raises:
            ValueError: If the model has no measurement set.
        """
        return self._loss(*self._measurement_set())

    @property
    def tracker(self) -> SharpnessTracker:
        """What measures; built once for each `compile`, after a check of the network's second derivatives.

        Raises:
            ValueError: If the model is not compiled or has no measurement set.
            SecondDerivativeError: If the network's second derivatives are wrong in TensorFlow.
        """
        if self._measuring is None:
            self._measurement_set()
            if not self.compiled:
                raise ValueError(
                    "Call `compile(optimizer=..., loss=...)` before measuring: the sharpness is that of the loss."
                )
            self._measuring = _outside_graphs(self._build_tracker)
        return self._measuring

    def _measurement_set(self) -> tuple[Any, Any]:
        if self._measurement is None:
            raise ValueError("No measurement set: pass `measurement=(x, y)` to SharpnessModel.")
        return self._measurement

    def _build_tracker(self) -> SharpnessTracker:
        x, y = self._measurement_set()
        if not self.network.built:
            self.network(x[:1])
        variables = [v.value for v in self.network.trainable_variables]
        if self._verify:
            refuse_wrong_layers(self.network)
            self._verify_products(variables)
        jit = bool(self.jit_compile)
        tracker = SharpnessTracker(
            self._loss_and_accuracy, variables, x, y, self.solver, self._chunk_size, self._seed, jit
        )
        never = tf.constant(float("nan"), tracker.operator.dtype)
        self._measure = tf.function(lambda warm: tracker.measure(warm, never))
        self._last = tf.Variable(never, trainable=False)
        return tracker

    def _verify_products(self, variables: list[Any]) -> None:
        """Check products on a few examples; where kinks hide the answer, on fewer and others."""
        x, y = self._measurement_set()
        start, settled = 0, 0
        for count in _VERIFY_EXAMPLES:
            few = HessianOperator(self._loss, variables, x[start : start + count], y[start : start + count])
            try:
                if verify_products(few, variables, self._seed, layer_names(self.network)) <= AGREEMENT:
                    self._verify = False
                    return
            except SecondDerivativeError:
                # Many kinks together can look like a settled disagreement, but not on other and fewer examples, too.
                settled += 1
                if settled == _SETTLED:
                    raise
            start = start + count if start + 2 * count <= len(x) else 0
        logger.info("The check of second derivatives is inconclusive: kinks or noise at every step.")

    def _loss(self, x: Any, y: Any) -> Any:
        return self.compute_loss(x=x, y=y, y_pred=self.network(x, training=False), training=False)

    def _loss_and_accuracy(self, x: Any, y: Any) -> tuple[Any, Any]:
        outputs = self.network(x, training=False)
        loss = self.compute_loss(x=x, y=y, y_pred=outputs, training=False)
        return loss, _accuracy(y, outputs)

    def _track(self) -> Any:
        tracker = self.tracker

        def measured() -> Any:
            return self._last.assign(self._measure(tracker.has_measured).sharpness.eigenvalue)

        due = tf.equal(self.optimizer.iterations.value % self.every, 0)
        return tf.cond(due, measured, lambda: tf.identity(self._last))


def _outside_graphs(build: Callable[[], SharpnessTracker]) -> SharpnessTracker:
    """Call a function outside a graph that is being traced; gradient tapes work, as they do not in `tf.init_scope`."""
    if tf.executing_eagerly():
        return build()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


def _as_tensors(measurement: Any, network: keras.Model) -> tuple[Any, Any]:
    if not isinstance(measurement, tuple | list) or len(measurement) != 2:
        raise ValueError(f"`measurement` must be a pair (x, y). Received: {type(measurement).__name__}.")
    x, y = (tf.convert_to_tensor(part) for part in measurement)
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"`measurement` needs equally many inputs and targets, at least one. Received: {len(x)} and {len(y)}."
        )
    return tf.cast(x, network.compute_dtype) if x.dtype.is_floating or x.dtype == tf.uint8 else x, y


def _accuracy(y: Any, outputs: Any) -> Any:
    """Share of examples whose largest output is their class; NaN for outputs that are not class scores."""
    if len(outputs.shape) != 2 or outputs.shape[-1] < 2:
        return tf.constant(float("nan"))
    sparse = len(y.shape) == 1 or y.shape[-1] == 1
    classes = tf.cast(tf.reshape(y, [-1]), tf.int64) if sparse else tf.argmax(y, axis=-1)
    return tf.reduce_mean(tf.cast(tf.argmax(outputs, axis=-1) == classes, tf.float32))

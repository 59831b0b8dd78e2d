"""Checks that a network's second derivatives can be trusted.

TensorFlow computes the second derivative of some operations wrongly and silently: `tf.nn.moments` (used by Keras'
normalisation layers) stops a gradient that only first-order derivatives may drop, and the gradient of bilinear
resizing is treated as a constant. The Hessian stays symmetric, so only an independent computation shows it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from sharpness_phases.curvature.hessian import HessianOperator

logger = logging.getLogger(__name__)

CHECKED_EXAMPLES = (8, 4, 2, 2, 2)
"""Examples of each attempt at a check: few, so that few ReLU units switch between the two gradients, and then fewer and
others, where kinks hid the answer."""

SETTLED_ATTEMPTS = 2
"""Attempts whose differences settle on something else than the product that make an error. Many kinks together can look
like a settled disagreement, but not on other and fewer examples, too."""

AGREEMENT = 2e-3
"""Relative difference from central differences below which a product counts as right (float32 noise is ~2e-4)."""

_KNOWN_RIGHT = (
    keras.layers.InputLayer,
    keras.layers.Dense,
    keras.layers.Conv2D,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Add,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.Rescaling,
)
"""Kinds of layers whose second derivatives are right (with the activations relu, tanh, gelu, sigmoid and the like)."""

_STEPS = (1e-3, 3e-4, 1e-4, 3e-5)  # relative to the weights' size; below, rounding of float32 exceeds `AGREEMENT`

_SETTLED_STEPS = 3
"""Successive steps whose differences must agree with each other: by chance, kinks make two agree."""


class SecondDerivativeError(ValueError):
    """The network holds an operation whose second derivative TensorFlow computes wrongly."""


def suspicious_layers(network: keras.Model) -> list[str]:
    """Layers whose second derivatives are known to be wrong, each as "name (kind)".

    Args:
        network: Any Keras model.

    Returns:
        Descriptions of the layers, empty if there are none. A batch normalisation that is not trainable uses its
        moving statistics, whose derivatives are right, and is left out.
    """
    found = []
    for layer in network._flatten_layers(include_self=False):
        bilinear = getattr(layer, "interpolation", None) == "bilinear"
        if isinstance(layer, keras.layers.BatchNormalization):
            wrong = layer.trainable
        elif isinstance(layer, keras.layers.LayerNormalization | keras.layers.GroupNormalization):
            wrong = True
        else:
            wrong = bilinear and isinstance(layer, keras.layers.UpSampling2D | keras.layers.Resizing)
        if wrong:
            kind = type(layer).__name__ + (" with bilinear interpolation" if bilinear else "")
            found.append(f"{layer.name} ({kind})")
    return found


def refuse_wrong_layers(network: keras.Model) -> None:
    """Refuse a network with layers whose second derivatives are known to be wrong.

    Args:
        network: Any Keras model.

    Raises:
        SecondDerivativeError: If there is such a layer; the message names them all.
    """
    found = suspicious_layers(network)
    if found:
        raise SecondDerivativeError(
            "TensorFlow computes wrong second derivatives, without an error, for these layers: "
            f"{', '.join(found)}. Freeze batch normalisation (`layer.trainable = False`), write normalisation with "
            "`tf.math.reduce_variance` instead of `tf.nn.moments`, use nearest-neighbour upsampling, or pass "
            "`verify=False` to measure anyway."
        )


def layer_names(network: keras.Model) -> list[str]:
    """The layers that compute something twice differentiable, each as "name (kind)": the suspects where a check fails.

    Args:
        network: Any Keras model.

    Returns:
        Descriptions of all layers but those of kinds known to be right.
    """
    layers = network._flatten_layers(include_self=False)
    return [
        f"{layer.name} ({type(layer).__name__})"
        for layer in layers
        if not isinstance(layer, _KNOWN_RIGHT) and not layer._layers
    ]


def check_second_derivatives(
    network: keras.Model,
    variables: Sequence[tf.Variable],
    operator_on: Callable[[slice], HessianOperator],
    examples: int,
    seed: int = 0,
) -> bool:
    """Refuse a network whose second derivatives are wrong: by its layers, then by products on a few examples.

    Args:
        network: Any Keras model.
        variables: The variables that the operators differentiate; they are moved and put back exactly.
        operator_on: The Hessian on a slice of the examples.
        examples: Number of examples there are.
        seed: Fixes directions.

    Returns:
        Whether products were found right; False where kinks or noise hid the answer at every attempt.

    Raises:
        SecondDerivativeError: If a layer is known to be wrong, or products settle on a disagreement.
    """
    refuse_wrong_layers(network)
    start, settled = 0, 0
    for count in CHECKED_EXAMPLES:
        try:
            few = operator_on(slice(start, start + count))
            if verify_products(few, variables, seed, layer_names(network)) <= AGREEMENT:
                return True
        except SecondDerivativeError:
            settled += 1
            if settled == SETTLED_ATTEMPTS:
                raise
        start = start + count if start + 2 * count <= examples else 0
    logger.info("The check of second derivatives is inconclusive: kinks or noise at every step.")
    return False


def verify_products(
    operator: HessianOperator, variables: Sequence[tf.Variable], seed: int = 0, suspects: Sequence[str] = ()
) -> float:
    """Compare a Hessian-vector product along a random vector with central differences of the gradient.

    Differences are taken at decreasing steps: a ReLU network's gradient jumps where a unit switches, which spoils large
    steps and is not the product's fault. The product is right if one step agrees with it, and wrong if the
    differences settle on something else. A few examples suffice, and make switches rare.

    Args:
        operator: The Hessian on a few examples.
        variables: The variables that it differentiates; they are moved and put back exactly.
        seed: Fixes the direction.
        suspects: Names of the layers that may be at fault, for the message.

    Returns:
        The smallest relative difference found.

    Raises:
        SecondDerivativeError: If the differences settle on a value other than the product.
    """
    saved = [v.numpy() for v in variables]
    direction = _random_direction(saved, seed)
    product = operator.linearize().matvec(operator.flatten(direction)).numpy().astype(np.float64)
    best, earlier = np.inf, list[np.ndarray]()
    try:
        for step in _STEPS:
            now = _difference(operator, variables, saved, direction, step)
            error = _relative(now, product)
            if not np.isfinite(error):
                return float("nan")
            best = min(best, error)
            if best <= AGREEMENT:
                return best
            earlier = [*earlier, now][-_SETTLED_STEPS:]
            if _has_settled(earlier, error):
                raise SecondDerivativeError(
                    f"Hessian-vector products disagree with central differences of the gradient by {error:.1%}: some "
                    f"layer's second derivative is wrong in TensorFlow. Suspects: {', '.join(suspects) or 'unknown'}. "
                    "`verify=False` measures anyway."
                )
    finally:
        for variable, weight in zip(variables, saved, strict=True):
            variable.assign(weight)
    return best


def _random_direction(weights: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """A random direction, in every variable as large as its weights are."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(np.mean(np.concatenate([w.ravel() for w in weights]) ** 2)) or 1.0
    return [rng.standard_normal(w.shape).astype(w.dtype) * (_rms(w) or scale) for w in weights]


def _difference(
    operator: HessianOperator,
    variables: Sequence[tf.Variable],
    weights: Sequence[np.ndarray],
    direction: Sequence[np.ndarray],
    step: float,
) -> np.ndarray:
    """(g(w + h d) - g(w - h d)) / 2h for the step h, float64, shape (n,)."""
    gradients = []
    for sign in (1, -1):
        for variable, weight, d in zip(variables, weights, direction, strict=True):
            variable.assign(weight + np.asarray(sign * step, weight.dtype) * d)
        gradients.append(operator.linearize().gradient.numpy().astype(np.float64))
    return (gradients[0] - gradients[1]) / (2 * step)


def _has_settled(differences: Sequence[np.ndarray], error: float) -> bool:
    """Whether the last differences agree with each other four times better than with the product."""
    *before, now = differences
    return len(differences) == _SETTLED_STEPS and all(_relative(now, other) <= error / 4 for other in before)


def _rms(array: np.ndarray) -> np.floating:
    return np.sqrt(np.mean(np.square(array)))


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    return 0.0 if size == 0 else float(np.linalg.norm(a - b)) / size

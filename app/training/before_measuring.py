"""What is looked at before a network is measured for the first time."""

from __future__ import annotations

import keras
import tensorflow as tf

from sharpness_phases.curvature.examples import Nested, count_of, take
from sharpness_phases.curvature.gradient_differences import Products
from sharpness_phases.training.data_faults import require_loss
from sharpness_phases.training.noise import require_no_noise
from sharpness_phases.training.objective import Objective
from sharpness_phases.training.own_methods import has_own_loss, has_own_step
from sharpness_phases.training.precision import require_digits
from sharpness_phases.training.right_derivatives import BatchNorm
from sharpness_phases.training.second_derivatives import CHECKED_EXAMPLES, check_second_derivatives


def require_outputs(network: keras.Model) -> None:
    """Refuse a network that only its own training step can compute.

    Args:
        network: Any Keras model, perhaps not built.

    Raises:
        ValueError: If it has no `call`.
    """
    if type(network).call is keras.Model.call:
        raise ValueError(
            f"{type(network).__name__} has no `call`, so that there are no outputs to compute a loss of. Let "
            "`call(inputs)` return what the loss needs and compute it in `compute_loss(x, y, y_pred, sample_weight, "
            "training)`; or measure the part of it that is trained, as a model of its own."
        )


def require_a_loss(network: keras.Model, wrapper: keras.Model, x: Nested) -> None:
    """Refuse a network of which nothing says what its loss is.

    Args:
        network: A Keras model that is built.
        wrapper: The compiled model that computes the loss: by its own, or without one as the network does.
        x: Inputs, shape (B, ...), on which the network is called if only its layers could add a loss.

    Raises:
        ValueError: If neither is compiled with a loss or computes one in `compute_loss`, and no layer adds one.
    """
    if wrapper.loss is not None or network.losses or computes_its_loss(network):
        return
    network(x)  # one that was loaded has not been called, and its layers have added nothing yet
    if network.losses:
        return
    kind = type(network).__name__
    if has_own_step(network):
        raise ValueError(
            f"Nothing says which loss to measure: {kind} computes its own inside of `train_step`, where it cannot be "
            "found. Compute it in `compute_loss(x, y, y_pred, sample_weight, training)` and call that in `train_step`, "
            "or give `loss=` to `compile`."
        )
    raise ValueError(f"Nothing says which loss to measure: {kind} has none. Give `loss=` to `compile`.")


def computes_its_loss(network: keras.Model) -> bool:
    """Whether a network is compiled with a loss, or has a `compute_loss` of its own."""
    compiled = network.compiled and network.loss is not None
    return bool(compiled or has_own_loss(network))


def require_measurable(
    network: keras.Model, objective: Objective, x: Nested, y: Nested, chunk_size: int | None = None
) -> None:
    """Refuse what has no loss with a `ValueError` that says which it is.

    That is weights of too few digits, attention that this backend cannot compute, and examples without a loss.

    Args:
        network: A Keras model that is built.
        objective: Its loss.
        x: Inputs, shape (B, ...), one tensor or nested ones.
        y: Targets, likewise, perhaps with weights.
        chunk_size: Number of examples that are looked at at once; None for all.
    """
    require_digits(network)
    _require_own_attention(network)
    require_loss(objective.loss, objective.outputs, x, y, chunk_size or count_of((x, y)))


def verified(
    network: keras.Model,
    objective: Objective,
    x: Nested,
    y: Nested,
    batch_norm: BatchNorm,
    products: Products = "exact",
) -> bool:
    """Refuse a network that draws random numbers in inference, or whose second derivatives are needed and wrong.

    The first is a `ValueError`, the second a `SecondDerivativeError`, which is one, too.

    Args:
        network: A Keras model that is built.
        objective: Its loss.
        x: Inputs, shape (B, ...), one tensor or nested ones, of which a few are taken.
        y: Targets, likewise, perhaps with weights.
        batch_norm: Which statistics batch normalisation uses.
        products: How products with the Hessian are made: differences need no second derivatives.

    Returns:
        Whether all was found right; False where noise of rounding hid the answer.
    """
    x, y = few_examples(network, objective, x, y)
    require_no_noise(network, lambda: objective.outputs(x))
    return products == "differences" or check_second_derivatives(network, objective, x, y, batch_norm)


def few_examples(network: keras.Model, objective: Objective, x: Nested, y: Nested) -> tuple[Nested, Nested]:
    """The first few examples; or all, where the network or its loss takes none but that number.

    Args:
        network: A Keras model that is built.
        objective: Its loss.
        x: Inputs, shape (B, ...), one tensor or nested ones.
        y: Targets, likewise, perhaps with weights.

    Returns:
        The inputs and targets of `CHECKED_EXAMPLES`, or those given.
    """
    few = take(x, slice(CHECKED_EXAMPLES)), take(y, slice(CHECKED_EXAMPLES))
    if any(each.shape[0] is not None for each in getattr(network, "inputs", None) or []):
        return x, y
    try:
        objective.loss(*few)
    except (ValueError, tf.errors.InvalidArgumentError):  # such as a loss that tells apart as many as there are
        return x, y
    return few


def _require_own_attention(network: keras.Model) -> None:
    """Refuse attention that asks for a kernel which Keras has not for TensorFlow: it would raise, and not say where.

    `keras.config.enable_flash_attention` leaves the choice to the backend, which takes none; only a layer's own
    `flash_attention=True` insists.

    Raises:
        ValueError: If a layer does.
    """
    asking = [layer.name for layer in network._flatten_layers() if getattr(layer, "_flash_attention", None) is True]
    if asking:
        raise ValueError(
            "Flash attention does not exist in Keras on TensorFlow, neither for training nor for measuring. Received: "
            f"flash_attention=True of {', '.join(map(repr, asking))}. Leave it out: attention is then computed "
            "exactly, and can be differentiated twice."
        )

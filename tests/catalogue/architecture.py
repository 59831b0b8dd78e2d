"""What an entry of the catalogue is, and the examples that entries are measured on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

own = keras.saving.register_keras_serializable("catalogue")
"""Makes a layer or a model of the catalogue one that is saved by name."""

EXAMPLES = 6
"""Of each problem: few, since curvature at given weights is asked for, not what is learnt."""


class Problem(NamedTuple):
    """A network with what it is trained on.

    Attributes:
        network: Any Keras model, not compiled.
        x: Inputs, one array (B, ...) or nested ones.
        y: Targets, likewise; None where the loss needs none.
        loss: As `keras.Model.compile` takes it; None where the network computes its own.
        loss_weights: Likewise.
    """

    network: keras.Model
    x: object
    y: object
    loss: object = None
    loss_weights: object = None


class Architecture(NamedTuple):
    """An architecture as people write it.

    Attributes:
        name: Of the builder.
        domain: Of the file.
        build: Makes the problem, with Keras' dtype and on Keras' backend, whichever these are.
        refused: Words that must be in the refusal; None for what must be measured.
        in_double: Whether TensorFlow can compute it in float64; what it cannot has JAX as its only oracle.
    """

    name: str
    domain: str
    build: Callable[[], Problem]
    refused: str | None = None
    in_double: bool = True


ARCHITECTURES: dict[str, Architecture] = {}
"""All that were declared in files imported so far, by name."""


def architecture(
    refused: str | None = None, in_double: bool = True
) -> Callable[[Callable[[], Problem]], Callable[[], Problem]]:
    """Declare a function that builds a problem to be an entry of the catalogue."""

    def declare(build: Callable[[], Problem]) -> Callable[[], Problem]:
        domain = build.__module__.rpartition(".")[2]
        assert build.__name__ not in ARCHITECTURES
        ARCHITECTURES[build.__name__] = Architecture(build.__name__, domain, build, refused, in_double)
        return build

    return declare


def built(name: str) -> Problem:
    """The problem of an entry, at first weights with noise on them: no bias is zero, and no unit at its kink."""
    keras.utils.set_random_seed(0)
    problem = ARCHITECTURES[name].build()
    if not problem.network.built or not problem.network.weights:
        problem.network(keras.tree.map_structure(lambda array: array[:2], problem.x))
    rng = np.random.default_rng(7)
    for weight in problem.network.trainable_variables:
        value = keras.ops.convert_to_numpy(weight.value)
        noise = 0.1 * (np.sqrt(np.mean(value**2)) or 0.5) * rng.standard_normal(value.shape)
        weight.assign((value + noise).astype(value.dtype))
    return problem


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def images(side: int, channels: int = 3, examples: int = EXAMPLES) -> np.ndarray:
    """Images (B, side, side, channels) of pixels around 0."""
    return numbers(examples, side, side, channels)


def labels(classes: int, *shape: int, examples: int = EXAMPLES, seed: int = 1) -> np.ndarray:
    """Class numbers (B, ...), or tokens."""
    return np.random.default_rng(seed).integers(classes, size=(examples, *shape)).astype("int32")


def one_hot(classes: int, *shape: int) -> np.ndarray:
    """One-hot targets (B, ..., classes)."""
    return np.eye(classes, dtype="float32")[labels(classes, *shape)]


def logits_loss() -> keras.losses.Loss:
    """Cross-entropy of class numbers with logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def binary_loss() -> keras.losses.Loss:
    """Cross-entropy of zeros and ones with one logit."""
    return keras.losses.BinaryCrossentropy(from_logits=True)

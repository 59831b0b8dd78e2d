"""Examples in one array or in several: nested lists, tuples and dicts of arrays that share their first axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

Nested: TypeAlias = "np.ndarray | tf.Tensor | Mapping[str, Nested] | list[Nested] | tuple[Nested, ...] | None"
"""An array (B, ...), or lists, tuples and dicts of arrays of equal length; None for one that is not there."""

_Structure = TypeVar("_Structure", bound="Nested")


def map_arrays(function: Callable[..., tf.Tensor], nested: _Structure, *others: Nested) -> _Structure:
    """Apply a function to every array.

    Args:
        function: Takes one array of each structure.
        nested: Arrays; None stays None.
        others: Arrays in the same structure.

    Returns:
        The results, in the same structure.
    """
    return tf.nest.map_structure(lambda *leaves: None if leaves[0] is None else function(*leaves), nested, *others)


def arrays_of(nested: Nested) -> list[tf.Tensor]:
    """The arrays, without their structure."""
    return [leaf for leaf in tf.nest.flatten(nested) if leaf is not None]


def count_of(nested: Nested) -> int:
    """The number B of examples."""
    return int(arrays_of(nested)[0].shape[0])


def take(nested: _Structure, part: slice) -> _Structure:
    """Some of the examples.

    Args:
        nested: Arrays (B, ...).
        part: Which of the B.

    Returns:
        Their part, in the same structure.
    """
    return map_arrays(lambda array: array[part], nested)


def as_nested_tensors(nested: Nested) -> Nested:
    """Arrays as tensors; a list of plain numbers is one array, as NumPy takes it."""
    if isinstance(nested, list | tuple) and not any(hasattr(leaf, "shape") for leaf in arrays_of(nested)):
        return tf.convert_to_tensor(nested) if arrays_of(nested) else nested
    return map_arrays(tf.convert_to_tensor, nested)

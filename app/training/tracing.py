"""Compiled functions whose traces are meant: one for each model, set of examples or batch that is asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

Setting: TypeAlias = Any
"""An argument of `tf.function`."""


def traced(function: Callable[..., object], **settings: Setting) -> tf.types.experimental.PolymorphicFunction:
    """`tf.function`, without the warning that functions of one kind are traced often.

    TensorFlow counts the traces of all functions made at one place in the code, and calls five in a row a mistake. Here
    every model has functions of its own, each traced once (`traces` of `SharpnessModel` and `TrajectoryRunner`).

    AutoGraph converts nothing, as in Keras' own training step: conditions on tensors are written as such here. It took
    four fifths of the time until a small network's first sharpness, and wraps users' errors.

    Args:
        function: Any that `tf.function` takes.
        **settings: Of `tf.function`.

    Returns:
        The compiled function.
    """
    made = tf.function(function, autograph=False, **settings)
    made._omit_frequent_tracing_warning = True
    return made

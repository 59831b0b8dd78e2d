"""The state of a model in training, kept and put back to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf
from keras.src.backend.common import global_state


class SavedState:
    """Values of variables, to be put back to the last bit.

    Args:
        variables: Keras' or TensorFlow's.
    """

    def __init__(self, variables: Sequence[keras.Variable | tf.Variable]) -> None:
        self._saved = [(variable, tf.identity(variable)) for variable in map(raw, variables)]

    def put_back(self) -> None:
        """Assign the values of then."""
        for variable, value in self._saved:
            variable.assign(value)


def raw(variable: keras.Variable | tf.Variable) -> tf.Variable:
    """TensorFlow's variable of one of Keras' or its own."""
    return variable.value if isinstance(variable, keras.Variable) else variable


@contextmanager
def state_put_back(model: keras.Model) -> Iterator[None]:
    """Put back what training changes, at the end and after any exception.

    That is weights, moving statistics, random seeds (Keras' global one, too), metrics, and all variables of the
    optimizer with its step count. Random numbers drawn by `tf.random` without Keras' seed generators have no state that
    could be put back.

    Args:
        model: A compiled Keras model.

    Yields:
        Nothing.
    """
    variables = [*model.variables, *model.metrics_variables, *optimizer_variables(model.optimizer)]
    saved = SavedState([*variables, *shared_seeds()])
    try:
        yield
    finally:
        saved.put_back()


def shared_seeds() -> list[keras.Variable]:
    """The state of the generator that Keras draws from where no seed is given; none if it was never used."""
    shared = global_state.get_global_attribute("global_seed_generator")
    return [] if shared is None else [shared.state]


def optimizer_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable | tf.Variable]:
    """All variables of an optimizer, also those it keeps in attributes, lists and dicts without having added them.

    Args:
        optimizer: Any; those inside it count, as in a `LossScaleOptimizer`.

    Returns:
        Each once.
    """
    found = list(optimizer.variables)
    skipped = {id(variable) for variable in _trained(optimizer)}
    for attribute in vars(optimizer).values():
        for leaf in keras.tree.flatten(attribute) if isinstance(attribute, list | tuple | dict) else [attribute]:
            if isinstance(leaf, keras.optimizers.Optimizer):
                found += optimizer_variables(leaf)
            elif isinstance(leaf, keras.Variable | tf.Variable) and id(leaf) not in skipped:
                found.append(leaf)
    return list({id(variable): variable for variable in found}.values())


def _trained(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The weights that it trains, to which it keeps references."""
    return list(getattr(optimizer, "_trainable_variables", []))

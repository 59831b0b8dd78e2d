"""An iteration as an object: how it begins, one step, when it is done, and its result."""

from __future__ import annotations

from typing import Protocol, TypeVar

import tensorflow as tf

from sharpness_phases.curvature.operator import EigenResult, Scalar, Vector

State = TypeVar("State")


class Iteration(Protocol[State]):
    """An iterative solver; its state is a named tuple of tensors, so that it can be the variable of a compiled loop."""

    def init(self, start: Vector) -> State:
        """The state before the first step, from a start vector of shape (n,), not zero."""
        ...

    def step(self, state: State) -> State:
        """The state after one more product."""
        ...

    def done(self, state: State) -> Scalar:
        """Whether to stop, a boolean."""
        ...

    def result(self, state: State) -> EigenResult:
        """The eigenvalue and the evidence for it."""
        ...


def iterate(iteration: Iteration[State], start: Vector, limit: int) -> State:
    """Iterate until the iteration is done; callable inside a `tf.function`.

    Args:
        iteration: What to iterate.
        start: Start vector, shape (n,).
        limit: Largest number of steps.

    Returns:
        The last state.
    """
    (state,) = tf.while_loop(
        lambda state: tf.logical_not(iteration.done(state)),
        lambda state: (iteration.step(state),),
        (iteration.init(start),),
        maximum_iterations=limit,
        parallel_iterations=1,
    )
    return state

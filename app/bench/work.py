"""Counted work and its cost: floating-point operations, seconds, memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import psutil

Result = TypeVar("Result")

_GRADIENT = 3
"""Forward passes that a gradient costs, the forward pass included.

A weight layer's backward pass is two matrix products of the forward one's size: for the gradient of its input and of
its weights. Counted, not measured."""

_SAMPLING = 0.02
"""Seconds between two looks at the process' memory.

Chosen, not measured: longer, and a peak between two looks is missed; shorter, and looking takes time from what
is timed."""


class Work(NamedTuple):
    """What was computed, counted.

    Attributes:
        steps: Gradients on a batch, one for each optimizer step that does not share it with other runs.
        evaluated: Examples whose loss was evaluated beside the steps.
        gradients: Gradients on the measurement set, one for each measured sharpness; on a sample by their share.
        products: Hessian-vector products on the measurement set.
    """

    steps: int = 0
    evaluated: int = 0
    gradients: float = 0.0
    products: int = 0


class Prices(NamedTuple):
    """Floating-point operations of the parts of the work.

    Attributes:
        forward: Of the output for one example.
        product: Of a Hessian-vector product for one example, at a gradient that is there.
        batch_size: Examples in a step.
        examples: Examples in the measurement set.
    """

    forward: float
    product: float
    batch_size: int
    examples: int

    def flops(self, work: Work) -> float:
        """Floating-point operations of counted work."""
        steps = work.steps * _GRADIENT * self.batch_size + work.evaluated
        gradients = work.gradients * _GRADIENT * self.examples
        return self.forward * (steps + gradients) + self.product * work.products * self.examples


@dataclass(frozen=True)
class Cost:
    """What a piece of work cost.

    Attributes:
        seconds: Wall-clock time.
        memory: Largest resident memory of the process meanwhile, in bytes.
    """

    seconds: float
    memory: int


def timed(function: Callable[[], Result]) -> tuple[Result, Cost]:
    """Call a function; watch the clock and the process' memory.

    Args:
        function: What to call.

    Returns:
        Its result and its cost.
    """
    process, done = psutil.Process(), threading.Event()
    peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(_SAMPLING):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        result = function()
        seconds = time.perf_counter() - start
    finally:
        done.set()
        watcher.join()
    return result, Cost(seconds, max(peak, process.memory_info().rss))

"""When a callback measures: after every k-th step or epoch of `fit`."""

from __future__ import annotations

from typing import TypeAlias

UNITS = ("epochs", "steps")

Logs: TypeAlias = dict[str, float]
"""What Keras hands to callbacks, and keeps in the history of `fit`: values by name."""


class Schedule:
    """After which steps or epochs a measurement is due.

    Args:
        every: Measure after every k-th unit.
        unit: "steps" or "epochs".

    Raises:
        ValueError: If `every` is no integer of at least 1, or `unit` is unknown.
    """

    def __init__(self, every: int, unit: str) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"`every` must be an integer of at least 1. Received: {every!r}.")
        if unit not in UNITS:
            raise ValueError(f"`unit` must be one of {', '.join(map(repr, UNITS))}. Received: {unit!r}.")
        self._every, self._unit = every, unit

    def is_due_after_steps(self, steps: int, last: int) -> bool:
        """Whether a multiple of `every` lies in the steps since the last measurement.

        Args:
            steps: Optimizer steps taken so far. With `steps_per_execution`, several lie between two calls.
            last: Steps taken before the last measurement.

        Returns:
            Whether to measure.
        """
        return self._unit == "steps" and steps // self._every > last // self._every

    def is_due_after_epoch(self, epoch: int) -> bool:
        """Whether to measure after this epoch, of which the first is 0."""
        return self._unit == "epochs" and (epoch + 1) % self._every == 0

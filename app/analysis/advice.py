"""From c_loss and c_max of one network to a learning rate to train it with."""

from __future__ import annotations

from dataclasses import dataclass

GRID = tuple(2.0 ** (x / 10) for x in range(-40, 81))
"""The c that may be tried: 2^x in steps of 0.1, from 1/16 to 256."""

CLASSICAL = 2.0
"""c at which gradient descent on a quadratic loss turns unstable: eta = 2 / lambda_0."""

_NOISE = "A rise below c = 2 mostly comes from the noise of small batches, or of dropout: larger batches allow more."


@dataclass(frozen=True)
class LearningRateAdvice:
    """A learning rate eta = c / lambda_0, and what it rests on; printed, it tells both.

    Attributes:
        learning_rate: The suggestion.
        reason: Why, in words.
        lambda_0: Sharpness of the loss at the present weights.
        c_loss: Smallest c = eta lambda_0 tried at which the loss rises above its first value; None if there is none.
        c_max: Largest c tried below the first one at which training diverges; None if none diverges.
        steps: Optimizer steps of a run.
        batch_size: Examples in a batch.
        runs: Number of short runs that c_loss and c_max took.
        caution: What does not carry over to the compiled optimizer; "" for plain SGD.
    """

    learning_rate: float
    reason: str
    lambda_0: float
    c_loss: float | None
    c_max: float | None
    steps: int
    batch_size: int
    runs: int
    caution: str = ""

    @property
    def c(self) -> float:
        """The suggestion as a learning-rate constant, eta lambda_0."""
        return self.learning_rate * self.lambda_0

    @property
    def stability_limit(self) -> float:
        """2 / lambda_0, beyond which gradient descent on a quadratic loss is unstable."""
        return CLASSICAL / self.lambda_0

    def __str__(self) -> str:
        """The advice as a short text."""

        def row(meaning: str, c: float | None) -> str:
            found = "no such rate" if c is None else f"{c / self.lambda_0:<10.3g} c = {c:.3g}"
            return f"  {meaning:<42} {found}"

        rows = [
            f"Suggested learning rate: {self.learning_rate:.3g} (c = {self.c:.3g})",
            row("limit of a quadratic loss, 2 / lambda_0:", CLASSICAL),
            row("the loss rises at first from (c_loss):", self.c_loss),
            row("training does not diverge up to (c_max):", self.c_max),
            f"  from the sharpness lambda_0 = {self.lambda_0:.4g} and {self.runs} runs of plain SGD, "
            f"{self.steps} steps each, batch size {self.batch_size}",
            self.reason,
        ]
        return "\n".join([*rows, self.caution] if self.caution else rows)


def suggestion(c_loss: float | None, c_max: float | None, steps: int) -> tuple[float, str]:
    """The rule: the largest c of `GRID` below c_loss, but at most half of c_max.

    c_max differs from one batch order to the next, so that training may diverge just below it, too. That half of it is
    far enough away was chosen, not measured.

    Args:
        c_loss: Smallest c of `GRID` at which the loss rises; None if there is none.
        c_max: Largest c of `GRID` below the first that diverges; None if none does.
        steps: Steps of a run, for the words.

    Returns:
        The suggested c and the reason in words.
    """
    half = (GRID[-1] if c_max is None else c_max) / 2
    index = len(GRID) if c_loss is None else GRID.index(c_loss)
    c = GRID[max(index - 1, 0)]
    if c > half:
        limit = "the largest c tried" if c_max is None else "c_max, beyond which training diverges"
        return half, f"Half of {limit}: how near one may go differs from one batch order to the next."
    if index == 0:
        return c, (
            f"The smallest rate tried; the loss rises within {steps} steps even there: the weights may be near a "
            "minimum, or the batches too small."
        )
    why = f"Just below c_loss: the largest rate at which the loss stays below its start, for {steps} steps."
    return c, why if c >= CLASSICAL else f"{why} {_NOISE}"

"""Asking runs along a grid, and remembering what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sharpness_phases.runs.questions import Criteria, Question
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.sweep.edge_search import Answer


class Oracle(Protocol):
    """Answers questions about the runs along a grid, as `Dialogue` does."""

    def known(self, index: int, question: Question) -> Answer | None:
        """The answer at a grid index, if it costs nothing; else None."""
        ...

    def ask(self, index: int, question: Question) -> Answer:
        """The answer at a grid index, by a training run if need be."""
        ...

    @property
    def count(self) -> int:
        """How many runs it took so far."""
        ...


class Unanswered(Exception):
    """The run for a question ended without an answer to it.

    Attributes:
        index: Its grid index.
        question: What was asked.
    """

    def __init__(self, index: int, question: Question) -> None:
        super().__init__(f"{question} at index {index}")
        self.index, self.question = index, question


class Dialogue:
    """Asks runs along a grid, and remembers them: one run may answer several questions.

    Args:
        run_at: Carries out, or finds, the run at a grid index for a question.
        criteria: What counts as rising.

    Attributes:
        runs: Grid index to the runs there so far.
    """

    def __init__(self, run_at: Callable[[int, Question], Trajectory], criteria: Criteria) -> None:
        self._run_at, self._criteria = run_at, criteria
        self.runs: dict[int, list[Trajectory]] = {}

    @property
    def count(self) -> int:
        """How many runs there are so far."""
        return sum(map(len, self.runs.values()))

    def known(self, index: int, question: Question) -> Answer | None:
        """The answer at a grid index that the runs so far give.

        Args:
            index: Where.
            question: What is asked.

        Returns:
            The answer of the first run there that has one; None if none has.
        """
        for run in self.runs.get(index, ()):
            if (holds := self._criteria.answer(question, run)) is not None:
                return Answer(holds, self._criteria.closeness(question, run), self._criteria.excess(question, run))
        return None

    def ask(self, index: int, question: Question) -> Answer:
        """The answer at a grid index, from a run so far or from a new one.

        Args:
            index: Where.
            question: What is asked.

        Returns:
            The answer.

        Raises:
            Unanswered: If the new run does not give it, either.
        """
        if (answer := self.known(index, question)) is not None:
            return answer
        self.runs.setdefault(index, []).append(self._run_at(index, question))
        if (answer := self.known(index, question)) is None:
            raise Unanswered(index, question)
        return answer

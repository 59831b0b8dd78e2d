"""The work that is missing of an experiment, found out once before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.custom_code import names_custom_code
from sharpness_phases.runs.identity import identities
from sharpness_phases.runs.spec import Cell, Purpose, RunSpec
from sharpness_phases.store.runs import RunStore
from sharpness_phases.training.startup import import_tensorflow


@dataclass(frozen=True)
class MissingWork:
    """What is to be done.

    Attributes:
        config: The experiment.
        cells: The cells that are asked for; what they lack in detail is found out when it is their turn.
        not_begun: Those of them that have not even the first runs that each kind of search makes.
    """

    config: ExperimentConfig
    cells: Sequence[Cell]
    not_begun: Sequence[Cell]

    def seconds_if_long(self) -> float | None:
        """Tell whether it will take long; nothing is imported if nothing is missing.

        Returns:
            Seconds on this machine, if they are more than an hour; else None, as for tasks of a cluster and for code of
            the user's, which may do what cannot be counted.
        """
        config = self.config
        own = config.model.is_custom or names_custom_code(config.loss) or config.optimizer.is_custom
        if not self.not_begun or own or config.executor.kind != "serial":
            return None
        import_tensorflow()
        from sharpness_phases.sweep.forecast import long_work

        return long_work(config, self.not_begun)


def missing_work(config: ExperimentConfig, cells: Sequence[Cell], store: RunStore | None) -> MissingWork:
    """Find out what is missing; no file is read for it.

    Args:
        config: The experiment.
        cells: The cells that are asked for.
        store: The runs there are; None for none.

    Returns:
        The work.
    """
    lowest = config.sweep.lr_exponents.exponents()[0]

    def first_runs(cell: Cell) -> Iterator[RunSpec]:
        yield RunSpec(cell)
        if config.sweep.search == "exhaustive":
            yield RunSpec(cell, Purpose.WHOLE, lowest)
        if config.analysis.saturation:
            yield RunSpec(cell, Purpose.SATURATION, lowest)

    def is_stored(spec: RunSpec) -> bool:
        return store is not None and any(name in store for name in identities(config, spec))

    if store is None or not len(store):
        return MissingWork(config, cells, cells)
    return MissingWork(config, cells, [cell for cell in cells if not all(map(is_stored, first_runs(cell)))])

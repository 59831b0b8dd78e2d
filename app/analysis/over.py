"""What the runs of an experiment along one more axis say (`sweep.over`): the tables of all its values, joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import pandas as pd

from sharpness_phases.analysis.final_loss import best_rates
from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.phases import Phase
from sharpness_phases.analysis.regime_terms import RegimeSettings
from sharpness_phases.analysis.tables import JsonObject
from sharpness_phases.config.over import Number, axis_over
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.axis import Axis
from sharpness_phases.runs.edge import Rate


class OverFindings(Findings):
    """The tables of `Findings` for every value on the axis, with a first column of the axis' name.

    Args:
        variants: What the runs say at each value, in the order of the axis; one at least.
        config: The experiment, with `sweep.over`.

    Attributes:
        key: The axis: a key of the config.
        variants: As given.
    """

    def __init__(self, variants: Mapping[Number, Findings], config: ExperimentConfig) -> None:
        axis = axis_over(config.sweep.over)
        if axis is None or not variants:
            raise ValueError("An experiment over an axis needs `sweep.over`, and a value on it with runs.")
        self.key, self.variants = axis.key, dict(variants)
        super().__init__(self._joined(lambda findings: findings.runs), config)

    @property
    def axis(self) -> Axis:
        """What c means: of the first value at which it is not eta lambda_0, if there is one."""
        axes = [findings.axis for findings in self.variants.values()]
        return next((axis for axis in axes if not axis.is_rate_times_sharpness), axes[0])

    @property
    def edge_constant(self) -> float:
        """The c at which training begins at its edge; NaN where that differs along the axis, or is not known."""
        constants = {findings.edge_constant for findings in self.variants.values()}
        return constants.pop() if len(constants) == 1 else float("nan")

    def summary_json(self) -> list[JsonObject]:
        """As of `Findings`, each entry with its value on the axis."""
        return [
            {self.key: value, **entry} for value, findings in self.variants.items() for entry in findings.summary_json()
        ]

    def final_loss(self) -> pd.DataFrame:
        """As of `Findings`, with the axis."""
        return self._joined(lambda findings: findings.final_loss())

    def best_rates(self) -> pd.DataFrame:
        """How well training does at the best c of each value, and how far c may go.

        Returns:
            A row per network and value, as `sharpness_phases.analysis.final_loss.best_rates` describes it; none where
            `shows_final_loss` is false.
        """
        table = self.final_loss()
        return best_rates(table if self.shows_final_loss else table[:0], self.key)

    @property
    def shows_final_loss(self) -> bool:
        """Whether final losses are told of along the axis: with a warm-up, and where the whole grid is trained on.

        An adaptive search ends most runs as soon as they have answered, so that few have a last step. With a warm-up,
        whose point it is, those are told.
        """
        of_warmup = "warmup" in self.key
        return of_warmup or self.config.sweep.search == "exhaustive"

    def edge(self, run_id: str) -> Rate:
        """The stability edge of one run, by the optimizer that it was trained by; a `KeyError` if there is none."""
        return self._with_run(run_id).edge(run_id)

    def phase(self, c: float, depth: int, width: int) -> Phase:
        """Not known without a value of the axis.

        Args:
            c: Learning-rate constant.
            depth: Depth of a network.
            width: Its width.

        Raises:
            ValueError: Always, naming where it is known.
        """
        raise ValueError(f"The phase depends on {self.key}: ask variants[value].phase(c, depth, width).")

    def regime_table(self, settings: RegimeSettings | None = None) -> pd.DataFrame:
        """As of `Findings`, with the axis.

        Args:
            settings: Thresholds; the defaults if None.

        Returns:
            A row per segment.
        """
        return self._joined(lambda findings: findings.regime_table(settings))

    def regime_agreement(self, settings: RegimeSettings | None = None) -> pd.DataFrame:
        """As of `Findings`, with the axis.

        Args:
            settings: Thresholds; the defaults if None.

        Returns:
            A row per value, depth, width and c.
        """
        return self._joined(lambda findings: findings.regime_agreement(settings))

    @cached_property
    def _trajectories(self) -> pd.DataFrame:
        return self._joined(lambda findings: findings.trajectories())

    @cached_property
    def _constants(self) -> pd.DataFrame:
        return self._joined(lambda findings: findings.critical_constants())

    @cached_property
    def _summary(self) -> pd.DataFrame:
        return self._joined(lambda findings: findings.summary)

    @cached_property
    def _saturated(self) -> pd.DataFrame:
        return self._joined(lambda findings: findings.saturation())

    @cached_property
    def _critical(self) -> pd.DataFrame:
        return self._joined(lambda findings: findings.critical())

    def _with_run(self, run_id: str) -> Findings:
        """The value's that has a run."""
        for findings in self.variants.values():
            if (findings.runs["run_id"] == run_id).any():
                return findings
        raise KeyError(f"No run {run_id!r} in this experiment.")

    def _joined(self, table_of: Callable[[Findings], pd.DataFrame]) -> pd.DataFrame:
        """The tables of all values, one below the other."""
        tables = [table_of(findings).assign(**{self.key: value}) for value, findings in self.variants.items()]
        joined = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
        return joined[[self.key, *(name for name in joined.columns if name != self.key)]]

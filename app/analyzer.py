"""What an experiment's stored runs say: constants, phases, regimes and pictures."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sharpness_phases.analysis.phases import Phase, boundary, classify
from sharpness_phases.analysis.regimes import RegimeSettings, Segment, agreement, regimes
from sharpness_phases.analysis.saturation import critical_table, saturated_sharpness
from sharpness_phases.analysis.tables import constants_table, merge_runs, split_runs, summary_table, violations
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import UserError
from sharpness_phases.runs.identity import belonging
from sharpness_phases.runs.spec import criteria
from sharpness_phases.runs.trajectory import Trajectory
from sharpness_phases.store.folder import RUNS_FOLDER, stored_config
from sharpness_phases.store.runs import RunStore
from sharpness_phases.views.diagram import Over, PhaseDiagram
from sharpness_phases.views.regimes import LabelledRun, RegimeFigure
from sharpness_phases.views.saturation import SaturationDiagram, SaturationFigure
from sharpness_phases.views.trajectories import TrajectoryFigure


class PhaseAnalyzer:
    """Labels the phases and regimes of an experiment; reads stored runs and computes nothing anew.

    Args:
        runs: All runs of the experiment, a row per step, with the columns of `sharpness_phases.store.runs.SCHEMA`.
        config: The experiment.

    Example:
        >>> analyzer = PhaseAnalyzer.load("outputs/quickstart")
        >>> analyzer.phase(c=3.0, depth=4, width=64)
        <Phase.SHARPNESS_REDUCTION: 'sharpness reduction'>
    """

    def __init__(self, runs: pd.DataFrame, config: ExperimentConfig) -> None:
        self.config = config
        self.runs = runs
        self._labelled: dict[RegimeSettings | None, list[tuple[dict[str, Any], list[Segment]]]] = {}

    @classmethod
    def load(cls, folder: str | Path) -> PhaseAnalyzer:
        """Read a folder that `phases run` has written.

        Args:
            folder: Such as outputs/quickstart.

        Returns:
            The analyzer of its config's runs; runs of other configs in the same folder are left out.

        Raises:
            UserError: If the folder holds no experiment, or none of its runs.
        """
        return cls.from_store(RunStore(Path(folder) / RUNS_FOLDER), stored_config(folder))

    @classmethod
    def from_store(cls, store: RunStore, config: ExperimentConfig) -> PhaseAnalyzer:
        """Read a config's runs from a store.

        Args:
            store: Where the runs are.
            config: The experiment.

        Returns:
            The analyzer.

        Raises:
            UserError: If the store holds none of the config's runs.
        """
        runs = store.table()
        mine = belonging(config, runs)
        if mine.empty:
            others = runs["run_id"].nunique()
            stored = (
                f" ({others} are stored: of other settings, another version of phases, or other code)" if others else ""
            )
            raise UserError(f"{store.folder}: no finished runs of this config{stored}; start them with `phases run`")
        return cls(mine, config)

    def critical_constants(self) -> pd.DataFrame:
        """Critical constants of every initialisation whose search is complete.

        Returns:
            A tidy table: model, dataset, loss, depth, width, seed, lambda_0, loss_0, the constants and, for each, a
            `*_censored` column ("", "low" or "high").
        """
        return self._constants.copy()

    @property
    def summary(self) -> pd.DataFrame:
        """A row per (depth, width, constant): mean, median, q25, q75, n, n_low, n_high, n_censored."""
        return self._summary.copy()

    def violations(self) -> pd.DataFrame:
        """The initialisations whose constants are not in the usual order c_loss <= c_sharp <= c_barrier <= c_max."""
        return violations(self._constants)

    @property
    def constants_are_known(self) -> bool:
        """Whether some constant of some network is known, not only censored."""
        return bool((self._summary["n"] > 0).any())

    @property
    def saturation_is_known(self) -> bool:
        """Whether the saturated sharpness was measured at enough c to give c_crit of some network."""
        return not self._critical.empty

    def saturation(self) -> pd.DataFrame:
        """The saturated sharpness: a row per (depth, width, seed, c) with tau and ratio = lambda_tau / lambda_0."""
        return self._saturated.copy()

    def trajectories(self) -> pd.DataFrame:
        """One trajectory for each initialisation and c, a row per step."""
        return self._trajectories.copy()

    def regimes(self, run_id: str, settings: RegimeSettings | None = None) -> list[Segment]:
        """Regimes of one run.

        Args:
            run_id: Name of the run, as in the column of the runs' table.
            settings: Thresholds; the defaults if None.

        Returns:
            Contiguous segments (regime, start, stop) that cover all its steps.

        Raises:
            KeyError: If there is no such run.
            ValueError: If the run has no sharpness.
        """
        return regimes(*self._run(run_id), settings)

    def regime_figure(
        self, *run_ids: str, settings: RegimeSettings | None = None, seed: int | None = None
    ) -> RegimeFigure:
        """The sharpness and the loss of runs, with their regimes shaded.

        Args:
            run_ids: Names of runs; by default the long runs of the first network's first initialisation.
            settings: Thresholds; the defaults if None.
            seed: The initialisation, where no runs are named; the first one if None.

        Returns:
            A picture that can be drawn or saved.

        Raises:
            KeyError: If there is no such run.
            ValueError: If a run has no sharpness, or none is named and there are no long runs.
        """
        table = self.regime_table(settings)
        if seed is not None:
            table = table[table["seed"] == seed]
        if not run_ids and not table.empty:
            first = (table[["depth", "width", "seed"]] == table[["depth", "width", "seed"]].iloc[0]).all(axis=1)
            run_ids = tuple(dict.fromkeys(table[first]["run_id"]))
        shown = []
        for name in run_ids:
            trajectory, learning_rate = self._run(name)
            c = float(self.runs.loc[self.runs["run_id"] == name, "c"].iloc[0])
            labels = regimes(trajectory, learning_rate, settings)
            shown.append(LabelledRun(f"c = {c:.3g}", trajectory, learning_rate, labels))
        return RegimeFigure(shown, self.title)

    def regime_table(self, settings: RegimeSettings | None = None) -> pd.DataFrame:
        """Regimes of all long runs: those that go on beyond the early transient, with a sharpness.

        Args:
            settings: Thresholds; the defaults if None.

        Returns:
            A row per segment: depth, width, seed, c, run_id, regime, and the steps start <= t < stop.
        """
        rows = [
            labels | {"regime": segment.regime.value, "start": segment.start, "stop": segment.stop}
            for labels, segments in self._long_runs(settings)
            for segment in segments
        ]
        return pd.DataFrame(rows, columns=["depth", "width", "seed", "c", "run_id", "regime", "start", "stop"])

    def regime_agreement(self, settings: RegimeSettings | None = None) -> pd.DataFrame:
        """How well the labels of independent initialisations agree, for every network and c.

        Args:
            settings: Thresholds; the defaults if None.

        Returns:
            A row per (depth, width, c) with two initialisations or more: n, their number, and agreement, the share of
            steps with equal labels, averaged over all pairs.
        """
        initialisations: dict[tuple[Any, ...], list[list[Segment]]] = {}
        for labels, segments in self._long_runs(settings):
            initialisations.setdefault((labels["depth"], labels["width"], labels["c"]), []).append(segments)
        rows = [(*key, len(runs), agreement(runs)) for key, runs in sorted(initialisations.items()) if len(runs) > 1]
        return pd.DataFrame(rows, columns=["depth", "width", "c", "n", "agreement"])

    def _long_runs(self, settings: RegimeSettings | None) -> list[tuple[dict[str, Any], list[Segment]]]:
        """What describes every long run, and its regimes; labelled once for each settings."""
        if self.config.transient_steps == self.config.training.steps:
            return []
        if settings not in self._labelled:
            self._labelled[settings] = [
                (
                    {name: labels[name] for name in ("depth", "width", "seed", "c", "run_id")},
                    regimes(run, labels["c"] / run.sharpness[0], settings),
                )
                for labels, run in split_runs(self.runs[self.runs["question"] == "whole"])
            ]
        return self._labelled[settings]

    def phase(self, c: float, depth: int, width: int) -> Phase:
        """Phase of early training, with the constants averaged over initialisations as boundaries.

        Args:
            c: Learning-rate constant eta lambda_0, above 0.
            depth: Depth of a network of the experiment.
            width: Its width.

        Returns:
            The phase.

        Raises:
            ValueError: If c is not above 0.
            KeyError: If the constants of such a network are not known.
        """
        table = self._constants
        rows = table[(table["depth"] == depth) & (table["width"] == width)]
        if rows.empty:
            known = sorted(set(zip(table["depth"].tolist(), table["width"].tolist(), strict=True)))
            raise KeyError(f"No constants for depth {depth}, width {width}; known (depth, width): {known}.")
        return classify(
            c,
            *(boundary(list(rows[name]), list(rows[f"{name}_censored"])) for name in ("c_loss", "c_sharp", "c_max")),
        )

    def phase_diagram(self, over: str | None = None) -> PhaseDiagram:
        """The phase diagram over c and the networks' shape.

        Args:
            over: Vertical axis: "width" (1/w, a panel for every depth), "depth" (a panel for every width) or "ratio"
                (d/w, all networks in one panel); by default the width, or the depth where only that varies.

        Returns:
            A picture that can be drawn or saved.

        Raises:
            ValueError: If no initialisation's search is complete, or there is no such axis.
        """
        return PhaseDiagram(self.summary, title=self.title, over=None if over is None else Over(over))

    def saturation_figure(self) -> SaturationFigure:
        """lambda_tau / lambda_0, chi and chi' over c, with c_crit.

        Returns:
            A picture that can be drawn or saved.

        Raises:
            ValueError: If the saturated sharpness was measured for too few c.
        """
        return SaturationFigure(self._saturated, self._critical, self.title)

    def saturation_diagram(self) -> SaturationDiagram:
        """The saturated sharpness over c and 1/w, with c_crit and c_max.

        Returns:
            A picture that can be drawn or saved.

        Raises:
            ValueError: If the saturated sharpness was not measured.
        """
        return SaturationDiagram(self._saturated, self.summary, self.title)

    def trajectory_figure(self, seed: int | None = None) -> TrajectoryFigure:
        """Loss and sharpness over the steps, coloured by c.

        Args:
            seed: Which initialisation; the first by default.

        Returns:
            A picture that can be drawn or saved.

        Raises:
            ValueError: If there are no runs of that seed.
        """
        return TrajectoryFigure(self._trajectories, seed, title=self.title)

    def _run(self, run_id: str) -> tuple[Trajectory, float]:
        """A run and its learning rate."""
        chosen = self.runs[self.runs["run_id"] == run_id]
        if chosen.empty:
            raise KeyError(f"No run {run_id!r} in this experiment.")
        _, trajectory = next(split_runs(chosen))
        return trajectory, float(chosen["learning_rate"].iloc[0])

    @property
    def title(self) -> str:
        """What was trained on what, for pictures."""
        config = self.config
        names = {"relu": "ReLU", "mse": "MSE", "xent": "cross-entropy"}
        families = {
            "fcn": "FCN",
            "linear_fcn": "linear FCN",
            "myrtle": "Myrtle CNN",
            "resnet": "ResNet",
            "uv": "uv model",
        }
        model = families.get(config.model.family, config.model.family)
        if config.model.activation != "linear":
            model += f", {names.get(config.model.activation, config.model.activation)}"
        return f"{model}, {names.get(config.loss, config.loss)} on {config.data.dataset}"

    @cached_property
    def _summary(self) -> pd.DataFrame:
        return summary_table(self._constants, self._critical)

    @cached_property
    def _trajectories(self) -> pd.DataFrame:
        return merge_runs(self.runs)

    @cached_property
    def _saturated(self) -> pd.DataFrame:
        return saturated_sharpness(self.runs, self.config.sweep.lr_exponents.exponents()[-1])

    @cached_property
    def _critical(self) -> pd.DataFrame:
        return critical_table(self._saturated)

    @cached_property
    def _constants(self) -> pd.DataFrame:
        return constants_table(self.runs, self.config.sweep.lr_exponents.exponents(), criteria(self.config))

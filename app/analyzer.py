"""An experiment's folder as an object: what its stored runs say, in tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.analysis.over import OverFindings
from sharpness_phases.analysis.regimes import RegimeSettings
from sharpness_phases.config.over import Number, folder_of, require_one_value
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import UserError
from sharpness_phases.runs.identity import belonging
from sharpness_phases.store.folder import RUNS_FOLDER, errors_with_advice, stored_config
from sharpness_phases.store.runs import RunStore
from sharpness_phases.views import pictures

if TYPE_CHECKING:  # what draws is imported when something is drawn: Matplotlib takes long
    from sharpness_phases.views.diagram import PhaseDiagram
    from sharpness_phases.views.final_loss import FinalLossMap
    from sharpness_phases.views.regimes import RegimeFigure
    from sharpness_phases.views.saturation import SaturationDiagram, SaturationFigure
    from sharpness_phases.views.trajectories import TrajectoryFigure


class PhaseAnalyzer(Findings):
    """Labels the phases and regimes of an experiment; reads stored runs and computes nothing anew.

    The tables are those of `sharpness_phases.analysis.findings.Findings`; pictures can be drawn or saved.

    Args:
        runs: All runs of the experiment, a row per step, with the columns of `sharpness_phases.store.runs.SCHEMA`.
        config: The experiment.

    Example:
        Where `phases run quickstart` has been:

            analyzer = PhaseAnalyzer.load("outputs/quickstart")
            analyzer.phase(c=3.0, depth=4, width=64)  # Phase.SHARPNESS_REDUCTION
            analyzer.phase_diagram().save("diagram.pdf")
    """

    @classmethod
    def load(cls, folder: str | Path) -> PhaseAnalyzer:
        """Read a folder that `phases run` has written.

        Args:
            folder: Such as outputs/quickstart.

        Returns:
            The analyzer of its config's runs; runs of other configs in the same folder are left out. Of an experiment
            with `sweep.over` an `OverAnalyzer`. A `UserError` if the folder holds no experiment, or none of its runs.
        """
        config = stored_config(folder)
        if config.sweep.over:
            return OverAnalyzer.of_folder(Path(folder), config)
        return cls.from_store(RunStore(Path(folder) / RUNS_FOLDER), config)

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

    def phase_diagram(self, over: str | None = None) -> PhaseDiagram:
        """The phase diagram over c and the networks' shape.

        Args:
            over: Vertical axis: "width" (1/w, a panel for every depth), "depth" (a panel for every width) or "ratio"
                (d/w, all networks in one panel); by default the width, or the depth where only that varies.

        Returns:
            The picture; a `ValueError` if no initialisation's search is complete, or there is no such axis.
        """
        return pictures.phase_diagram(self, over)

    def trajectory_figure(self, seed: int | None = None) -> TrajectoryFigure:
        """Loss and sharpness over the steps, coloured by c.

        Args:
            seed: Which initialisation; the first by default.

        Returns:
            The picture; a `ValueError` if there are no runs of that seed.
        """
        return pictures.trajectory_figure(self, seed)

    def saturation_figure(self) -> SaturationFigure:
        """lambda_tau / lambda_0, chi and chi' over c, with c_crit; a `ValueError` if too few c were measured."""
        return pictures.saturation_figure(self)

    def saturation_diagram(self) -> SaturationDiagram:
        """The saturated sharpness over c and 1/w, with c_crit and c_max; a `ValueError` if it was not measured."""
        return pictures.saturation_diagram(self)

    def regime_figure(
        self, *run_ids: str, settings: RegimeSettings | None = None, seed: int | None = None
    ) -> RegimeFigure:
        """The sharpness and the loss of runs, with their regimes shaded.

        Args:
            run_ids: Names of runs; by default the long runs of the first network's first initialisation.
            settings: Thresholds; the defaults if None.
            seed: The initialisation, where no runs are named; the first one if None.

        Returns:
            The picture; a `KeyError` if there is no such run, a `ValueError` if one has no sharpness, or no run is
            named and there are no long ones.
        """
        return pictures.regime_figure(self, *run_ids, settings=settings, seed=seed)


class OverAnalyzer(OverFindings, PhaseAnalyzer):
    """The analyzer of an experiment along one more axis, `sweep.over`: its tables have a first column of that name.

    Args:
        variants: The analyzers of the values on the axis, in its order; one at least.
        config: The experiment.

    Example:
        Where an experiment with `sweep.over: {optimizer.beta_2: [0.9, 0.999]}` has been run:

            analyzer = PhaseAnalyzer.load("outputs/adam")
            analyzer.critical_constants()  # with a column optimizer.beta_2
            analyzer.variants[0.999].phase(c=3.0, depth=4, width=64)
    """

    @classmethod
    def of_folder(cls, folder: Path, config: ExperimentConfig) -> OverAnalyzer:
        """Read the folders of all values.

        Args:
            folder: The experiment's.
            config: The experiment, with `sweep.over`.

        Returns:
            The analyzer; a `UserError` if a value has no runs yet.
        """
        found: dict[Number, Findings] = {}
        for key, values in config.sweep.over.items():
            for value in values:
                found[value] = PhaseAnalyzer.load(folder / folder_of(key, value))
        return cls(found, config)

    def final_loss_map(self) -> FinalLossMap:
        """The final loss over c and the axis, a panel for every network; a `ValueError` if no run came to its end."""
        return pictures.final_loss_map(self)


def compare(folders: Sequence[str | Path], path: str | Path, over: str = "ratio") -> Path:
    """Draw the phase diagrams of several experiments on one sheet.

    Args:
        folders: Folders that `phases run` has written.
        path: Where the sheet goes; the ending chooses the format.
        over: Vertical axis of the panels: "width", "depth" or "ratio".

    Returns:
        The path.

    Raises:
        UserError: If a folder holds no experiment, or one whose constants are not known.
    """
    from sharpness_phases.views.diagram import ComparisonSheet, Over

    summaries, axes = [], []
    for folder in folders:
        with errors_with_advice(Path(folder)):
            analyzer = PhaseAnalyzer.load(folder)
        require_one_value(analyzer.config.sweep.over, f"phases compare: {folder}")
        if not analyzer.constants_are_known:
            raise UserError(f"{folder}: no initialisation's critical constants are known; go on with `phases run`")
        summaries.append((f"{analyzer.config.name}\n{analyzer.title}", analyzer.summary))
        axes.append(analyzer.axis)
    edges, words = [axis.constant for axis in axes], [axis.c_in_words for axis in axes]
    return ComparisonSheet(summaries, Over(over), edges, words).save(path)

"""What an experiment's runs say: the tables of constants, phases, regimes and saturation; no pictures."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import pandas as pd

from sharpness_phases.analysis.final_loss import final_losses
from sharpness_phases.analysis.phases import BOUNDARIES, Phase, classify
from sharpness_phases.analysis.regimes import RegimeSettings, Segment, agreement, regimes
from sharpness_phases.analysis.saturation import critical_table, saturated_sharpness
from sharpness_phases.analysis.tables import (
    JsonObject,
    constants_table,
    merge_runs,
    split_runs,
    summary_json,
    summary_table,
    violations,
)
from sharpness_phases.config.optimizer import OptimizerConfig
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.config.sections import ModelConfig
from sharpness_phases.data.catalogue import in_words
from sharpness_phases.runs.axis import Axis, axis_of, optimizer_in_words
from sharpness_phases.runs.edge import Rate
from sharpness_phases.runs.spec import Purpose, criteria, learning_rates
from sharpness_phases.runs.trajectory import Trajectory

_FAMILY_TITLES = {
    "fcn": "FCN",
    "linear_fcn": "linear FCN",
    "myrtle": "Myrtle CNN",
    "resnet": "ResNet",
    "transformer": "Transformer",
    "vit": "ViT",
    "uv": "uv model",
}
_TITLES = {"relu": "ReLU", "mse": "MSE", "xent": "cross-entropy"}
"""How papers write what the config writes otherwise; all else is its own title."""


def _output_in_words(model: ModelConfig) -> list[str]:
    """What is unusual about a network's output before training."""
    told = {
        "zero output": model.output_layer == "zero",
        "initial output subtracted": model.subtract_initial,
        f"output x {model.output_scale:g}": model.output_scale != 1,
        f"output x width^{-model.output_power:g}": model.output_power != 0,
    }
    return [words for words, holds in told.items() if holds]


class _LongRun(NamedTuple):
    """A run that goes on beyond the early transient, with its regimes.

    Attributes:
        depth: Depth of the network.
        width: Its width.
        seed: The initialisation.
        c: Learning-rate constant.
        run_id: Name of the run.
        segments: Its regimes.
    """

    depth: int
    width: int
    seed: int
    c: float
    run_id: str
    segments: list[Segment]


class Findings:
    """The tables that follow from an experiment's runs.

    A table is computed when it is first asked for, and handed out as a copy.

    Args:
        runs: All runs of the experiment, a row per step, with the columns of `sharpness_phases.store.runs.SCHEMA`.
        config: The experiment.
    """

    def __init__(self, runs: pd.DataFrame, config: ExperimentConfig) -> None:
        self.runs = runs
        self.config = config
        self._labelled: dict[RegimeSettings | None, list[_LongRun]] = {}

    @property
    def title(self) -> str:
        """What was trained on what, and by what if not gradient descent: "FCN, ReLU, MSE on CIFAR-10, 50000 images"."""
        family, activation, loss = self.config.model.family, self.config.model.activation, self.config.loss
        model = _FAMILY_TITLES.get(family, family)
        if self.config.model.normalization != "none":
            model += f" with {self.config.model.normalization} normalization"
        if activation != "linear":
            model += f", {_TITLES.get(activation, activation)}"
        model += "".join(f", {words}" for words in _output_in_words(self.config.model))
        optimizer = self.config.optimizer
        by = "" if optimizer == OptimizerConfig() else f", {optimizer_in_words(optimizer)}"
        data = in_words(self.config.data.info, self.config.train_examples)
        return f"{model}, {_TITLES.get(loss, loss)} on {data}{by}"

    @property
    def axis(self) -> Axis:
        """What c means for the optimizer, and where its edge is."""
        return axis_of(self.config)

    def run(self, run_id: str) -> tuple[Trajectory, float]:
        """One run.

        Args:
            run_id: Name of the run, as in the column of the runs' table.

        Returns:
            Its trajectory, and its learning rate eta.

        Raises:
            KeyError: If there is no such run.
        """
        chosen = self.runs[self.runs["run_id"] == run_id]
        if chosen.empty:
            raise KeyError(f"No run {run_id!r} in this experiment.")
        _, trajectory = next(split_runs(chosen))
        return trajectory, float(chosen["learning_rate"].iloc[0])

    def edge(self, run_id: str) -> Rate:
        """The stability edge of one run: the sharpness at which its optimizer becomes unstable.

        Args:
            run_id: Name of the run; a `KeyError` if there is none.

        Returns:
            2 / eta for plain gradient descent (`sharpness_phases.runs.edge`); NaN where it is not known. With a warm-up
            the edge at the rate of the step to come, for each step, shape (steps + 1,).
        """
        run, learning_rate = self.run(run_id)
        if self.config.warmup.is_none:
            return float(self.axis.edge(learning_rate))
        return self.axis.edge(learning_rates(self.config, learning_rate, run.steps + 1))

    @property
    def edge_constant(self) -> float:
        """The c at which training begins at its edge: 2; NaN where it is not known.

        With the momentum m of older configs, for which c = eta lambda_0, it is 2 (1 + m).
        """
        return self.axis.constant

    @property
    def edge_in_words(self) -> str:
        """The formula of the runs' stability edge, such as "2/η"."""
        return self.axis.edge_in_words

    @property
    def edge_is_known(self) -> bool:
        """Whether the stability edge of the optimizer is known; it is not claimed of the user's own."""
        return self.axis.rule is not None

    def trajectories(self) -> pd.DataFrame:
        """One trajectory for each initialisation and c, a row per step."""
        return self._trajectories.copy()

    def critical_constants(self) -> pd.DataFrame:
        """Critical constants of every initialisation whose search is complete.

        Returns:
            A tidy table: model, dataset, loss, depth, width, seed, lambda_0, loss_0, the constants and, for each, a
            `*_censored` column ("", "low" or "high").
        """
        return self._constants.copy()

    @property
    def summary(self) -> pd.DataFrame:
        """A row per (depth, width, constant), as `sharpness_phases.analysis.tables.summary_table` describes it."""
        return self._summary.copy()

    def summary_json(self) -> list[JsonObject]:
        """The summary as plain JSON values, an entry per network (`sharpness_phases.analysis.tables.summary_json`)."""
        return summary_json(self.summary)

    @property
    def constants_are_known(self) -> bool:
        """Whether some constant of some network is known, not only censored."""
        return bool((self._summary["n"] > 0).any())

    def violations(self) -> pd.DataFrame:
        """The initialisations whose constants are not in the usual order c_loss <= c_sharp <= c_barrier <= c_max."""
        return violations(self._constants)

    def phase(self, c: float, depth: int, width: int) -> Phase:
        """Phase of early training, between the boundaries of the summary.

        Args:
            c: Learning-rate constant, above 0; a `ValueError` otherwise.
            depth: Depth of a network of the experiment.
            width: Its width.

        Returns:
            The phase.

        Raises:
            KeyError: If the constants of such a network are not known.
        """
        table = self._summary
        rows = table[(table["depth"] == depth) & (table["width"] == width)]
        if rows.empty:
            known = sorted(set(zip(table["depth"].tolist(), table["width"].tolist(), strict=True)))
            raise KeyError(f"No constants for depth {depth}, width {width}; known (depth, width): {known}.")
        boundaries = rows.set_index("constant")["boundary"]
        return classify(c, *(float(boundaries[name]) for name in BOUNDARIES))

    def final_loss(self) -> pd.DataFrame:
        """The loss after the last step of every run that was trained to it, or diverged on the way.

        Returns:
            A row per (depth, width, seed, c), as `sharpness_phases.analysis.final_loss.final_losses` describes it.
        """
        return final_losses(self._trajectories, self.config.training.steps)

    def saturation(self) -> pd.DataFrame:
        """The saturated sharpness: a row per (depth, width, seed, c) with tau and ratio = lambda_tau / lambda_0."""
        return self._saturated.copy()

    def critical(self) -> pd.DataFrame:
        """c_crit of the averaged curve of every network: a row per (depth, width) where enough c were measured.

        Returns:
            The fields of `sharpness_phases.analysis.saturation.NetworkSaturation`: c_crit (NaN where censored), its
            side, its 95% interval, and the number of initialisations.
        """
        return self._critical.copy()

    @property
    def saturation_is_known(self) -> bool:
        """Whether the saturated sharpness was measured at enough c to give c_crit of some network."""
        return not self._critical.empty

    def regimes(self, run_id: str, settings: RegimeSettings | None = None) -> list[Segment]:
        """Regimes of one run; a `KeyError` if there is no such run, a `ValueError` if it has no sharpness.

        Args:
            run_id: Name of the run, as in the column of the runs' table.
            settings: Thresholds; the defaults if None.

        Returns:
            Contiguous segments (regime, start, stop) that cover all its steps.

        Raises:
            ValueError: If the optimizer's edge is not known.
        """
        run, edge = self.run(run_id)[0], self.edge(run_id)
        if not self.edge_is_known:
            raise ValueError(f"Regimes need the stability edge, which is not known of {self.config.optimizer.name}.")
        return regimes(run, edge, settings)

    def regime_table(self, settings: RegimeSettings | None = None) -> pd.DataFrame:
        """Regimes of all long runs: those that go on beyond the early transient, with a sharpness.

        Args:
            settings: Thresholds; the defaults if None.

        Returns:
            A row per segment: depth, width, seed, c, run_id, regime, and the steps start <= t < stop.
        """
        rows = [
            (run.depth, run.width, run.seed, run.c, run.run_id, segment.regime.value, segment.start, segment.stop)
            for run in self._long_runs(settings)
            for segment in run.segments
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
        initialisations: dict[tuple[int, int, float], list[list[Segment]]] = {}
        for run in self._long_runs(settings):
            initialisations.setdefault((run.depth, run.width, run.c), []).append(run.segments)
        rows = [(*key, len(runs), agreement(runs)) for key, runs in sorted(initialisations.items()) if len(runs) > 1]
        return pd.DataFrame(rows, columns=["depth", "width", "c", "n", "agreement"])

    def _long_runs(self, settings: RegimeSettings | None) -> list[_LongRun]:
        """The long runs, labelled once for each settings."""
        if self.config.transient_steps == self.config.training.steps or not self.edge_is_known:
            return []
        if settings not in self._labelled:
            names = ("depth", "width", "seed", "c", "run_id")
            self._labelled[settings] = [
                _LongRun(
                    **{name: labels[name] for name in names},
                    segments=regimes(run, self._edge_at(labels["c"], run), settings),
                )
                for labels, run in split_runs(self.runs[self.runs["question"] == Purpose.WHOLE])
            ]
        return self._labelled[settings]

    def _edge_at(self, c: float, run: Trajectory) -> Rate:
        """As `edge`, of a run at a learning-rate constant."""
        if self.config.warmup.is_none:
            return self.axis.edge_of_run(c, run.sharpness[0])
        rate = float(self.axis.rate(c, run.sharpness[0]))
        return self.axis.edge(learning_rates(self.config, rate, run.steps + 1))

    @cached_property
    def _trajectories(self) -> pd.DataFrame:
        return merge_runs(self.runs)

    @cached_property
    def _constants(self) -> pd.DataFrame:
        return constants_table(self.runs, self.config.sweep.lr_exponents.exponents(), criteria(self.config))

    @cached_property
    def _summary(self) -> pd.DataFrame:
        return summary_table(self._constants, self._critical)

    @cached_property
    def _saturated(self) -> pd.DataFrame:
        return saturated_sharpness(self.runs, self.config.sweep.lr_exponents.exponents()[-1])

    @cached_property
    def _critical(self) -> pd.DataFrame:
        return critical_table(self._saturated)

"""The axis of learning rates of an experiment: what c means for its optimizer, and where the stability edge is on it.

c = 2 eta / eta_edge is the learning rate in units of half the optimizer's edge before training, so that training begins
at its edge at c = 2 whatever the optimizer; eta lambda_0 for plain gradient descent (Kalra & Barkeshli 2023, Sec. 2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sharpness_phases.config.optimizer import OptimizerConfig, WarmupConfig
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.edge import EdgeRule, Rate

_NAMES = {"sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "nadam": "Nadam"}


class Axis(NamedTuple):
    """The learning-rate constants of an experiment.

    Attributes:
        rule: What decides the optimizer's edge; None where that is not known, as of an optimizer of the user's own.
        in_units_of_edge: Whether c = 2 eta / eta_edge. Otherwise c = eta lambda_0, as where no edge is known.
    """

    rule: EdgeRule | None = EdgeRule()
    in_units_of_edge: bool = True

    def rate(self, c: Rate, sharpness: float) -> Rate:
        """The learning rate eta at a learning-rate constant.

        Args:
            c: The constant, or several.
            sharpness: lambda_0, of the optimizer's operator, above 0.

        Returns:
            eta, of the shape of c; exactly c / lambda_0 for plain gradient descent.
        """
        return self.rule.rate(c, sharpness) if self.rule and self.in_units_of_edge else c / sharpness

    def edge(self, learning_rate: Rate) -> Rate:
        """The stability edge at one learning rate, or at several; NaN where it is not known."""
        return self.rule.edge(learning_rate) if self.rule else np.nan * learning_rate

    def edge_of_run(self, c: float, sharpness: float) -> float:
        """The edge of a run at a learning-rate constant, which starts from a sharpness lambda_0.

        Args:
            c: The constant.
            sharpness: lambda_0.

        Returns:
            edge(eta) at eta = `rate(c, sharpness)`; NaN where it is not known.
        """
        if self.rule and self.rule.weight_decay:
            return float(self.edge(self.rate(c, sharpness)))
        return self.constant * sharpness / c  # the factors of rate and edge cancel

    @property
    def constant(self) -> float:
        """The c at which training begins at its edge: 2, or 2 (1 + m) where c = eta lambda_0; NaN if not known."""
        if not self.rule:
            return float("nan")
        return 2.0 if self.in_units_of_edge else float(self.rule.edge(1.0))

    @property
    def rate_times_edge(self) -> float:
        """The learning rate times the edge, the same at every rate; NaN with weight decay, or if not known."""
        return float(self.rule.edge(1.0)) if self.rule and not self.rule.weight_decay else float("nan")

    @property
    def edge_in_words(self) -> str:
        """The formula of the edge, such as "2/η"."""
        return self.rule.in_words if self.rule else "edge not known"

    @property
    def c_in_words(self) -> str:
        """What c is: "ηλ₀", or of other optimizers than plain gradient descent "2η/η_edge"."""
        return "ηλ₀" if self.is_rate_times_sharpness else "2η/η_edge"

    @property
    def is_rate_times_sharpness(self) -> bool:
        """Whether c = eta lambda_0."""
        return not self.rule or not self.in_units_of_edge or self.rule == EdgeRule()


def axis_of(config: ExperimentConfig) -> Axis:
    """The axis of an experiment.

    Args:
        config: Its `optimizer`, or the momentum of older configs, for which c = eta lambda_0 as it was then.

    Returns:
        The axis.
    """
    return Axis(edge_rule_of(config.trained_by), in_units_of_edge=not config.training.momentum)


def edge_rule_of(optimizer: OptimizerConfig) -> EdgeRule | None:
    """What decides the edge of an optimizer, beside its rate; None of the user's own, whose edge is not claimed.

    Args:
        optimizer: The section of a config.

    Returns:
        The rule, as `sharpness_phases.training.optimizers.edge_rule` reads it from the optimizer itself.
    """
    if optimizer.is_custom:
        return None
    arguments = optimizer.arguments
    averages = "beta_1" in arguments
    return EdgeRule(
        momentum=float(arguments["beta_1" if averages else "momentum"] or 0.0),
        nesterov=optimizer.name == "nadam" or bool(arguments.get("nesterov")),
        averages=averages,
        weight_decay=float(arguments["weight_decay"] or 0.0),
    )


def preconditions(optimizer: OptimizerConfig) -> bool:
    """Whether the sharpness is that of P^-1/2 H P^-1/2, P being the optimizer's preconditioner, in the place of H."""
    return "epsilon" in optimizer.arguments


def optimizer_in_words(optimizer: OptimizerConfig) -> str:
    """An optimizer in a text, with the arguments that are not Keras' defaults: "Adam", "SGD, momentum 0.9"."""
    given = optimizer.model_dump(exclude={"name", "warmup"}, exclude_none=True)
    parts = [key if value is True else f"{key} {_written(value)}" for key, value in given.items()]
    words = ", ".join([_NAMES.get(optimizer.name, optimizer.name), *parts]).replace("_", " ")
    return words if optimizer.warmup.is_none else f"{words}, {_warmup_in_words(optimizer.warmup)}"


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _warmup_in_words(warmup: WarmupConfig) -> str:
    """Such as "warm-up of 8 steps from 0.1 η"."""
    length = f"warm-up of {warmup.steps} step{'' if warmup.steps == 1 else 's'}"
    return f"{length} from {warmup.start:g} η" if warmup.start else length

"""What a config may say: an experiment and its sections."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from sharpness_phases.config.consistency import inconsistencies
from sharpness_phases.config.optimizer import OptimizerConfig, WarmupConfig
from sharpness_phases.config.over import Number, axis_over, with_value
from sharpness_phases.config.sections import (
    AnalysisConfig,
    DataConfig,
    DeviceConfig,
    ExecutorConfig,
    ModelConfig,
    Section,
    SharpnessConfig,
    SweepConfig,
    TrainingConfig,
    default_saturation_time,
    known_or_custom,
    require,
)
from sharpness_phases.config.yaml_marks import Plain


class ExperimentConfig(Section):
    """A whole experiment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the experiment and of its folder in outputs/."""
    model: ModelConfig = ModelConfig()
    """The network family."""
    data: DataConfig = DataConfig()
    """The images or tokens to train on."""
    loss: Annotated[str, AfterValidator(known_or_custom("mse", "xent"))] = "mse"
    """Half mean squared error, softmax cross-entropy, or "package.module:name" for your own Keras loss."""
    training: TrainingConfig = TrainingConfig()
    """The length of runs, and their batches."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """The optimizer."""
    sharpness: SharpnessConfig = SharpnessConfig()
    """The measurement."""
    sweep: SweepConfig
    """Networks and learning rates."""
    analysis: AnalysisConfig = AnalysisConfig()
    """What the constants are."""
    device: DeviceConfig = DeviceConfig()
    """How the device computes."""
    executor: ExecutorConfig = ExecutorConfig()
    """Where the runs are carried out."""
    tensorboard: bool = True
    """Whether to write TensorBoard files."""
    environment: dict[str, str] | None = None
    """Versions and device of the stored runs: written into an experiment's config.yaml, without effect in a config."""

    @property
    def train_examples(self) -> int:
        """Number of training examples in use; 0 if it is that of a file which is not there."""
        return self.data.train_examples or self.data.info.train

    @property
    def trained_by(self) -> OptimizerConfig:
        """The optimizer in use, with its warm-up: that of the section `optimizer`, or the momentum of older configs."""
        momentum = self.training.momentum
        rule = OptimizerConfig(momentum=momentum) if momentum else self.optimizer
        return rule.changed(warmup=self.warmup)

    @property
    def warmup(self) -> WarmupConfig:
        """The warm-up in use: `optimizer.warmup`, or `training.warmup_steps`, which says one from a rate of 0."""
        steps = self.training.warmup_steps
        return WarmupConfig(steps=steps) if steps else self.optimizer.warmup

    @property
    def transient_steps(self) -> int:
        """Length T of the early transient, in steps."""
        return self.analysis.transient_steps or self.training.steps

    @property
    def saturation_time(self) -> float:
        """The c tau at which the saturated sharpness is measured."""
        return self.analysis.saturation_time or default_saturation_time(self.loss)

    @property
    def sharpness_tolerance(self) -> float:
        """The epsilon of c_sharp: 0.05 by default for networks whose output is zero at the start, 0 for others."""
        given = self.analysis.sharpness_tolerance
        zero_output = self.model.output_layer == "zero" or self.model.subtract_initial
        return given if given is not None else 0.05 if zero_output else 0.0

    @model_validator(mode="after")
    def _fits_the_data(self) -> Self:
        faults = inconsistencies(self.model_dump())
        require(not faults, "; ".join(f"{'.'.join(key)}: {message}" for key, message in faults))
        return self


class Variant(NamedTuple):
    """An experiment at one value of the axis `sweep.over`.

    Attributes:
        value: The value.
        config: The experiment there, without that axis.
    """

    value: Number
    config: ExperimentConfig


def variants(config: ExperimentConfig) -> list[Variant]:
    """The experiments along the axis `sweep.over`; none without one.

    Args:
        config: A checked config.

    Returns:
        One for each value, in their order; its runs are those of a config that says the value itself.
    """
    axis = axis_over(config.sweep.over)
    if axis is None:
        return []
    found = []
    for value in axis.values:
        plain = to_plain(config.changed(**with_value({}, axis.key, value), sweep={"over": {}}))
        found.append(Variant(value, ExperimentConfig.model_validate(plain)))
    return found


def to_plain(config: ExperimentConfig) -> dict[str, Plain]:
    """The config as plain YAML values, every key spelled out but an absent environment."""
    return config.model_dump(mode="json", exclude=None if config.environment else {"environment"})

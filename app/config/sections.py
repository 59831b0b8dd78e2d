"""The sections of a config: one class a section, one sentence a field."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sharpness_phases.custom_code import names_custom_code
from sharpness_phases.data.catalogue import CONTEXT_LENGTH, DATA_SETS, MODULUS, DataSetInfo, DataSize, described
from sharpness_phases.models.families import FAMILIES, NORM_POSITIONS, NORMALIZATIONS, OWN_SETTINGS

MAX_STEPS = 10**7
"""Steps of a run; chosen so: the arrays of a longer one take more than a gigabyte."""

_MAX_GRID_POINTS = 1000

Count = Annotated[int, Field(ge=1, le=10**9)]
"""A number of things; what is larger does not fit the integers with which sizes of arrays are told."""
Width = Annotated[int, Field(ge=1, le=10**6)]
"""Units of a layer; a square matrix of more has over 4 TB."""
Depth = Annotated[int, Field(ge=1, le=10**4)]
"""Layers; chosen so: more than are trained without residual connections, and few enough to be built."""
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
"""Optimizer steps."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def require(condition: bool, message: str) -> None:
    """Raise ValueError, as pydantic expects of a validator; `message` may start with the key at fault."""
    if not condition:
        raise ValueError(message)


def known_or_custom(*names: str) -> Callable[[str], str]:
    """A validator for one of our names, or the place of the user's own code."""

    def check(value: str) -> str:
        allowed = f"must be one of {', '.join(map(repr, names))}, or 'package.module:name' for your own"
        require(value in names or names_custom_code(value), f"{allowed}; got {json.dumps(value)}")
        return value

    return check


def default_saturation_time(loss: object) -> float:
    """The c tau at which the saturated sharpness is measured by default (Kalra & Barkeshli 2023, Sec. 3)."""
    return 100.0 if loss == "xent" else 200.0


class Section(BaseModel):
    """Base of all sections: no unknown keys, no silent conversions, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def changed(self, **values: object) -> Self:
        """A copy with some values changed, which are not checked (see `sharpness_phases.config.loading.checked`).

        A key that does not exist is an `AttributeError`.

        Args:
            **values: New values by key; for a section, a mapping of those of its values that change.

        Returns:
            The copy.
        """
        update = {}
        for key, value in values.items():
            present = getattr(self, key)
            if isinstance(present, Section) and isinstance(value, Mapping):
                value = present.changed(**value)
            update[key] = value
        return self.model_copy(update=update)


class ModelConfig(Section):
    """The network family; width and depth come from the sweep."""

    family: Annotated[str, AfterValidator(known_or_custom(*FAMILIES))] = "fcn"
    """Model family, or "package.module:function" of your own: (width, depth, input_shape, classes, seed) -> a model."""
    activation: Literal["relu", "tanh", "linear"] = "relu"
    """Activation behind every hidden layer; linear for linear_fcn and uv."""
    parameterization: Literal["standard", "ntk", "mup"] = "standard"
    """How initial variances and multipliers follow from the fan-in; ntk by default for linear_fcn, and for uv."""
    bias: bool = False
    """Whether layers have biases."""
    normalization: Literal[NORMALIZATIONS] = "none"  # type: ignore[valid-type]
    """Normalisation behind every hidden layer or convolution, for fcn, myrtle and resnet; of the blocks of transformer
    and vit none, rms, or layer, their default."""
    output_layer: Literal["default", "zero"] = "default"
    """Initialisation of the output layer."""
    output_scale: Annotated[float, Field(gt=0, le=1e30)] = 1.0
    """Constant that multiplies the network's output."""
    output_power: Annotated[float, Field(ge=-6, le=6)] = 0.0
    """The output is divided by width^output_power."""
    subtract_initial: bool = False
    """Whether the output before training is subtracted from the output."""
    heads: Count = 4
    """Heads of an attention, a divisor of the width, for transformer and vit."""
    norm_position: Literal[NORM_POSITIONS] = "pre"  # type: ignore[valid-type]
    """Whether the blocks of transformer and vit normalise before attention and perceptron, or behind the sum."""
    patch_size: Count = 4
    """Side of the patches of vit, a divisor of the images' sides."""

    @model_validator(mode="before")
    @classmethod
    def _with_the_familys_defaults(cls, given: object) -> object:
        if not isinstance(given, dict) or (info := FAMILIES.get(str(given.get("family")))) is None:
            return given
        return {**info.defaults, **info.fixed, **given}

    @model_validator(mode="after")
    def _is_a_family(self) -> Self:
        if self.is_custom:
            settings = [name for name, field in type(self).model_fields.items() if name not in _FOR_ANY_MODEL]
            changed = [name for name in settings if getattr(self, name) != type(self).model_fields[name].default]
            require(not changed, f"{', '.join(changed)}: not for your own model; say it in its function")
            return self
        info = FAMILIES[self.family]
        needed = {name: (value,) for name, value in info.fixed.items()} | {"normalization": info.normalizations}
        faults = [
            f"{name} of {self.family} must be {' or '.join(map(repr, values))}; got {getattr(self, name)!r}"
            for name, values in needed.items()
            if getattr(self, name) not in values
        ]
        defaults = {name: type(self).model_fields[name].default for name in OWN_SETTINGS}
        faults += [
            f"{name}: {self.family} has none"
            for name, default in defaults.items()
            if name not in info.settings and getattr(self, name) != default
        ]
        if self.subtract_initial and self.normalization == "batch":
            faults.append("subtract_initial: not with batch normalization, whose statistics differ between the two")
        require(not faults, "; ".join(faults))
        return self

    @property
    def is_custom(self) -> bool:
        """Whether the family is the user's own function."""
        return names_custom_code(self.family)


_FOR_ANY_MODEL = ("family", "subtract_initial")


class DataConfig(Section):
    """The images or tokens to train on."""

    dataset: Literal[tuple(DATA_SETS)] = "fashion_mnist_subset"  # type: ignore[valid-type]
    """Name of the data set."""
    data_dir: str | None = None
    """Folder of TensorFlow Datasets; null for its default folder."""
    train_examples: Count | None = None
    """Size of a class-balanced subset of the training examples, of text of any; null for all."""
    seed: Seed = 0
    """Fixes the subset."""
    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """The UTF-8 file of the data set text, from the current folder; its bytes are the tokens."""
    context_length: Annotated[int, Field(ge=1, le=10**5)] = CONTEXT_LENGTH
    """Tokens of an example of text or shakespeare; examples do not overlap."""
    modulus: Annotated[int, Field(ge=2, le=4096)] = MODULUS
    """p of modular_addition, which has p^2 examples."""

    @property
    def size(self) -> DataSize:
        """The data set with what decides its size."""
        return DataSize(self.dataset, self.context_length, self.modulus, self.path)

    @property
    def info(self) -> DataSetInfo:
        """What is known of the data set without loading it."""
        return described(self.size)


class TrainingConfig(Section):
    """Training with a constant learning rate, or a linear warm-up to one."""

    batch_size: Count = 512
    """Examples in a batch, drawn without replacement."""
    steps: Steps = 10
    """Optimizer steps T of each run."""
    warmup_steps: Annotated[int, Field(ge=0, le=MAX_STEPS)] = 0
    """Steps W over which the learning rate rises to eta: that of step t from 1 on is eta min(1, t / W); 0 for none."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum m of sgd as of before there was `optimizer`, with c = eta lambda_0 and the edge at c = 2 (1 + m)."""


class SharpnessConfig(Section):
    """How the largest eigenvalue of the Hessian is measured."""

    examples: Count = 2048
    """Training examples in the measurement set."""
    solver: Literal["lanczos", "power"] = "lanczos"
    """Lanczos with a residual-based stop, or 20 power iterations from the same start (the protocol: `phases bench`)."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Relative residual that Lanczos has to reach; along a run, 30 times the relative error (see `Lanczos`)."""
    seed: Seed = 0
    """Fixes the measurement set and the random part of start vectors."""
    chunk_size: Count | None = None
    """Measurement examples differentiated at once, to bound memory; null for all."""
    batch_norm: Literal["batch", "inference"] = "batch"
    """Whether batch normalisation that trains is measured with the statistics of the measurement set (of each chunk, if
    there is a `chunk_size`), as training uses those of its batch, or with its moving statistics."""
    every: Count = 1
    """After the early transient (`analysis.transient_steps`), whole runs are measured at multiples of `every` only."""


class LearningRateGrid(Section):
    """The grid of exponents x of the learning-rate constant c = 2^x."""

    start: Annotated[float, Field(ge=-50, le=50)] = -1.0
    """Lowest exponent."""
    stop: Annotated[float, Field(ge=-50, le=50)] = 6.0
    """Highest exponent, included."""
    step: Annotated[float, Field(ge=1e-6)] = 0.1
    """Distance of two exponents."""

    @property
    def size(self) -> int:
        """Number of grid points."""
        return math.floor((self.stop - self.start) / self.step + 1e-6) + 1

    def exponents(self) -> list[float]:
        """All exponents, increasing."""
        return [round(self.start + i * self.step, 10) for i in range(self.size)]

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        require(
            self.stop >= self.start,
            f"stop must be at least start; got start {self.start} and stop {self.stop}",
        )
        require(
            self.size <= _MAX_GRID_POINTS,
            f"at most {_MAX_GRID_POINTS} grid points are allowed; got {self.size}: raise step or narrow the range",
        )
        return self


class SweepConfig(Section):
    """Which networks and learning rates are run."""

    depths: Annotated[list[Depth], Field(min_length=1)]
    """Numbers of weight layers, the output layer included."""
    widths: Annotated[list[Width], Field(min_length=1)]
    """Numbers of units of a hidden layer."""
    seeds: Count = 4
    """Number of initialisations; each also fixes its batch order."""
    lr_exponents: LearningRateGrid = LearningRateGrid()
    """Grid of the learning-rate constant."""
    search: Literal["adaptive", "exhaustive"] = "adaptive"
    """Few runs that decide the constants, or every c of the grid up to divergence."""
    over: Annotated[dict[str, Annotated[list[int | float], Field(min_length=1)]], Field(max_length=1)] = {}
    """One more axis: a numeric key of the config with its values, such as {optimizer.beta_2: [0.9, 0.99, 0.999]}."""

    @model_validator(mode="after")
    def _has_no_duplicates(self) -> Self:
        lists = {name: getattr(self, name) for name in ("depths", "widths")} | self.over
        faults = [
            f"{name} must not hold a value twice; got {textwrap.shorten(str(values), 60, placeholder=' ...')}"
            for name, values in lists.items()
            if len(set(values)) < len(values)
        ]
        require(not faults, "; ".join(faults))
        return self


class AnalysisConfig(Section):
    """What the constants are."""

    transient_steps: Count | None = None
    """Length T of the early transient that decides c_loss, c_sharp, c_barrier and c_max; null for `training.steps`."""
    loss_tolerance: Annotated[float, Field(ge=0)] = 0.0
    """A loss catapult needs L_t > (1 + loss_tolerance) L_0."""
    sharpness_tolerance: Annotated[float, Field(ge=0)] | None = None
    """A sharpness catapult needs lambda_t > (1 + sharpness_tolerance) lambda_0; null: 0.05 with zero output, else 0."""
    barrier: bool = False
    """Whether c_barrier is searched for: the loss on 101 points of the line from theta_0 to theta_T, at some c.

    With cross-entropy the adaptive search often takes it for a few grid steps too large (see `docs/performance.md`)."""
    saturation: bool = False
    """Whether c_crit is measured: at every c the sharpness at the step tau with c tau = saturation_time."""
    saturation_time: Annotated[float, Field(gt=0)] | None = None
    """c tau at which the saturated sharpness is measured; null for 200, and for 100 with cross-entropy."""


class DeviceConfig(Section):
    """How the device computes."""

    xla: Literal["auto", "always", "never"] = "auto"
    """Whether training steps and measurements are compiled by XLA; auto: on a GPU."""
    tensor_float_32: bool = False
    """Whether recent GPUs may round the factors of float32 products to TensorFloat-32, 10 bits of mantissa."""
    deterministic: bool = False
    """Whether only operations that always give the same bits may be used, also on a GPU."""


class ExecutorConfig(Section):
    """Where the runs are carried out."""

    kind: Literal["serial", "ray"] = "serial"
    """One initialisation after the other in this process, or each as a task of Ray (extra `ray`)."""
    address: Annotated[str, Field(pattern=r"^(auto|local|([A-Za-z]+://)?[A-Za-z0-9._\[\]:-]+)$", max_length=200)] = (
        "local"
    )
    """Ray's cluster: local starts one on this machine, auto joins the running one, host:port a certain one."""
    cpus_per_run: Annotated[float, Field(gt=0)] = 1.0
    """Cores of a task."""
    gpus_per_run: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of a task; a fraction shares one."""
    store: Literal["driver", "shared"] = "driver"
    """Whether runs are sent back and stored by `phases run`, or stored by the workers in a folder that all share."""

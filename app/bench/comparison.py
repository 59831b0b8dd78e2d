"""What is compared: the ways to the constants of one initialisation, and what each cost."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | float | int | str | None"
"""Plain JSON values: numbers, texts and null in objects."""


@dataclass(frozen=True)
class Way:
    """One way to the constants of one initialisation.

    Attributes:
        seconds: Time, without building and compiling; of several repetitions the median.
        products: Hessian-vector products.
        flops: Floating-point operations.
        memory: Largest resident memory of the process meanwhile, in bytes.
        constants: c_loss, c_sharp and c_max; NaN where censored.
    """

    seconds: float
    products: int
    flops: float
    memory: int
    constants: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Both ways on one initialisation.

    Attributes:
        depth: Depth of the network.
        width: Its width.
        seed: Its initialisation.
        setup_seconds: Building and compiling for the default way, once for all initialisations of the architecture.
        default: Adaptive search with Lanczos.
        exhaustive: Every c from 1 up to divergence with Lanczos, as in the protocol.
        protocol: The published protocol.
        forward_over_reverse: Whether the protocol's products were faster that way.
        grid_steps: Default minus protocol, for each constant, in steps of the grid; NaN where one is censored.
        lambda_0_seconds: Time of lambda_0 in the default way, cold, to the config's tolerance.
        lambda_0_products: Its products.
        power_seconds: Time of the protocol's 21 products.
        matrix_rate: Floating-point operations per second of a large float32 matrix product.
        roofline: Rate inside the products over the matrix product's.
        core_roofline: The same by processor time instead of the clock, so that other programs on the machine hardly
            matter.
        vector_share: Vector work of Lanczos over the time of its products.
        overhead_seconds: Time of a product within Lanczos beyond its arithmetic at the matrix product's rate.
    """

    depth: int
    width: int
    seed: int
    setup_seconds: float
    default: Way
    exhaustive: Way
    protocol: Way
    forward_over_reverse: bool
    grid_steps: dict[str, float]
    lambda_0_seconds: float
    lambda_0_products: int
    power_seconds: float
    matrix_rate: float
    roofline: float
    core_roofline: float
    vector_share: float
    overhead_seconds: float

    @property
    def speedup(self) -> float:
        """Time of the protocol over that of the default way."""
        return self.protocol.seconds / self.default.seconds

    @property
    def exhaustive_speedup(self) -> float:
        """Time of the protocol over that of the exhaustive search with Lanczos."""
        return self.protocol.seconds / self.exhaustive.seconds

    def to_json(self) -> Json:
        """Plain JSON values, null for NaN."""
        plain = asdict(self) | {"speedup": self.speedup, "exhaustive_speedup": self.exhaustive_speedup}
        return _without_nan(plain)


def _without_nan(value: Json) -> Json:
    """The same with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The command uv: the solvable model, simulated against exact."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from sharpness_phases.commands.options import OptionalConfig, Output, Overrides, experiment_of
from sharpness_phases.commands.output import out, progress_console
from sharpness_phases.commands.run import told_how_to_go_on, words_of
from sharpness_phases.views.pictures import PHASE_DIAGRAM

if TYPE_CHECKING:
    from sharpness_phases.analysis.uv import Comparison


def uv(
    config: OptionalConfig = "laptop/uv",
    overrides: Overrides = None,
    output: Output = None,
) -> None:
    """Run the solvable model: simulated against exact, with its phase diagram."""
    from sharpness_phases.commands.console import ConsoleProgress, plain_table

    experiment = experiment_of(config, overrides, output)
    with (
        told_how_to_go_on(experiment, ["uv", *words_of(config, overrides, output)]),
        ConsoleProgress(progress_console()) as progress,
    ):
        networks = cast("list[Comparison]", list(experiment.run_uv(progress).itertuples()))
    names = ("n", "c_loss", "exact", "grid steps apart", "error of f", "error of lambda")
    out.print(plain_table("The uv model: simulated against exact", names, [_against_exact(r) for r in networks]))
    counted = ("", "seeds", "compared", "low", "high", "otherwise", "by rounding", "exact at step 1")
    out.print(
        plain_table("Its initialisations, and c_loss of the first step alone", counted, [_counts(r) for r in networks])
    )
    picture = PHASE_DIAGRAM.paths(experiment.folder)[0]
    out.print(f"{PHASE_DIAGRAM.place}: {picture}", markup=False)


def _against_exact(network: Comparison) -> list[str]:
    """c_loss measured and exact, and the largest errors of all runs."""
    steps = "-" if math.isnan(network.grid_steps) else f"{network.grid_steps:.0f}"
    constants = [_constant(network.c_loss), _constant(network.c_loss_exact)]
    return [f"{network.width}", *constants, steps, f"{network.f:.1e}", f"{network.sharpness:.1e}"]


def _counts(network: Comparison) -> list[str]:
    """How many initialisations were compared, and what became of the others."""
    counts = [network.initialisations, network.compared, network.low, network.high, network.otherwise]
    counts += [network.by_rounding]
    return [f"n = {network.width}", *(f"{count}" for count in counts), _constant(network.c_loss_first_step)]


def _constant(value: float) -> str:
    """A boundary, or the side on which it is censored."""
    return f"{value:.3f}" if 0 < value < math.inf else "high" if value > 0 else "low"

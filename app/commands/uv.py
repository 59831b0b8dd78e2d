"""The command uv: the solvable model, simulated against exact."""

from __future__ import annotations

import math
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperCommand

from sharpness_phases.commands.options import OptionalConfig, Output, Overrides, experiment_of
from sharpness_phases.commands.output import one_by_one, out, progress_console
from sharpness_phases.commands.run import told_how_to_go_on, words_of
from sharpness_phases.errors import UserError
from sharpness_phases.views.pictures import PHASE_DIAGRAM

if TYPE_CHECKING:
    from sharpness_phases.analysis.uv import Comparison
    from sharpness_phases.analysis.uv_orbits import Onset


_DEFAULT_CONFIG, _DEFAULT_TARGET = "laptop/uv", 1.0
_TARGET_FOLDER = Path("outputs/uv_target")


class UVCommand(TyperCommand):
    """The command, with an option whose value may be left out: `--target` alone means `--target 1`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # of Click's own
        """Read the words after the command's name.

        Args:
            ctx: Where the values go.
            args: The words.

        Returns:
            The words that are left.
        """
        completed = []
        for word, following in zip_longest(args, args[1:]):
            completed.append(word)
            if word == "--target" and not _is_number(following):
                completed.append(f"{_DEFAULT_TARGET:g}")
        return super().parse_args(ctx, completed)


def uv(
    config: OptionalConfig = _DEFAULT_CONFIG,
    overrides: Overrides = None,
    output: Output = None,
    target: Annotated[
        float | None,
        typer.Option(
            "--target",
            metavar="[Y]",
            help="Train on (x, y) = (1, Y) instead, Y = 1 by default, and draw what becomes of it beyond the edge of "
            "stability: cycles, chaos, divergence. Takes no CONFIG.",
        ),
    ] = None,
) -> None:
    """Run the solvable model: simulated against exact, with its phase diagram.

    With --target, draw its bifurcation diagram, in half a minute.

    Raises:
        UserError: If a config stands beside --target.
    """
    if target is not None:
        if config != _DEFAULT_CONFIG or overrides:
            given = config if config != _DEFAULT_CONFIG else f"-s {(overrides or [''])[0]}"
            raise UserError(f"--target: takes no CONFIG and no -s, only --output; got {given}")
        _beyond_the_edge(target, output or _TARGET_FOLDER)
    else:
        _against_its_solution(config, overrides, output)


def _is_number(word: str | None) -> bool:
    try:
        float(word or "")
    except ValueError:
        return False
    return True


def _beyond_the_edge(target: float, folder: Path) -> None:
    """Train with a target, draw the bifurcation diagram, and say how exactly training follows the map."""
    from sharpness_phases.analysis.uv_orbits import LARGEST_TARGET, SMALLEST_TARGET
    from sharpness_phases.commands.console import plain_table

    if not SMALLEST_TARGET <= abs(target) <= LARGEST_TARGET:
        allowed = f"{SMALLEST_TARGET:g} <= |Y| <= {LARGEST_TARGET:g}"
        raise UserError(f"--target: Y must be a number with {allowed}; got {target:g}")
    from sharpness_phases.experiment import run_uv_target

    found = run_uv_target(target, folder, partial(one_by_one, "learning rates"))
    rows = [[onset.name, f"{onset.exact:.6f}", _bracket(onset)] for onset in found.onsets]
    names = ("what begins", "exact g", "seen between g")
    out.print(plain_table("The uv model with a target: thresholds", names, rows))
    kinds = found.table.groupby("kind", sort=False).agg(
        count=("g", "size"), one=("one_step", "max"), whole=("whole", "max")
    )
    rows = [
        [str(kind), f"{row['count']:.0f}", _error(row["one"]), _error(row["whole"])] for kind, row in kinds.iterrows()
    ]
    errors = ("orbits", "values of g", "error of a step", "error of the whole orbit")
    out.print(plain_table("Training against the exact recursion, largest error of r = f / y", errors, rows))
    for title, paths in (("Bifurcation diagram", found.pictures), ("Tables", found.tables)):
        out.print(f"{title}: {', '.join([str(paths[0]), *(path.name for path in paths[1:])])}", markup=False)


def _bracket(onset: Onset) -> str:
    """The two neighbours on the grid of g between which something was first seen."""
    if math.isnan(onset.simulated):
        return "not seen"
    return f"{onset.before:.4f} and {onset.simulated:.4f}"


def _error(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1e}"


def _against_its_solution(config: str, overrides: list[str] | None, output: Path | None) -> None:
    """Run an experiment without a target, and hold it against the exact solution."""
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

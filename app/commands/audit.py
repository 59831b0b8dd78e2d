"""The command that holds stored sharpnesses against the truth: audit."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sharpness_phases.commands.options import AllowCode, Config, JsonFile, Output, Overrides, experiment_of
from sharpness_phases.commands.output import one_by_one, out, write_json

if TYPE_CHECKING:
    from sharpness_phases.analysis.audit import Verdict

Share = Annotated[float, typer.Option("--share", min=1e-6, max=1.0, help="Share of the stored sharpnesses.")]
ChoiceSeed = Annotated[int, typer.Option("--seed", min=0, help="Fixes which of them.")]


def audit(
    config: Config,
    overrides: Overrides = None,
    share: Share = 0.1,
    seed: ChoiceSeed = 0,
    output: Output = None,
    json_file: JsonFile = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Measure a share of a folder's stored sharpnesses anew: cold, in float64, by another solver, to 1e-5."""
    from sharpness_phases.commands.console import plain_table

    experiment = experiment_of(config, overrides, output, allow_custom_code)
    found, path = experiment.audit(share, seed, partial(one_by_one, "sharpnesses"))
    rows = [
        [e.kind, f"{e.number}", *(_share_of(value) for value in (e.median, e.q95, e.q99, e.largest)), f"{e.beyond}"]
        for e in found.errors
    ]
    names = ("sharpnesses", "number", "median", "95%", "99%", "largest", f"beyond {found.claim:.1%}")
    out.print(plain_table(f"Relative errors of stored sharpnesses of {experiment.config.name}", names, rows))
    out.print(_sentence(found), markup=False)
    out.print(f"Table: {path}", markup=False)
    named = {"name": experiment.config.name, "share": share, "seed": seed, "holds": found.holds}
    write_json(json_file, named | found._asdict() | {"errors": [each._asdict() for each in found.errors]})
    if not found.holds:
        raise typer.Exit(1)


def _share_of(error: float) -> str:
    return "-" if math.isnan(error) else f"{error:.1e}"


def _sentence(found: Verdict) -> str:
    """The verdict in words."""
    said = f"{found.decisions} of them answer on which side of a threshold they lie: {found.wrong} wrongly"
    said += f" ({found.near} within {found.claim:.1%} of the threshold)." if found.near else "."
    if found.not_repeated:
        said += f" {found.not_repeated} could not be audited: training went another way when it was repeated."
    return said

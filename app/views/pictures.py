"""The list of pictures: all that `phases run` draws of an experiment and `phases plot` can draw, an entry each.

Files, captions, the lines of the console, the sections of the report and the options of `phases plot` follow from
`PICTURES`; the names of pictures stand nowhere else. What draws is imported when it is first asked for: help and
completion read the list, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from sharpness_phases.config.over import axis_over, folder_of
from sharpness_phases.errors import UserError
from sharpness_phases.views.kind import Choice, File, Kind, Table

if TYPE_CHECKING:
    from sharpness_phases.analysis.findings import Findings
    from sharpness_phases.analysis.regimes import RegimeSettings
    from sharpness_phases.views.diagram import PhaseDiagram
    from sharpness_phases.views.final_loss import FinalLossMap
    from sharpness_phases.views.regimes import RegimeFigure
    from sharpness_phases.views.saturation import SaturationDiagram, SaturationFigure
    from sharpness_phases.views.style import Picture
    from sharpness_phases.views.trajectories import TrajectoryFigure


class _OnAxis(TypedDict):
    """What pictures over c say of it: where the edge is, and what c is."""

    edge: float
    c_in_words: str


def _axis_of(findings: Findings) -> _OnAxis:
    return {"edge": findings.edge_constant, "c_in_words": findings.axis.c_in_words}


def phase_diagram(findings: Findings, over: str | None = None) -> PhaseDiagram:
    """The phase diagram over c and the networks' shape.

    Args:
        findings: What the runs say.
        over: Vertical axis, as `PhaseAnalyzer.phase_diagram` takes it.

    Returns:
        The picture; of an experiment over `sweep.over` along that axis.

    Raises:
        ValueError: If no constants are known, or there is no such axis.
    """
    from sharpness_phases.views.diagram import Over, PhaseDiagram

    if (along := axis_over(findings.config.sweep.over)) is not None:
        if over is not None:
            raise ValueError(f"The vertical axis is {along.key}, of `sweep.over`. Received: over={over!r}.")
        return PhaseDiagram(findings.summary, title=findings.title, along=along.key, **_axis_of(findings))
    axis = None if over is None else Over(over)
    return PhaseDiagram(findings.summary, title=findings.title, over=axis, **_axis_of(findings))


def final_loss_map(findings: Findings) -> FinalLossMap:
    """The final loss over c and the axis of `sweep.over`; a `ValueError` without one, or without runs to their end."""
    from sharpness_phases.views.final_loss import FinalLossMap

    if (along := axis_over(findings.config.sweep.over)) is None:
        raise ValueError("A map of final losses is along the axis of `sweep.over`. Received: an experiment without.")
    return FinalLossMap(findings.final_loss(), along.key, findings.title, **_axis_of(findings))


def trajectory_figure(findings: Findings, seed: int | None = None) -> TrajectoryFigure:
    """Loss and sharpness over the steps of one run in each phase, coloured by c.

    Args:
        findings: What the runs say.
        seed: Which initialisation; the first by default.

    Returns:
        The picture; a `ValueError` if there are no runs of that seed.
    """
    from sharpness_phases.views.trajectories import TrajectoryFigure

    return TrajectoryFigure(
        findings.trajectories(),
        seed,
        findings.title,
        findings.axis.c_in_words,
        findings.critical_constants(),
        findings.config.sharpness.every,
    )


def saturation_figure(findings: Findings) -> SaturationFigure:
    """lambda_tau / lambda_0, chi and chi' over c, with c_crit; a `ValueError` if too few c were measured."""
    from sharpness_phases.views.saturation import SaturationFigure

    return SaturationFigure(findings.saturation(), findings.critical(), findings.title, **_axis_of(findings))


def saturation_diagram(findings: Findings) -> SaturationDiagram:
    """The saturated sharpness over c and 1/w, with c_crit and c_max; a `ValueError` if it was not measured."""
    from sharpness_phases.views.saturation import SaturationDiagram

    return SaturationDiagram(findings.saturation(), findings.summary, findings.title, **_axis_of(findings))


def regime_figure(
    findings: Findings, *run_ids: str, settings: RegimeSettings | None = None, seed: int | None = None
) -> RegimeFigure:
    """The sharpness and the loss of runs, with their regimes shaded.

    Args:
        findings: What the runs say.
        run_ids: Names of runs; by default the long runs of the first network's first initialisation.
        settings: Thresholds; the defaults if None.
        seed: The initialisation, where no runs are named; the first one if None.

    Returns:
        The picture; a `KeyError` if there is no such run, a `ValueError` if one has no sharpness, or there is none.
    """
    from sharpness_phases.views.regimes import LabelledRun, RegimeFigure

    table = findings.regime_table(settings)
    if seed is not None:
        table = table[table["seed"] == seed]
    if not run_ids and not table.empty:
        cell = table[["depth", "width", "seed"]]
        run_ids = tuple(dict.fromkeys(table[(cell == cell.iloc[0]).all(axis=1)]["run_id"]))
    shown = []
    for name in run_ids:
        trajectory, _ = findings.run(name)
        c = float(findings.runs.loc[findings.runs["run_id"] == name, "c"].iloc[0])
        shown.append(LabelledRun(f"c = {c:.3g}", trajectory, findings.edge(name), findings.regimes(name, settings)))
    return RegimeFigure(shown, findings.title, findings.edge_in_words)


def _lacks_constants(findings: Findings) -> str | None:
    if findings.constants_are_known:
        return None
    return "no initialisation's critical constants are known; go on with `phases run`"


def _lacks_final_losses(findings: Findings) -> str | None:
    from sharpness_phases.analysis.over import OverFindings

    if not isinstance(findings, OverFindings):
        return "a map of final losses needs an axis: run with sweep.over, such as {optimizer.warmup.steps: [0, 10]}"
    if not findings.shows_final_loss:
        return "the final loss of most runs is not known; run with sweep.search: exhaustive"
    return "no run was trained to its end; go on with `phases run`" if findings.final_loss().empty else None


def _lacks_saturation(findings: Findings) -> str | None:
    if findings.saturation_is_known:
        return None
    return "the saturated sharpness was not measured at enough c; run with analysis.saturation: true"


def _lacks_long_runs(findings: Findings) -> str | None:
    if not findings.edge_is_known:
        return f"regimes need the stability edge, which is not known of {findings.config.optimizer.name}"
    if not findings.regime_table().empty:
        return None
    return "no long runs with a sharpness; regimes need training.steps above analysis.transient_steps"


def _lacks_trained_runs(findings: Findings) -> str | None:
    return "no run has trained yet; go on with `phases run`" if findings.trajectories().empty else None


PHASE_DIAGRAM = File(
    "phase_diagram",
    "Phases of early training over the learning-rate constant c = ηλ₀, of other optimizers than SGD c = 2η/η_edge. "
    "Markers: medians over initialisations, bars: quartiles, hollow with an arrow: beyond the grid of c. Dashed: the "
    "limit on a quadratic loss, c = 2; with training.momentum m, c = 2(1 + m).",
    vector=True,
    place="Phase diagram",
    section="diagram",
)

PICTURES = (
    Kind(
        "diagram",
        (
            PHASE_DIAGRAM,
            File(
                "phase_diagram_over_depth",
                "Phase diagram over c and the depth, a panel for every width.",
                Choice(over="depth"),
                with_depths=True,
            ),
            File(
                "phase_diagram_over_ratio",
                "Phase diagram over c and depth / width, all networks in one panel; where several have one ratio, the "
                "areas pass through the median of their boundaries.",
                Choice(over="ratio"),
                with_depths=True,
            ),
        ),
        _lacks_constants,
        lambda findings, choice: phase_diagram(findings, choice.over),
        has_axis=True,
        shows_constants=True,
        along=True,
    ),
    Kind(
        "final_loss",
        (
            File(
                "final_loss",
                "Loss after the last step, in units of that before training, over c and the axis of `sweep.over`: "
                "medians over initialisations. Dots: the best c; grey: training diverges; white: not trained to its "
                "end, as beyond the first c at which an initialisation diverges early.",
                vector=True,
                place="Final loss",
            ),
        ),
        _lacks_final_losses,
        lambda findings, choice: final_loss_map(findings),
        on_request=True,
        table=Table("final_loss.csv", lambda findings: findings.final_loss()),
        along=True,
    ),
    Kind(
        "saturation",
        (
            File(
                "saturation",
                "Saturated sharpness λ_τ / λ₀ over c, its susceptibilities, and c_crit with its 95% interval.",
                place="Saturation",
            ),
        ),
        _lacks_saturation,
        lambda findings, choice: saturation_figure(findings),
        on_request=True,
    ),
    Kind(
        "saturation_diagram",
        (
            File(
                "saturation_diagram",
                "Saturated sharpness λ_τ / λ₀ over c and 1 / width, with c_crit (bars: 95% interval) and c_max "
                "(quartiles).",
                place="Saturation",
            ),
        ),
        _lacks_saturation,
        lambda findings, choice: saturation_diagram(findings),
        on_request=True,
    ),
    Kind(
        "regimes",
        (
            File(
                "regimes",
                "Sharpness in units of the stability edge, and loss, of the first initialisation; regimes are shaded.",
                place="Regimes",
                section="regimes",
            ),
        ),
        _lacks_long_runs,
        lambda findings, choice: regime_figure(findings, seed=choice.seed),
        on_request=True,
        seeds=lambda findings: set(findings.regime_table()["seed"]),
        table=Table("regimes.csv", lambda findings: findings.regime_table()),
    ),
    Kind(
        "trajectories",
        (
            File(
                "trajectories",
                "Loss and sharpness over the steps of one run in each phase of every network, relative to their "
                "initial values, coloured by c. Lines join neighbouring steps only: gaps were not measured.",
                place="Trajectories",
                section="trajectories",
            ),
        ),
        _lacks_trained_runs,
        lambda findings, choice: trajectory_figure(findings, choice.seed),
        seeds=lambda findings: set(findings.trajectories()["seed"]),
    ),
)
"""All pictures, in the order in which `phases run` draws and names them."""

KINDS = {kind.name: kind for kind in sorted(PICTURES, key=lambda kind: kind.on_request)}
"""The kinds by name, in the order in which `phases plot` names them."""

DEFAULT_KIND = PICTURES[0].name
"""What `phases plot` draws unless told otherwise."""


def kinds_with_axis() -> list[str]:
    """Names of the kinds for which `Choice.over` means something."""
    return [kind.name for kind in KINDS.values() if kind.has_axis]


def kinds_with_seed() -> list[str]:
    """Names of the kinds for which `Choice.seed` means something."""
    return [kind.name for kind in KINDS.values() if kind.seeds is not None]


def picture(findings: Findings, name: str, over: str | None = None, seed: int | None = None) -> Picture:
    """A picture of an experiment.

    Args:
        findings: What its runs say.
        name: One of `KINDS`.
        over: As in `Choice`.
        seed: As in `Choice`.

    Returns:
        The picture, to draw or to save.

    Raises:
        UserError: If the runs do not hold what it shows, or something is chosen that means nothing for it.
    """
    kind = KINDS[name]
    if (along := axis_over(findings.config.sweep.over)) is not None and (not kind.along or over is not None):
        shown = " and ".join(each.name for each in KINDS.values() if each.along)
        raise UserError(
            f"of an experiment over {along.key} only {shown} along it are drawn; what shows one value of it is in "
            f"the folder {folder_of(along.key, along.values[0])} and those beside it"
        )
    for option, value, meant in (("--over", over, kinds_with_axis()), ("--seed", seed, kinds_with_seed())):
        if value is not None and name not in meant:
            raise UserError(f"{option}: only with --kind {' or '.join(meant)}; got --kind {name}")
    if (lacking := kind.lacks(findings)) is not None:
        raise UserError(lacking)
    if seed is not None and kind.seeds is not None and seed not in (known := kind.seeds(findings)):
        raise UserError(f"--seed: must be one of {', '.join(map(str, sorted(known)))}; got {seed}")
    return kind.draw(findings, Choice(over, seed))


def file_named(name: str) -> tuple[Kind, File]:
    """An entry of the list.

    Args:
        name: `File.name`.

    Returns:
        The kind of picture that the file shows, and the file.

    Raises:
        KeyError: If no picture has a file of that name.
    """
    for kind in PICTURES:
        for file in kind.files:
            if file.name == name:
                return kind, file
    raise KeyError(name)


def places(folder: Path) -> dict[str, list[Path]]:
    """The files that the console names, by the line that does, whether or not they are there."""
    lines: dict[str, list[Path]] = {}
    for kind in PICTURES:
        for file in kind.files:
            if file.place is not None:
                beside = [] if kind.table is None else [folder / kind.table.name]
                lines.setdefault(file.place, []).extend([*file.paths(folder), *beside])
    return lines

"""Which pictures can be drawn from stored runs, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sharpness_phases.errors import UserError
from sharpness_phases.views.style import Picture

if TYPE_CHECKING:
    from sharpness_phases.analyzer import PhaseAnalyzer

_MEANS_OVER, _MEAN_SEED = ("diagram",), ("trajectories", "regimes")


def picture(analyzer: PhaseAnalyzer, kind: str, over: str | None = None, seed: int | None = None) -> Picture:
    """A picture of an experiment.

    Args:
        analyzer: The experiment's runs.
        kind: One of `KINDS`.
        over: The vertical axis of the phase diagram: "width", "depth" or "ratio"; its own choice by default.
        seed: Which initialisation is shown, where single ones are; the first by default.

    Returns:
        The picture, to draw or to save.

    Raises:
        UserError: If the runs do not hold what it shows, or an argument means nothing for it.
    """
    for name, value, meant in (("--over", over, _MEANS_OVER), ("--seed", seed, _MEAN_SEED)):
        if value is not None and kind not in meant:
            raise UserError(f"{name}: only with --kind {' or '.join(meant)}; got --kind {kind}")
    return _DRAWN[kind](analyzer, over, seed)


def _diagram(analyzer: PhaseAnalyzer, over: str | None, seed: int | None) -> Picture:
    if not analyzer.constants_are_known:
        raise UserError("no initialisation's critical constants are known; go on with `phases run`")
    return analyzer.phase_diagram(over)


def _trajectories(analyzer: PhaseAnalyzer, over: str | None, seed: int | None) -> Picture:
    runs = analyzer.trajectories()
    if runs.empty:
        raise UserError("no run has trained yet; go on with `phases run`")
    _check_seed(seed, set(runs["seed"]))
    return analyzer.trajectory_figure(seed)


def _saturation(analyzer: PhaseAnalyzer, over: str | None, seed: int | None) -> Picture:
    _check_saturation(analyzer)
    return analyzer.saturation_figure()


def _saturation_diagram(analyzer: PhaseAnalyzer, over: str | None, seed: int | None) -> Picture:
    _check_saturation(analyzer)
    return analyzer.saturation_diagram()


def _regimes(analyzer: PhaseAnalyzer, over: str | None, seed: int | None) -> Picture:
    table = analyzer.regime_table()
    if table.empty:
        raise UserError("no long runs with a sharpness; regimes need training.steps above analysis.transient_steps")
    _check_seed(seed, set(table["seed"]))
    return analyzer.regime_figure(seed=seed)


_DRAWN: dict[str, Callable[[PhaseAnalyzer, str | None, int | None], Picture]] = {
    "diagram": _diagram,
    "trajectories": _trajectories,
    "saturation": _saturation,
    "saturation_diagram": _saturation_diagram,
    "regimes": _regimes,
}

KINDS = tuple(_DRAWN)
"""Names of the pictures."""


def _check_saturation(analyzer: PhaseAnalyzer) -> None:
    if not analyzer.saturation_is_known:
        raise UserError("the saturated sharpness was not measured at enough c; run with analysis.saturation: true")


def _check_seed(seed: int | None, known: set[int]) -> None:
    if seed is not None and seed not in known:
        raise UserError(f"--seed: must be one of {', '.join(map(str, sorted(known)))}; got {seed}")

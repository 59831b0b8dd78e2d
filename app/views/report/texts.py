"""The report's sentences: what was run, captions, and what pictures say to those who cannot see them."""

from __future__ import annotations

import pandas as pd

from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.config.schema import ExperimentConfig

_CAPTIONS = {
    "phase_diagram": "Phases of early training over the learning-rate constant c = ηλ₀. Markers: means over "
    "initialisations, bars: quartiles, hollow: some are censored. Dashed: c = 2, the limit of a quadratic loss.",
    "phase_diagram_over_depth": "Phase diagram over c and the depth, a panel for every width.",
    "phase_diagram_over_ratio": "Phase diagram over c and depth / width, all networks in one panel.",
    "saturation": "Saturated sharpness λ_τ / λ₀ over c, its susceptibilities, and c_crit.",
    "saturation_diagram": "Saturated sharpness λ_τ / λ₀ over c and 1 / width, with c_crit and c_max.",
    "regimes": "Sharpness in units of 2/η, and loss, of the first initialisation; regimes are shaded.",
    "trajectories": "Loss and sharpness over the steps, relative to their initial values, coloured by c.",
}


def caption(name: str) -> str:
    """The caption of a picture."""
    return _CAPTIONS.get(name, name.replace("_", " "))


def alt_text(name: str, title: str, summary: pd.DataFrame) -> str:
    """What a picture says, in words.

    Args:
        name: Of the picture.
        title: What was trained on what.
        summary: A table as `analysis.tables.summary_table` returns it.

    Returns:
        The text; for phase diagrams with the mean constants of every network.
    """
    text = f"{title}. {caption(name)}"
    if not name.startswith("phase_diagram"):
        return text
    known = summary[(summary["n"] > 0) & summary["constant"].isin(BOUNDARIES)]
    networks = []
    for (depth, width), rows in known.groupby(["depth", "width"], sort=True):
        means = zip(rows["constant"], rows["mean"], strict=True)
        values = ", ".join(f"{constant} {mean:.3g}" for constant, mean in means)
        networks.append(f"depth {depth}, width {width}: {values}")
    return f"{text} Means: {'; '.join(networks)}." if networks else text


def description(config: ExperimentConfig) -> str:
    """One sentence about what was run."""
    sweep, training, grid = config.sweep, config.training, config.sweep.lr_exponents
    networks = f"{_list('depth', sweep.depths)} and {_list('width', sweep.widths)}"
    seeds = "one initialisation" if sweep.seeds == 1 else f"{sweep.seeds} initialisations"
    return (
        f"Networks of {networks}, {seeds} each, were trained for {_count(training.steps, 'step')} at learning rates "
        f"η = c / λ₀, where λ₀ is the sharpness (the top eigenvalue of the loss Hessian) before training and c was "
        f"searched between {2.0**grid.start:.3g} and {2.0**grid.stop:.3g}."
    )


def settings(config: ExperimentConfig) -> dict[str, str]:
    """What was run, as names and texts."""
    model, training, grid = config.model, config.training, config.sweep.lr_exponents
    own = "your own model" if model.is_custom else f"{model.activation}, {model.parameterization} parameterization"
    momentum = f", momentum {training.momentum:g}" if training.momentum else ""
    batch = min(training.batch_size, config.train_examples)
    return {
        "Model": f"{model.family} ({own})",
        "Data": f"{config.data.dataset}, {_count(config.train_examples, 'example')}",
        "Loss": config.loss,
        "Training": f"SGD{momentum}, batches of {batch}, {_count(training.steps, 'step')}",
        "Sharpness": f"{config.sharpness.solver}, on {_count(config.sharpness.examples, 'example')}",
        "c = 2^x": f"x from {grid.start:g} to {grid.stop:g} in steps of {grid.step:g}, {config.sweep.search} search",
    }


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _list(name: str, values: list[int]) -> str:
    if len(values) == 1:
        return f"{name} {values[0]}"
    return f"{name}s {', '.join(map(str, values[:-1]))} and {values[-1]}"

"""The report's sentences: what was run, and what pictures say to those who cannot see them."""

from __future__ import annotations

import pandas as pd

from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.data.catalogue import in_words
from sharpness_phases.runs.axis import axis_of, optimizer_in_words, preconditions
from sharpness_phases.views.by_network import networks, written


def alt_text(caption: str, title: str, summary: pd.DataFrame | None) -> str:
    """What a picture says, in words.

    Args:
        caption: Of the picture.
        title: What was trained on what.
        summary: A table as `analysis.tables.summary_table` returns it, of a picture that shows its constants.

    Returns:
        The text; with a summary, the boundaries between the phases of every network, too.
    """
    text = f"{title}. {caption}"
    boundaries = [] if summary is None else _boundaries(summary)
    return f"{text} Boundaries: {'; '.join(boundaries)}." if boundaries else text


def _boundaries(summary: pd.DataFrame) -> list[str]:
    """A text for every network."""
    texts = []
    for depth, width, constants in networks(summary):
        known = [f"{name} {written(constants[name].boundary)}" for name in BOUNDARIES]
        texts.append(f"depth {depth}, width {width}: {', '.join(known)}")
    return texts


def description(config: ExperimentConfig) -> str:
    """One sentence about what was run."""
    sweep, training, grid = config.sweep, config.training, config.sweep.lr_exponents
    networks = f"{_list('depth', sweep.depths)} and {_list('width', sweep.widths)}"
    seeds = "one initialisation" if sweep.seeds == 1 else f"{sweep.seeds} initialisations"
    return (
        f"Networks of {networks}, {seeds} each, were trained for {_count(training.steps, 'step')} at learning rates "
        f"{_rates(config)} before training and c was "
        f"searched between {2.0**grid.start:.3g} and {2.0**grid.stop:.3g}."
    )


def _rates(config: ExperimentConfig) -> str:
    """What c is, and the sharpness that it is measured by."""
    axis = axis_of(config)
    operator = "loss Hessian"
    if preconditions(config.trained_by):
        operator += " H, preconditioned by the optimizer: of P^-½ H P^-½"
    of = f"the sharpness (the top eigenvalue of the {operator})"
    if axis.is_rate_times_sharpness:
        return f"η = c / λ₀, where λ₀ is {of}"
    edge = f"the optimizer's stability edge, {axis.edge_in_words}"
    return f"η = c η_edge / 2, where η_edge is the rate at which {edge}, is {of}"


def settings(config: ExperimentConfig) -> dict[str, str]:
    """What was run, as names and texts."""
    model, training, grid = config.model, config.training, config.sweep.lr_exponents
    own = "your own model" if model.is_custom else f"{model.activation}, {model.parameterization} parameterization"
    own += "" if model.normalization == "none" else f", {model.normalization} normalization"
    optimizer = optimizer_in_words(config.trained_by)
    examples = config.train_examples  # 0: those of a text that is not here
    batch = min(training.batch_size, examples or training.batch_size)
    return {
        "Model": f"{model.family} ({own})",
        "Data": in_words(config.data.info, examples),
        "Loss": config.loss,
        "Training": f"{optimizer}, batches of {batch}, {_count(training.steps, 'step')}",
        "Sharpness": f"{config.sharpness.solver}, on {_count(config.sharpness.examples, 'example')}",
        "c = 2^x": f"x from {grid.start:g} to {grid.stop:g} in steps of {grid.step:g}, {config.sweep.search} search",
    }


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _list(name: str, values: list[int]) -> str:
    if len(values) == 1:
        return f"{name} {values[0]}"
    return f"{name}s {', '.join(map(str, values[:-1]))} and {values[-1]}"

"""The commands that tell beforehand what an experiment takes: plan, sharpness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sharpness_phases.commands.options import AllowCode, Config, JsonFile, Overrides, experiment_of
from sharpness_phases.commands.output import out, write_json

if TYPE_CHECKING:
    from sharpness_phases.config.schema import ExperimentConfig
    from sharpness_phases.sweep.cost import Estimate


def plan(
    config: Config,
    overrides: Overrides = None,
    tflops: Annotated[
        float | None,
        typer.Option("--tflops", min=1e-3, help="Estimate for a device of this rate, such as 67 for an H100."),
    ] = None,
    json_file: JsonFile = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Print the runs, products, FLOPs and time of an experiment; run nothing."""
    from sharpness_phases.commands.console import duration
    from sharpness_phases.config.schema import variants

    experiment = experiment_of(config, overrides, None, allow_custom_code)
    estimates = experiment.plan(None if tflops is None else tflops * 1e12)
    from sharpness_phases.sweep.cost import around_the_runs  # which imports TensorFlow: quietly, by now

    values = [each.value for each in variants(experiment.config)]
    along = [value for value in values for _ in range(len(estimates) // len(values))]
    _print_networks(experiment.config, estimates, along)
    parts = ("runs", "hvps", "flops", "seconds", "low", "high")
    total = {name: sum(getattr(e, name) for e in estimates) for name in parts}
    around = around_the_runs(experiment.config, estimates)
    total |= {name: total[name] + around for name in ("seconds", "low", "high")}
    where = "on this machine" if tflops is None else f"at {tflops:g} TFLOP/s"
    out.print(
        f"In all: {total['runs']} runs, {total['hvps']} Hessian-vector products, {total['flops']:.1e} FLOPs, "
        f"about {duration(total['seconds'])} {where} ({duration(total['low'])} to {duration(total['high'])}), "
        f"{around:.0f} s of them to start, to load data and to draw."
    )
    named = {"name": experiment.config.name, "tflops": tflops}
    places = [{key: value for key in experiment.config.sweep.over} for value in along] or [{} for _ in estimates]
    networks = [place | e._asdict() for place, e in zip(places, estimates, strict=True)]
    write_json(json_file, named | total | {"networks": networks})


def _print_networks(config: ExperimentConfig, estimates: Sequence[Estimate], along: Sequence[float]) -> None:
    """A row for each network, at each value of `sweep.over` where there are any."""
    from sharpness_phases.commands.console import plain_table

    columns: dict[str, Callable[[Estimate], str]] = {
        "depth": lambda e: f"{e.depth}",
        "width": lambda e: f"{e.width}",
        "parameters": lambda e: f"{e.parameters:,}",
        "seeds": lambda e: f"{e.initialisations}",
        "runs": lambda e: f"{e.runs}",
        "HVPs": lambda e: f"{e.hvps}",
        "FLOPs": lambda e: f"{e.flops:.1e}",
        "time": lambda e: f"{e.seconds:.0f} s",
        "from": lambda e: e.basis,
    }
    rows = [
        [*(f"{value:g}" for value in along[at : at + 1]), *(text(e) for text in columns.values())]
        for at, e in enumerate(estimates)
    ]
    out.print(plain_table(f"Plan of {config.name} (estimated)", (*config.sweep.over, *columns), rows))


def sharpness(
    config: Config, overrides: Overrides = None, json_file: JsonFile = None, allow_custom_code: AllowCode = False
) -> None:
    """Print the initial sharpness lambda_0 of each network of a config."""
    from sharpness_phases.commands.console import plain_table
    from sharpness_phases.runs.axis import axis_of, preconditions

    experiment = experiment_of(config, overrides, None, allow_custom_code)
    axis = axis_of(experiment.config)
    edge = axis.constant
    found = [
        {
            "depth": cell.depth,
            "width": cell.width,
            "seed": cell.seed,
            "lambda_0": state.sharpness,
            "error": state.error,
            "hvps": state.hvps,
            "loss_0": state.loss,
            "learning_rate_at_edge": axis.rate(edge, state.sharpness),
            "learning_rate_at_c_2": axis.rate(2.0, state.sharpness),
        }
        for cell, state in experiment.initial_sharpness()
    ]
    formats = ("", "", "", ".6g", ".1e", "", ".4g", ".4g")
    shown = [
        {**row, "learning_rate_at_edge": row["learning_rate_at_c_2"]} if math.isnan(edge) else row for row in found
    ]
    rows = [[format(value, spec) for value, spec in zip(row.values(), formats, strict=False)] for row in shown]
    names = (
        "depth",
        "width",
        "seed",
        "lambda_0",
        "error (estimate)",
        "HVPs",
        "loss_0",
        f"eta at c = {2.0 if math.isnan(edge) else edge:g}",
    )
    of = " (of P^-1/2 H P^-1/2)" if preconditions(experiment.config.trained_by) else ""
    out.print(plain_table(f"Initial sharpness of {experiment.config.name}{of}", names, rows))
    write_json(json_file, {"name": experiment.config.name, "networks": found})

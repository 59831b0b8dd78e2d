"""The command that finds a learning rate, or says why one goes wrong: advise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from sharpness_phases.commands.options import AllowCode, JsonFile, Overrides, PictureFile
from sharpness_phases.commands.output import out, write_json
from sharpness_phases.errors import UserError

if TYPE_CHECKING:
    from sharpness_phases.advice.of_config import Trained
    from sharpness_phases.analysis.verdict import Verdict
    from sharpness_phases.recommend import LearningRateAdvice

_Figures: TypeAlias = dict[str, float | int | str | list[str] | dict[str, float] | None]


def advise(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A config, or your own compiled model: package.module:model, with --data."
        ),
    ],
    overrides: Overrides = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="MODULE:DATA", help="Of your own model: arrays (x, y), or a data set."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Of your own arrays: examples in a batch.")
    ] = 32,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps of the training to come.")] = 1000,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="RATE", help="Say instead whether this rate goes wrong, and why."),
    ] = None,
    output: PictureFile = None,
    json_file: JsonFile = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Find a learning rate for a model, its data and its optimizer: rate, ceiling, warm-up, and why."""
    if learning_rate is not None and output is not None:
        raise UserError("--output: a picture is of an advice, and not of a rate; leave out --learning-rate")
    found: list[_Figures] = []
    for each in _models(model, overrides, data, batch_size, allow_custom_code):
        from sharpness_phases.advice.explain import explain_learning_rate
        from sharpness_phases.recommend import recommend_learning_rate

        out.print(each.name, style="bold", markup=False)
        if learning_rate is not None:
            verdict = explain_learning_rate(each.model, each.data, learning_rate, each.batch_size)
            out.print(str(verdict), markup=False)
            found.append(_of_verdict(each.name, verdict))
        else:
            advice = recommend_learning_rate(each.model, each.data, each.batch_size, steps)
            out.print(str(advice), markup=False)
            found.append(_of_advice(each.name, advice))
            if output is not None:
                path = advice.plot(output if len(found) == 1 else _numbered(output, len(found)))
                out.print(f"Picture: {path}", markup=False)
        out.print()
        write_json(json_file, found, more=True)
    write_json(json_file, found)


def _models(
    model: str, overrides: list[str] | None, data: str | None, batch_size: int, allow_custom_code: bool
) -> Iterator[Trained]:
    """What is asked about, by a config or by the user's own names."""
    from sharpness_phases.custom_code import names_custom_code

    own = names_custom_code(model)
    if own and (data is None or not names_custom_code(data)):
        raise UserError("--data: your own model needs data of your own: package.module:data")
    if own and overrides:
        raise UserError("-s: your own model has no config whose keys could be overridden")
    if not own and data is not None:
        raise UserError(f"--data: only with a model of your own, package.module:model; {model} is a config")
    if own:
        from sharpness_phases.training.startup import import_tensorflow

        import_tensorflow()
        from sharpness_phases.advice.of_config import own_model

        yield own_model(model, data or "", batch_size)
        return
    from sharpness_phases.config.trust import checked_config

    checked = checked_config(model, overrides, allow_custom_code)
    from sharpness_phases.training.startup import import_tensorflow

    import_tensorflow()
    from sharpness_phases.advice.of_config import networks_of

    yield from networks_of(checked)


def _numbered(path: Path, number: int) -> Path:
    return path.with_stem(f"{path.stem}-{number}")


def _of_advice(name: str, advice: LearningRateAdvice) -> _Figures:
    """An advice as plain values."""
    warmup = advice.warmup
    return {
        "model": name,
        "optimizer": advice.optimizer,
        "learning_rate": advice.learning_rate,
        "ceiling": advice.ceiling,
        "warmup": None if warmup is None else {"steps": warmup.steps, "first_rate": warmup.first_rate},
        "edge_rate": advice.edge_rate,
        "eta_c": advice.eta_c,
        "sharpness": advice.facts.sharpness,
        "cost": advice.cost,
        "reasons": list(advice.reasons),
    }


def _of_verdict(name: str, verdict: Verdict) -> _Figures:
    """A verdict as plain values."""
    return {
        "model": name,
        "cause": verdict.cause,
        "exceeded": list(verdict.exceeded),
        "leaves_at": verdict.leaves_at,
        "reasons": list(verdict.sentences),
    }

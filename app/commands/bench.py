"""The commands that measure the program itself: bench, scaling, precision."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sharpness_phases.commands.options import AllowCode, JsonFile, OptionalConfig, Overrides
from sharpness_phases.commands.output import logger, out, write_json
from sharpness_phases.errors import UserError

if TYPE_CHECKING:
    import keras

    from sharpness_phases.bench.advice.tasks import Arrays, Task


def bench(
    config: OptionalConfig = "quickstart",
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Initialisations of each network.")] = 1,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Repetitions of our way; the median counts.")] = 3,
    tasks: Annotated[
        str, typer.Option("--tasks", metavar="WORD", help="Of `advice`: only tasks with this word, or half.")
    ] = "",
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Of `advice`: where outcomes are kept; it goes on there.")
    ] = Path("outputs/advice"),
    json_file: JsonFile = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Hold the default way against the published protocol: time, products, memory, constants, roofline.

    `phases bench advice` holds the advice on learning rates against learning-rate finders and the best of a full grid.
    """
    from sharpness_phases.config.trust import checked_config

    if config == "advice":
        _bench_advice(overrides, seeds, tasks, output, json_file)
        return

    checked = checked_config(config, [*(overrides or ()), f"sweep.seeds={seeds}"], allow_custom_code)
    from sharpness_phases.training.startup import import_tensorflow

    import_tensorflow()
    from sharpness_phases.bench.compare import compare
    from sharpness_phases.commands.bench_tables import conclusion, remarks, ways_table
    from sharpness_phases.training.device import describe_device

    out.print(f"On {describe_device(checked.device.xla)}", markup=False)
    found = []
    for comparison in compare(checked, repeats):
        found.append(comparison)
        out.print(ways_table(comparison))
        for line in remarks(comparison):
            out.print(line, markup=False)
        out.print()
        write_json(json_file, [each.to_json() for each in found], more=True)
    write_json(json_file, [each.to_json() for each in found])
    out.print(conclusion(found), markup=False)


def _bench_advice(overrides: list[str] | None, seeds: int, word: str, folder: Path, json_file: Path | None) -> None:
    """Tables of regret, spread and cost, for the tasks that rules were chosen on and for the others."""
    from sharpness_phases.config.trust import checked_config

    data_dir = checked_config("quickstart", overrides).data.data_dir  # -s data.data_dir=...
    from sharpness_phases.training.startup import import_tensorflow

    import_tensorflow()
    from sharpness_phases.bench.advice.benchmark import benchmark, summary
    from sharpness_phases.bench.advice.tasks import TASKS
    from sharpness_phases.commands.bench_tables import advice_table, advice_tasks_table

    chosen = [task for task in TASKS if word in task.name or word == task.part]
    if not chosen:
        raise UserError(f"--tasks {word}: no task's name holds it; there are {', '.join(task.name for task in TASKS)}")
    found = []
    for outcome in benchmark(chosen, range(seeds), folder, data_dir, _advise):
        found.append(outcome)
        logger.info(
            "%s, seed %d, %s: %.3g, regret %.1f%%",
            outcome.task,
            outcome.seed,
            outcome.method,
            outcome.learning_rate,
            100 * outcome.regret,
        )
    for part in ("tuned", "reported"):
        if of_part := [outcome for outcome in found if outcome.part == part]:
            out.print(advice_table(part, summary(of_part)))
    out.print(advice_tasks_table(found))
    write_json(json_file, [outcome._asdict() | {"regret": outcome.regret} for outcome in found])


def _advise(model: keras.Model, data: Arrays, task: Task, seed: int) -> tuple[float, float]:
    """The advice's rate and its cost."""
    from sharpness_phases.recommend import recommend_learning_rate

    advice = recommend_learning_rate(model, data, batch_size=task.batch_size, steps=task.steps, seed=seed)
    return advice.learning_rate, advice.cost


def scaling(
    config: OptionalConfig = "quickstart",
    overrides: Overrides = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over", metavar="AXIS=VALUES", help="Vary width, depth, examples or initialisations: width=64,128"
        ),
    ] = None,
    json_file: JsonFile = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Measure how time and memory of the critical constants grow with width, depth, examples and initialisations."""
    from sharpness_phases.bench.scaling import parse_axes, scale
    from sharpness_phases.commands.bench_tables import scaling_table
    from sharpness_phases.config.trust import checked_config

    axes, checked = parse_axes(over or ()), checked_config(config, overrides, allow_custom_code)
    found = []
    for _, group in groupby(scale(checked, axes), key=lambda point: point.axis):
        points = list(group)
        found += points
        out.print(scaling_table(points))
        out.print()
        write_json(json_file, [point.to_json() for point in found], more=True)
    write_json(json_file, [point.to_json() for point in found])


def precision(
    config: OptionalConfig = "quickstart",
    overrides: Overrides = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Hold lambda_0 in float32 and in TensorFloat-32 (emulated) against float64."""
    from sharpness_phases.config.trust import checked_config

    checked = checked_config(config, overrides, allow_custom_code)
    from sharpness_phases.training.startup import import_tensorflow

    import_tensorflow()
    from sharpness_phases.bench.precision import measure_precision
    from sharpness_phases.commands.console import plain_table

    rows = [
        [
            f"{found.cell.depth}",
            f"{found.cell.width}",
            f"{found.cell.seed}",
            f"{found.sharpness:.6g}",
            f"{found.float_32:+.1e}",
            f"{found.tensor_float_32:+.1e}",
        ]
        for found in measure_precision(checked)
    ]
    names = ("depth", "width", "seed", "lambda_0 in float64", "float32", "TensorFloat-32")
    out.print(plain_table(f"Initial sharpness of {checked.name}: relative differences", names, rows))

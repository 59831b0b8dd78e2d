"""Commands and messages; the work is done by `app.experiment`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.logging import RichHandler

from app.bench.commands import bench, precision, scaling
from app.errors import MachineError, UserError
from app.terminal import AllowCode, Config, OptionalConfig, Output, Overrides, checked_config, err, out

if TYPE_CHECKING:
    from app.analyzer import PhaseAnalyzer
    from app.experiment import Experiment

app = typer.Typer(
    name="phases",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Phase diagrams of early training: how large may the learning rate be, and why?",
)


@app.command()
def run(
    config: Config,
    overrides: Overrides = None,
    output: Output = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set stored runs aside and run everything.")] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Run the I-th of N shares of the networks, for arrays of jobs."),
    ] = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Run what is missing of an experiment, analyse it, draw it. Run again to resume."""
    from app.views.console import ConsoleProgress

    share = None if shard is None else _share(shard)
    if share is not None and fresh:
        raise UserError("--fresh: not with --shard, whose store others share; remove or rename the runs instead")
    experiment = _experiment(config, overrides, output, allow_custom_code)
    try:
        with ConsoleProgress(err) as progress:
            if share is not None:
                count = experiment.run_shard(share, progress)
            else:
                analyzer = experiment.run(progress, fresh=fresh)
    except KeyboardInterrupt:
        words = ["phases", "run", config, *(word for text in overrides or () for word in ("-s", text))]
        words += ["--output", str(output)] if output else []
        words += ["--shard", shard] if shard else []
        err.print(
            f"Interrupted. Finished runs are kept in {experiment.folder}; go on with: {' '.join(words)}",
            markup=False,
        )
        raise typer.Exit(130) from None
    if share is None:
        _show_results(experiment, analyzer)
    else:
        out.print(
            f"Shard {shard} is complete: {count} networks. When all are: phases analyze {experiment.folder}",
            markup=False,
        )


@app.command()
def plan(
    config: Config,
    overrides: Overrides = None,
    tflops: Annotated[
        float | None,
        typer.Option("--tflops", min=1e-3, help="Estimate for a device of this rate, such as 67 for an H100."),
    ] = None,
    allow_custom_code: AllowCode = False,
) -> None:
    """Print the runs, products, FLOPs and time of an experiment; run nothing."""
    from app.views.console import plain_table

    experiment = _experiment(config, overrides, None, allow_custom_code)
    estimates = experiment.plan(None if tflops is None else tflops * 1e12)
    rows = [
        [
            f"{e.depth}",
            f"{e.width}",
            f"{e.parameters:,}",
            f"{e.initialisations}",
            f"{e.runs}",
            f"{e.hvps}",
            f"{e.flops:.1e}",
            f"{e.seconds:.0f} s",
        ]
        for e in estimates
    ]
    names = ("depth", "width", "parameters", "seeds", "runs", "HVPs", "FLOPs", "time")
    out.print(plain_table(f"Plan of {experiment.config.name} (estimated)", names, rows))
    seconds = sum(e.seconds for e in estimates)
    where = "on this machine" if tflops is None else f"at {tflops:g} TFLOP/s"
    out.print(
        f"In all: {sum(e.runs for e in estimates)} runs, {sum(e.hvps for e in estimates)} Hessian-vector products, "
        f"{sum(e.flops for e in estimates):.1e} FLOPs, about {_duration(seconds)} {where}."
    )


@app.command()
def analyze(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `phases run` has written.")],
) -> None:
    """Redo analysis and pictures from stored runs only."""
    from app.experiment import Experiment

    experiment = Experiment.open(folder)
    _show_results(experiment, experiment.analyze())


@app.command()
def sharpness(config: Config, overrides: Overrides = None, allow_custom_code: AllowCode = False) -> None:
    """Print the initial sharpness lambda_0 of each network of a config."""
    from app.views.console import plain_table

    experiment = _experiment(config, overrides, None, allow_custom_code)
    rows = [
        [
            f"{cell.depth}",
            f"{cell.width}",
            f"{cell.seed}",
            f"{state.sharpness:.6g}",
            f"{state.error:.1e}",
            f"{state.hvps}",
            f"{state.loss:.4g}",
            f"{2 / state.sharpness:.4g}",
        ]
        for cell, state in experiment.initial_sharpness()
    ]
    names = ("depth", "width", "seed", "lambda_0", "error (estimate)", "HVPs", "loss_0", "eta at c = 2")
    out.print(plain_table(f"Initial sharpness of {experiment.config.name}", names, rows))


@app.command()
def uv(
    config: OptionalConfig = "laptop/uv",
    overrides: Overrides = None,
    output: Output = None,
) -> None:
    """Run the solvable model: simulated against exact, with its phase diagram."""
    from app.views.console import ConsoleProgress, plain_table

    experiment = _experiment(config, overrides, output)
    with ConsoleProgress(err) as progress:
        result = experiment.run_uv(progress)
    rows = [
        [
            f"{r.width}",
            f"{r.c_loss:.3f}",
            f"{r.c_loss_exact:.3f}",
            f"{r.grid_steps:.0f}",
            f"{r.f:.1e}",
            f"{r.sharpness:.1e}",
        ]
        for r in result.itertuples()
    ]
    names = ("n", "c_loss", "exact", "grid steps apart", "error of f", "error of lambda")
    out.print(plain_table("The uv model: simulated against exact", names, rows))
    out.print(f"Phase diagram: {experiment.folder / 'phase_diagram.png'}", markup=False)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `phases run` has written.")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The sheet (.png, .svg or .pdf).")] = Path(
        "outputs/comparison.png"
    ),
    over: Annotated[
        Literal["width", "depth", "ratio"], typer.Option("--over", help="Vertical axis: 1/width, depth or depth/width.")
    ] = "ratio",
) -> None:
    """Draw the phase diagrams of several experiments on one sheet."""
    from app.experiment import compare as draw

    out.print(f"Comparison: {draw(folders, output, over)}", markup=False)


@app.command()
def configs() -> None:
    """List the shipped configs, with a line each."""
    from app.config.loading import describe_shipped

    for name, line in describe_shipped():
        out.print(f"{name:<28} {line}", markup=False)


for measures_itself in (bench, scaling, precision):
    app.command()(measures_itself)


def main() -> None:
    """Run the command line; errors of the user's leave one message and exit status 2."""
    _set_up_logging()
    command = typer.main.get_command(app)
    try:
        status = command.main(prog_name="phases", standalone_mode=False)
    except UserError as error:
        err.print(str(error), style="red", markup=False)
        status = 2
    except MachineError as error:
        err.print(str(error), style="red", markup=False)
        status = 1
    except (KeyboardInterrupt, typer.Abort):
        err.print("Interrupted.")
        status = 130
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        error.show()  # type: ignore[attr-defined]  # a usage error of click's
        status = error.exit_code
    sys.exit(status if isinstance(status, int) else 0)


def _experiment(
    config: str, overrides: list[str] | None, output: Path | None, allow_custom_code: bool = False
) -> Experiment:
    checked = checked_config(config, overrides, allow_custom_code)
    from app.experiment import Experiment

    return Experiment(checked, output)


def _share(text: str) -> tuple[int, int]:
    """The (i, n) of --shard i/n."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UserError(f"--shard: must be i/n with 1 <= i <= n, such as 3/8; got {text!r}")
    return int(index), int(count)


def _show_results(experiment: Experiment, analyzer: PhaseAnalyzer) -> None:
    from app.views.console import constants_summary, plain_table

    if not analyzer.summary.empty:
        out.print(constants_summary(analyzer.summary))
        if analyzer.constants_are_known:
            out.print(f"Phase diagram: {experiment.folder / 'phase_diagram.png'}", markup=False)
    else:
        out.print(f"No initialisation's search is complete; runs are in {experiment.folder}", markup=False)
    if analyzer.saturation_is_known:
        out.print(f"Saturation:    {experiment.folder / 'saturation.png'}, saturation_diagram.png", markup=False)
    agreement = analyzer.regime_agreement()
    if not agreement.empty:
        rows = [
            [f"{r.depth}", f"{r.width}", f"{r.c:.3g}", f"{r.n}", f"{r.agreement:.0%}"] for r in agreement.itertuples()
        ]
        names = ("depth", "width", "c", "seeds", "equal labels")
        out.print(plain_table("Regimes: steps on which two initialisations agree", names, rows))
    if (experiment.folder / "regimes.png").exists():
        out.print(f"Regimes:       {experiment.folder / 'regimes.png'}", markup=False)
    if experiment.config.tensorboard:
        out.print(f"TensorBoard:   tensorboard --logdir {experiment.folder / 'tensorboard'}", markup=False)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} seconds"
        if seconds < 120
        else f"{seconds / 60:.0f} minutes"
        if seconds < 7200
        else f"{seconds / 3600:.1f} hours"
    )


def _set_up_logging() -> None:
    """Our messages, and of TensorFlow's only errors."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    handler = RichHandler(console=err, show_time=False, show_path=False, show_level=False, markup=False)
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

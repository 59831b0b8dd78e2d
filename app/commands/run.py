"""The commands that carry an experiment out and show what came out: run, analyze."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from sharpness_phases.commands.options import (
    AllowCode,
    Config,
    Folder,
    JsonFile,
    Output,
    Overrides,
    Quiet,
    Verbose,
    experiment_of,
)
from sharpness_phases.commands.output import err, logger, out, progress_console, write_json
from sharpness_phases.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from sharpness_phases.analysis.findings import Findings
    from sharpness_phases.analysis.over import OverFindings
    from sharpness_phases.analyzer import PhaseAnalyzer
    from sharpness_phases.experiment import Experiment


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
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run what is missing of an experiment, analyse it, draw it. Run again to resume."""
    from sharpness_phases.commands.console import ConsoleProgress

    share = None if shard is None else _share(shard)
    if share is not None and fresh:
        raise UserError("--fresh: not with --shard, whose store others share; remove or rename the runs instead")
    experiment = experiment_of(config, overrides, output, allow_custom_code)
    words = ["run", *words_of(config, overrides, output)]
    words += ["--shard", shard] if shard else []
    words += ["--allow-custom-code"] if allow_custom_code else []
    with told_how_to_go_on(experiment, words):
        foretell = _warn_of_hours if logger.isEnabledFor(logging.WARNING) else None
        with ConsoleProgress(progress_console()) as progress:
            if share is not None:
                count = experiment.run_shard(share, progress, foretell)
            else:
                analyzer = experiment.run(progress, fresh, foretell)
    if share is None:
        _show_results(experiment, analyzer)
    else:
        out.print(
            f"Shard {shard} is complete: {count} networks. When all are: phases analyze {experiment.folder}",
            markup=False,
        )


def analyze(folder: Folder, json_file: JsonFile = None, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Redo analysis and pictures from stored runs only."""
    from sharpness_phases.experiment import Experiment

    experiment = Experiment.open(folder)
    analyzer = experiment.analyze()
    _show_results(experiment, analyzer)
    if json_file is not None:
        tables = {"constants": analyzer.critical_constants(), "regimes": analyzer.regime_table()}
        content = {name: table.to_dict("records") for name, table in tables.items()}
        named = {"name": experiment.config.name, "folder": str(folder)}
        write_json(json_file, named | {"summary": analyzer.summary_json()} | content)


def words_of(config: str, overrides: Sequence[str] | None, output: Path | None) -> list[str]:
    """What names an experiment on the command line.

    Args:
        config: A path or the name of a shipped config.
        overrides: Texts `key=value`.
        output: Folder of the results, if one was named.

    Returns:
        The words that follow the command's name.
    """
    given = [config, *(word for text in overrides or () for word in ("-s", text))]
    return given + (["--output", str(output)] if output else [])


@contextmanager
def told_how_to_go_on(experiment: Experiment, words: Sequence[str]) -> Iterator[None]:
    """After Ctrl-C, say which command goes on, and end with status 130.

    Args:
        experiment: What is run within.
        words: The command that runs it, without the program's name.

    Raises:
        Exit: After Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        command = shlex.join(["phases", *words])
        err.print(f"Interrupted. Finished runs are kept in {experiment.folder}; go on with: {command}", markup=False)
        raise typer.Exit(130) from None


def _share(text: str) -> tuple[int, int]:
    """The (i, n) of --shard i/n."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UserError(f"--shard: must be i/n with 1 <= i <= n, such as 3/8; got {text!r}")
    return int(index), int(count)


def _warn_of_hours(seconds: float) -> None:
    from sharpness_phases.commands.console import duration

    logger.warning(
        "This will take about %s on this machine. Ctrl-C keeps finished runs, and the same command goes on; "
        "`phases plan` tells what each network takes.",
        duration(seconds),
    )


def _show_results(experiment: Experiment, analyzer: PhaseAnalyzer) -> None:
    from sharpness_phases.analysis.over import OverFindings
    from sharpness_phases.commands.console import places

    if isinstance(analyzer, OverFindings):
        for value, findings in analyzer.variants.items():
            out.print(f"{analyzer.key} = {value}", markup=False)
            _show_tables(experiment, findings)
        _show_best_rates(analyzer)
    else:
        _show_tables(experiment, analyzer)
    for line in places(experiment.folder):
        out.print(line, markup=False)


def _show_best_rates(findings: OverFindings) -> None:
    """How well training does along the axis, where runs were trained to their end."""
    from sharpness_phases.commands.console import plain_table

    best = findings.best_rates()
    if best.empty:
        return
    rows = [
        [f"{r.depth}", f"{r.width}", f"{value:g}", f"{r.c_best:.3g}", f"{r.share:.3g}", f"{r.c_trains:.3g}"]
        for r, value in zip(best.itertuples(), best[findings.key], strict=True)
    ]
    names = ("depth", "width", findings.key, "best c", "L_T / L_0 there", "trains up to c")
    out.print(plain_table("Final loss: median over initialisations", names, rows))


def _show_tables(experiment: Experiment, analyzer: Findings) -> None:
    from sharpness_phases.commands.console import constants_summary, plain_table

    if not analyzer.summary.empty:
        out.print(constants_summary(analyzer.summary))
    else:
        out.print(f"No initialisation's search is complete; runs are in {experiment.folder}", markup=False)
    agreement = analyzer.regime_agreement()
    if not agreement.empty:
        rows = [
            [f"{r.depth}", f"{r.width}", f"{r.c:.3g}", f"{r.n}", f"{r.agreement:.0%}"] for r in agreement.itertuples()
        ]
        names = ("depth", "width", "c", "seeds", "equal labels")
        out.print(plain_table("Regimes: steps on which two initialisations agree", names, rows))

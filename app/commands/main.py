"""The command line `phases`: its commands, and the exit status and message that an error ends with."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated

import typer

from sharpness_phases.commands.advise import advise
from sharpness_phases.commands.audit import audit
from sharpness_phases.commands.bench import bench, precision, scaling
from sharpness_phases.commands.examples import examples
from sharpness_phases.commands.options import Quiet, Verbose
from sharpness_phases.commands.output import err, out, show_messages
from sharpness_phases.commands.plan import plan, sharpness
from sharpness_phases.commands.run import analyze, run
from sharpness_phases.commands.show import board, compare, configs, plot
from sharpness_phases.commands.uv import UVCommand, uv
from sharpness_phases.errors import MachineError, UserError

app = typer.Typer(
    name="phases",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=examples(""),
    help="Phase diagrams of early training: how large may the learning rate be, and why?",
)


def _print_version(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            number = installed("sharpness-phases")
        except PackageNotFoundError:  # a checkout that is not installed
            number = "not installed"
        out.print(f"phases {number}", markup=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """The options before the command: each acts by its callback, as soon as it is read."""


for command in (
    run,
    analyze,
    uv,
    plan,
    advise,
    sharpness,
    plot,
    compare,
    board,
    configs,
    audit,
    bench,
    scaling,
    precision,
):
    kind = UVCommand if command is uv else None
    app.command(cls=kind, epilog=examples(command.__name__))(command)


def main() -> None:
    """Run the command line; errors of the user's leave one message and exit status 2."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for stream in (sys.stdout, sys.stderr):  # what a terminal's characters lack is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    show_messages()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        status = typer.main.get_command(app).main(prog_name="phases", standalone_mode=False)
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

"""The arguments that several commands take, and the experiment that they name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sharpness_phases.commands import completion
from sharpness_phases.commands.output import STANDARD_OUTPUT, out, show_messages
from sharpness_phases.errors import UserError

if TYPE_CHECKING:
    from sharpness_phases.experiment import Experiment


def _quiet(value: bool) -> None:
    if value:
        show_messages(logging.ERROR)


def _verbose(value: bool) -> None:
    if value:
        show_messages(logging.DEBUG)


def _json_file(path: Path | None) -> Path | None:
    """With "-", all that is for people goes to standard error, so that standard output is JSON alone."""
    if path is not None and path.is_dir():
        raise UserError(f"--json {path}: a folder; name a file in it, or - for standard output")
    out.stderr = path == STANDARD_OUTPUT
    return path


def _picture_file(path: Path | None) -> Path | None:
    from sharpness_phases.views.style import PICTURE_ENDINGS

    if path is not None and (path.suffix.lower() not in PICTURE_ENDINGS or path.is_dir()):
        raise UserError(f"--output {path}: must be a file that ends with one of {', '.join(PICTURE_ENDINGS)}")
    return path


Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", callback=_quiet, help="Print only errors, results and where they are.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", callback=_verbose, help="Print details of what is done.")]
Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        autocompletion=completion.configs,
        help="A YAML file, or the name of a shipped config (quickstart).",
    ),
]
OptionalConfig = Annotated[
    str,
    typer.Argument(metavar="[CONFIG]", autocompletion=completion.configs, help="A YAML file or a shipped config."),
]
Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", autocompletion=completion.folders, help="Folder that `phases run` has written."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Override a key: -s sweep.widths=[64,128]"),
]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="DIR", help="Folder of the results; outputs/NAME by default.")
]
PictureFile = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", callback=_picture_file, help="Where to: a .png, .svg or .pdf file."),
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-custom-code", help="Run the code that a config from elsewhere names (package.module:name)."),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=_json_file,
        help="Write the figures here as JSON, too; - for standard output, and nothing else there.",
    ),
]


def experiment_of(
    config: str, overrides: list[str] | None, output: Path | None, allow_custom_code: bool = False
) -> Experiment:
    """The experiment that a command's arguments name; a wrong config is told of before anything heavy is imported."""
    from sharpness_phases.config.trust import checked_config

    checked = checked_config(config, overrides, allow_custom_code)
    from sharpness_phases.experiment import Experiment

    return Experiment(checked, output)

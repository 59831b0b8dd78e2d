"""What all commands share: where they print, and the arguments that several of them take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from app.config.schema import ExperimentConfig

Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a shipped config (quickstart).")
]
OptionalConfig = Annotated[str, typer.Argument(metavar="[CONFIG]", help="A YAML file or a shipped config.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Override a key: -s sweep.widths=[64,128]"),
]
Output = Annotated[Path | None, typer.Option("--output", metavar="DIR", help="Folder of the results [outputs/NAME].")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures here.")]

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 100)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def checked_config(config: str, overrides: list[str] | None) -> ExperimentConfig:
    """Read and check a config, before anything heavy is imported.

    Args:
        config: Path of a YAML file, or the name of a shipped config.
        overrides: Texts `key.path=value`.

    Returns:
        The config.

    Raises:
        UserError: If it is wrong.
    """
    from app.config.loading import load_config

    return load_config(config, overrides or ())

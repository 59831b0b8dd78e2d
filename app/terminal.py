"""What all commands share: where they print, and the arguments that several of them take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app.errors import UserError
from app.own import is_own, own_file

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
AllowCode = Annotated[
    bool,
    typer.Option("--allow-custom-code", help="Run the code that a config from elsewhere names (package.module:name)."),
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures here.")]

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 100)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def checked_config(config: str, overrides: list[str] | None, allow_custom_code: bool = False) -> ExperimentConfig:
    """Read and check a config, before anything heavy is imported.

    Args:
        config: Path of a YAML file, or the name of a shipped config.
        overrides: Texts `key.path=value`.
        allow_custom_code: Whether the config may name any code; else only code in the current folder, if it is in the
            current folder itself, or what the overrides name.

    Returns:
        The config.

    Raises:
        UserError: If it is wrong, or names code that it may not.
    """
    from app.config.loading import load_config

    checked = load_config(config, overrides or ())
    if not allow_custom_code:
        for key, location in (("model.family", checked.model.family), ("loss", checked.loss)):
            typed = any(text.partition("=")[0].strip() in (key, key.partition(".")[0]) for text in overrides or ())
            if is_own(location) and not typed and not (_is_here(Path(config)) and _is_here(own_file(location))):
                raise UserError(
                    f"{config}: {key}: {location!r} would run code, and not both this config and that code are in the "
                    "current folder. If you trust them, add --allow-custom-code"
                )
    return checked


def _is_here(file: Path | None) -> bool:
    """Whether a file is in the current folder or below, and was not installed there."""
    here = Path.cwd().resolve()
    return file is not None and file.resolve().is_relative_to(here) and "site-packages" not in file.resolve().parts

"""Which code a config may run."""

from __future__ import annotations

from pathlib import Path

from sharpness_phases.config.loading import load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.custom_code import is_own_file, names_custom_code, runs_only_own_code
from sharpness_phases.errors import UserError


def checked_config(config: str, overrides: list[str] | None, allow_custom_code: bool = False) -> ExperimentConfig:
    """Read and check a config, before anything heavy is imported.

    Args:
        config: Path of a YAML file, or the name of a shipped config.
        overrides: Texts `key.path=value`.
        allow_custom_code: Whether the config may name any code; else only code in the current folder or below it, if
            the config is there, too, or what the overrides name. Where symbolic links lead decides.

    Returns:
        The config.

    Raises:
        UserError: If it is wrong, or names code that it may not.
    """
    checked = load_config(config, overrides or ())
    if not allow_custom_code:
        named = {"model.family": checked.model.family, "loss": checked.loss, "optimizer.name": checked.optimizer.name}
        for key, location in named.items():
            typed = any(text.partition("=")[0].strip() in (key, key.partition(".")[0]) for text in overrides or ())
            if (
                names_custom_code(location)
                and not typed
                and not (is_own_file(Path(config)) and runs_only_own_code(location))
            ):
                raise UserError(
                    f"{config}: {key}: {location!r} would run code, and not both this config and that code are your "
                    "own: in the current folder or below it, where links lead, and not installed there. If you trust "
                    "them, add --allow-custom-code"
                )
    return checked

"""config.yaml in the folder of an experiment: which config may take its place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from sharpness_phases.config.loading import ConfigError, dump_config, load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.errors import UserError
from sharpness_phases.runs.same_runs import Difference, differences
from sharpness_phases.store.claims import Claims
from sharpness_phases.store.files import write_text
from sharpness_phases.store.folder import CONFIG_FILE, holds_runs

logger = logging.getLogger(__name__)

_SHOWN = 5
"""Differences that a message names; chosen so: a config of another experiment altogether differs in dozens."""


def require_same_experiment(config: ExperimentConfig, folder: Path, claims: Claims) -> dict[str, str]:
    """Refuse a config that does not go with what is in a folder, or with what others compute there at this moment.

    Runs that are stored there must be runs of this config, too: it may ask for more or fewer of them, look at them
    otherwise and carry them out elsewhere. While another process works there, the config must show the same.

    Args:
        config: What is to be run.
        folder: Where.
        claims: The claims on the folder.

    Returns:
        The versions and the device that the config.yaml there tells of; none if there is no such file.

    Raises:
        UserError: If it does not; the message names the differences, and the choice.
    """
    path, alone = folder / CONFIG_FILE, claims.is_alone()
    stored, at_work = holds_runs(folder), claims.are_certain and not alone
    if not path.exists():
        return {}
    try:
        before = load_config(path)
    except ConfigError as error:
        if stored or not alone:
            raise UserError(_refusal(folder, "runs of a config that cannot be read", [str(error)], at_work)) from None
        return {}
    found = differences(before, config)
    others, shown = [each for each in found if each.makes_other_runs], [each for each in found if each.shows]
    if at_work and shown:
        raise UserError(_refusal(folder, "the work of another process, with another config", shown, at_work))
    if others and (stored or not alone):
        raise UserError(_refusal(folder, "runs of another config", others, at_work))
    if found and stored:
        logger.info("%s is replaced (%s).", path, _listed(found))
    return before.environment or {}


def write_config(config: ExperimentConfig, folder: Path, environment: Mapping[str, str]) -> None:
    """Write config.yaml.

    Args:
        config: The experiment.
        folder: Its folder.
        environment: Versions and device.
    """
    write_text(folder / CONFIG_FILE, dump_config(config.changed(environment=dict(environment))))


def _refusal(folder: Path, what: str, found: Sequence[Difference | str], at_work: bool) -> str:
    fresh = "--fresh, once it has ended, to set its runs aside" if at_work else "--fresh to set them aside"
    return f"{folder} holds {what} ({_listed(found)}). Choose --output DIR for another folder, or {fresh}"


def _listed(found: Sequence[Difference | str]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(map(str, found[:_SHOWN])) + more

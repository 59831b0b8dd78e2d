"""What an experiment is computed with: versions and the device."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from sharpness_phases.training.startup import import_tensorflow

logger = logging.getLogger(__name__)

_PACKAGES = ("sharpness-phases", "tensorflow", "keras", "numpy")


def environment(before: Mapping[str, str], stored: bool, computes: bool, xla: str) -> dict[str, str]:
    """Versions and device of an experiment; a warning if some of its runs come from other versions.

    Args:
        before: The same as written before; empty where it was not.
        stored: Whether there are runs of that time.
        computes: Whether anything will be computed now. If not, TensorFlow is not imported, and the device is that of
            before.
        xla: The setting `device.xla`.

    Returns:
        The versions of packages, and "device", if it is known.
    """
    now = {name: _version(name) for name in _PACKAGES}
    changed = [f"{name} {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    if changed and stored:
        logger.warning(
            "Stored runs were computed with other versions: %s. --fresh runs them anew.",
            ", ".join(changed),
        )
    if computes:
        import_tensorflow()
        from sharpness_phases.training.device import describe_device

        now["device"] = describe_device(xla)
        logger.info("Computing on %s", now["device"])
    elif "device" in before:
        now["device"] = before["device"]
    return now


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "not installed"

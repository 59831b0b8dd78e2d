"""What a shell proposes for the arguments of commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sharpness_phases.views.pictures import KINDS


def configs(incomplete: str) -> list[tuple[str, str]]:
    """Names of shipped configs, and YAML files and folders on the way to them.

    Args:
        incomplete: What has been typed of the argument.

    Returns:
        Texts, each with a line about it.
    """
    from sharpness_phases.config.loading import describe_shipped

    shipped = [(name, line) for name, line in describe_shipped() if name.startswith(incomplete)]
    own = [(f"{path}/", "") if path.is_dir() else (str(path), "") for path in _paths(incomplete)]
    return shipped + [(text, line) for text, line in own if text.endswith((".yaml", ".yml", "/"))]


def folders(incomplete: str) -> list[str]:
    """Folders; only those of experiments, where there are any.

    Args:
        incomplete: What has been typed of the argument.

    Returns:
        Their paths.
    """
    from sharpness_phases.store.folder import CONFIG_FILE

    found = [path for path in _paths(incomplete) if path.is_dir()]
    experiments = [path for path in found if (path / CONFIG_FILE).is_file()]
    return [str(path) for path in experiments] or [f"{path}/" for path in found]


def kinds(incomplete: str) -> list[str]:
    """Kinds of pictures."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def styles(incomplete: str) -> list[str]:
    """Styles of pictures."""
    from sharpness_phases.views.style import STYLES

    return [style for style in STYLES if style.startswith(incomplete)]


def _paths(incomplete: str) -> Iterator[Path]:
    """Files and folders whose path begins so; hidden ones only if asked for."""
    begun = Path(incomplete)
    folder, name = (begun, "") if incomplete.endswith("/") or not incomplete else (begun.parent, begun.name)
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name.startswith(name) and (name.startswith(".") or not path.name.startswith(".")):
                yield path

"""`python -m sharpness_phases`: the command line; `python -m app` in a checkout is the same.

In a checkout that is not installed, or not the one that is, the folders get their import names here: `app/` is
`sharpness_phases`, with `models/` and `configs/` below it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_NAME = "sharpness_phases"


def _is_installed(init: Path) -> bool:
    """Whether the package's name stands for the folder of this file already."""
    spec = importlib.util.find_spec(_NAME)
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == init.resolve()


def _name_the_checkout(init: Path) -> None:
    """Let the package's name stand for the folders of a checkout."""
    places = [str(init.parent), str(init.parents[1])]
    spec = importlib.util.spec_from_file_location(_NAME, init, submodule_search_locations=places)
    assert spec is not None and spec.loader is not None
    sys.modules[_NAME] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _init = Path(__file__).with_name("__init__.py")
    if not _is_installed(_init):
        _name_the_checkout(_init)
    from sharpness_phases.commands.main import main

    main()

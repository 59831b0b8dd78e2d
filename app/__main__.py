"""`python -m sharpness_phases`: the command line; `python -m app` in a checkout is the same.

In a checkout that is not installed, the folders get their import names here: `app/` is `sharpness_phases`, with
`models/` and `configs/` below it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_NAME = "sharpness_phases"


def _name_the_checkout() -> None:
    folder = Path(__file__).parent
    places = [str(folder), str(folder.parent)]
    spec = importlib.util.spec_from_file_location(_NAME, folder / "__init__.py", submodule_search_locations=places)
    assert spec is not None and spec.loader is not None
    sys.modules[_NAME] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    if importlib.util.find_spec(_NAME) is None:
        _name_the_checkout()
    from sharpness_phases.commands.main import main

    main()

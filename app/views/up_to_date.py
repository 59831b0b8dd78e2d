"""Whether what an experiment's folder shows is what its runs say: then nothing has to be drawn anew."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.store.folder import CONFIG_FILE

REPORT_FILE = "report.html"
"""The file that is written last; it names what it was drawn from."""

_CODE = (".py", ".html", ".css", ".js")
"""The endings of the files of this package that decide what is shown of runs."""

_NAMED = re.compile(r'<meta name="drawn-from" content="([0-9a-f]{32})">')
_HEAD = 2000  # characters of a report that hold its head's first lines


def drawn_from(findings: Findings, folder: Path) -> str:
    """Name what the pictures and the report are drawn from: the runs, config.yaml, and the code that draws.

    Args:
        findings: What the runs say.
        folder: The experiment's, with its config.yaml.

    Returns:
        A digest of all of it, 32 hexadecimal digits.
    """
    found = hashlib.blake2b(digest_size=16)
    found.update(",".join(map(str, findings.runs.columns)).encode())
    found.update(pd.util.hash_pandas_object(findings.runs).to_numpy().tobytes())
    found.update((folder / CONFIG_FILE).read_bytes())
    found.update(version("matplotlib").encode())
    for path in sorted(Path(__file__).resolve().parents[1].rglob("*")):
        if path.suffix in _CODE:
            found.update(path.read_bytes())
    return found.hexdigest()


def is_up_to_date(folder: Path, source: str, others: Iterable[Path]) -> bool:
    """Whether a folder shows what is drawn from this source.

    Args:
        folder: The experiment's.
        source: As `drawn_from` names it.
        others: What is drawn beside the report: files, and TensorBoard's folder.

    Returns:
        Whether the report is drawn from it, and all others are there and were not written after it.
    """
    report = folder / REPORT_FILE
    try:
        with report.open(encoding="utf-8") as file:
            named = _NAMED.search(file.read(_HEAD))
        written = report.stat().st_mtime_ns
        return named is not None and named[1] == source and all(path.stat().st_mtime_ns <= written for path in others)
    except OSError:
        return False

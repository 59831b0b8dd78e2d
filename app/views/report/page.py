"""The report of an experiment: one page that needs no other file and no network."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pandas as pd

from sharpness_phases.config.loading import dump_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.store.files import atomic_file
from sharpness_phases.views.report.chart import chart_data, json_for_html
from sharpness_phases.views.report.tables import (
    Html,
    constants_by_initialisation,
    constants_by_network,
    cost_by_network,
    definitions,
    escape,
    regimes_by_run,
)
from sharpness_phases.views.report.texts import alt_text, caption, description, settings

_ASSETS = Path(__file__).parent
_VECTOR = ("phase_diagram",)  # also drawn as SVG, which is sharp at every size


@dataclass(frozen=True)
class Findings:
    """What a report tells.

    Attributes:
        title: What was trained on what.
        config: The experiment.
        runs: All its runs, a row per step, as stored.
        trajectories: One run for each initialisation and c, as `analysis.tables.merge_runs` returns them.
        constants: A table as `analysis.tables.constants_table` returns it.
        summary: A table as `analysis.tables.summary_table` returns it.
        regimes: A row per segment of every long run: depth, width, seed, c, run_id, regime, start, stop; may be empty.
        out_of_order: Number of initialisations whose constants are not in the usual order.
        pictures: Names and PNG files of the pictures.
        environment: Versions and device the runs were computed with.
    """

    title: str
    config: ExperimentConfig
    runs: pd.DataFrame
    trajectories: pd.DataFrame
    constants: pd.DataFrame
    summary: pd.DataFrame
    regimes: pd.DataFrame
    out_of_order: int
    pictures: Mapping[str, Path]
    environment: Mapping[str, str]


def write_report(path: Path, findings: Findings) -> Path:
    """Write the report; equal findings give an equal file.

    Args:
        path: Where, such as outputs/quickstart/report.html.
        findings: What it tells.

    Returns:
        The path.
    """
    page = _page(findings)
    with atomic_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def _page(findings: Findings) -> str:
    config = findings.config
    texts = {
        "name": escape(config.name),
        "title": escape(findings.title),
        "description": escape(description(config)),
        "settings": definitions(settings(config)),
        "diagram": _picture("phase_diagram", findings) or _paragraph("The search is not complete: no constants yet."),
        "constants": _constants(findings),
        "trajectories": _trajectories(findings),
        "regimes": _section("regimes", "Regimes of long runs", _regimes(findings)),
        "pictures": _section("pictures", "Other pictures", _other_pictures(findings)),
        "cost": cost_by_network(findings.runs),
        "environment": definitions(findings.environment) if findings.environment else _paragraph("Not recorded."),
        "config": escape(dump_config(config.changed(environment=None))),
        "style": _asset("report.css"),
        "script": _asset("report.js"),
    }
    return Template(_asset("report.html")).substitute(texts)


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _section(identifier: str, heading: str, content: str) -> str:
    """A section of the page, none where there is nothing to tell."""
    if not content:
        return ""
    return f'<section aria-labelledby="{identifier}"><h2 id="{identifier}">{heading}</h2>\n{content}</section>'


def _paragraph(text: str) -> Html:
    return Html(f"<p>{escape(text)}</p>")


def _picture(name: str, findings: Findings) -> str:
    """A picture with its caption; nothing where there is none."""
    path = findings.pictures.get(name)
    if path is None:
        return ""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    wide = f"min-width:{min(60, 13 * width // height)}rem" if width > 2 * height else ""
    kind = "png"
    if name in _VECTOR and path.with_suffix(".svg").is_file():
        path, kind = path.with_suffix(".svg"), "svg+xml"
    content = base64.b64encode(path.read_bytes()).decode()
    alt = escape(alt_text(name, findings.title, findings.summary))
    image = (
        f'<img class="{"raster" if kind == "png" else "vector"}" style="{wide}" width="{width}" height="{height}" '
        f'src="data:image/{kind};base64,{content}" alt="{alt}">'
    )
    text = escape(caption(name))
    if wide:
        image = f'<div class="scroll" role="region" aria-label="{text}" tabindex="0">{image}</div>'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>\n"


def _constants(findings: Findings) -> str:
    if findings.constants.empty:
        return _paragraph("No initialisation's search is complete.")
    parts = [constants_by_network(findings.summary)]
    if findings.out_of_order:
        text = (
            f"In {findings.out_of_order} of {len(findings.constants)} initialisations the usual order "
            "c_loss ≤ c_sharp ≤ c_barrier ≤ c_max does not hold."
        )
        parts.append(Html(f'<p class="note">{escape(text)}</p>'))
    return "\n".join([*parts, constants_by_initialisation(findings.constants)])


def _trajectories(findings: Findings) -> str:
    """Data for the interactive chart, and the static picture for readers without JavaScript."""
    if findings.trajectories.empty:
        return _paragraph("No run has been trained yet.")
    data, omitted = chart_data(findings.trajectories, findings.constants)
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in omitted)
    static = _picture("trajectories", findings)
    return (
        f'<div id="chart" hidden></div>\n{notes}<noscript>{static}</noscript>\n'
        f'<script type="application/json" id="chart-data">{json_for_html(data)}</script>'
    )


def _regimes(findings: Findings) -> str:
    if findings.regimes.empty:
        return ""
    return _picture("regimes", findings) + regimes_by_run(findings.regimes)


def _other_pictures(findings: Findings) -> str:
    shown = ("phase_diagram", "trajectories", "regimes")
    return "".join(_picture(name, findings) for name in findings.pictures if name not in shown)

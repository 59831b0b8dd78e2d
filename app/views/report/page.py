"""The report of an experiment: one page that needs no other file and no network."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from sharpness_phases.analysis.findings import Findings
from sharpness_phases.config.loading import dump_config
from sharpness_phases.store.files import atomic_file
from sharpness_phases.views.kind import Section
from sharpness_phases.views.pictures import PHASE_DIAGRAM, file_named
from sharpness_phases.views.report.chart import ChartEdge, chart_data, json_for_html
from sharpness_phases.views.report.diagram import diagram_data
from sharpness_phases.views.report.rates import rates_of
from sharpness_phases.views.report.tables import (
    Html,
    constants_by_initialisation,
    constants_by_network,
    cost_by_network,
    definitions,
    escape,
    regimes_by_run,
)
from sharpness_phases.views.report.texts import alt_text, description, settings

_ASSETS = Path(__file__).parent


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        findings: What the runs say.
        pictures: PNG files of the pictures by name, as `views.pictures.PICTURES` has them.
        environment: Versions and device the runs were computed with.
        source: What it is drawn from, as `views.up_to_date.drawn_from` names it; "" where nobody asks.
    """

    findings: Findings
    pictures: Mapping[str, Path]
    environment: Mapping[str, str]
    source: str = ""


def write_report(path: Path, report: Report) -> Path:
    """Write the report; equal findings give an equal file.

    Args:
        path: Where, such as outputs/quickstart/report.html.
        report: What it tells.

    Returns:
        The path.
    """
    page = _page(report)
    with atomic_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def asset(name: str) -> str:
    """A part of every report: report.html, report.css or report.js."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def _page(report: Report) -> str:
    findings = report.findings
    config = findings.config
    texts = {
        "source": report.source,
        "name": escape(config.name),
        "title": escape(findings.title),
        "description": escape(description(config)),
        "settings": definitions(settings(config)),
        "diagram": _pictures("diagram", report) or _paragraph("The search is not complete: no constants yet."),
        "constants": _constants(findings),
        "trajectories": _trajectories(report),
        "regimes": _section("regimes", "Regimes of long runs", _regimes(report)),
        "pictures": _section("pictures", "Other pictures", _pictures("pictures", report)),
        "cost": cost_by_network(findings.runs),
        "environment": definitions(report.environment) if report.environment else _paragraph("Not recorded."),
        "config": escape(dump_config(config.changed(environment=None))),
        "style": asset("report.css"),
        "script": asset("report.js"),
    }
    return Template(asset("report.html")).substitute(texts)


def _section(identifier: str, heading: str, content: str) -> str:
    """A section of the page, none where there is nothing to tell."""
    if not content:
        return ""
    return f'<section aria-labelledby="{identifier}"><h2 id="{identifier}">{heading}</h2>\n{content}</section>'


def _paragraph(text: str) -> Html:
    return Html(f"<p>{escape(text)}</p>")


def _pictures(section: Section, report: Report) -> str:
    """The pictures of a section with their captions; nothing where there is none."""
    return "".join(_picture(name, report) for name in report.pictures if file_named(name)[1].section == section)


def _picture(name: str, report: Report) -> str:
    kind, file = file_named(name)
    path = report.pictures[name]
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    wide = f"min-width:{min(60, 13 * width // height)}rem" if width > 2 * height else ""
    look, ending = "raster", "png"
    if file.vector and path.with_suffix(".svg").is_file():
        path, look, ending = path.with_suffix(".svg"), "vector", "svg+xml"
    content = base64.b64encode(path.read_bytes()).decode()
    alt = alt_text(file.caption, report.findings.title, report.findings.summary if kind.shows_constants else None)
    points = name == PHASE_DIAGRAM.name
    image = (
        f'<img class="{look}" style="{"" if points else wide}" width="{width}" height="{height}" '
        f'src="data:image/{ending};base64,{content}" alt="{escape(alt)}">'
    )
    caption = escape(file.caption)
    if points:  # the script lays over it what tells where a reader points
        image = f'<div id="phase-diagram" style="max-width:{34 * width / height:.1f}rem;{wide}">{image}</div>'
    if wide:
        image = f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">{image}</div>'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>\n"


def _constants(findings: Findings) -> str:
    constants = findings.critical_constants()
    if constants.empty:
        return _paragraph("No initialisation's search is complete.")
    rates = rates_of(constants, findings.axis.rate)
    parts = [constants_by_network(findings.summary, rates)]
    if out_of_order := len(findings.violations()):
        text = (
            f"In {out_of_order} of {len(constants)} initialisations the usual order "
            "c_loss ≤ c_sharp ≤ c_barrier ≤ c_max does not hold."
        )
        parts.append(Html(f'<p class="note">{escape(text)}</p>'))
    return "\n".join([*parts, constants_by_initialisation(constants, rates)])


def _trajectories(report: Report) -> str:
    """Data for the interactive chart, and the static picture for readers without JavaScript."""
    trajectories = report.findings.trajectories()
    if trajectories.empty:
        return _paragraph("No run has been trained yet.")
    axis = report.findings.axis
    moves = not report.findings.config.warmup.is_none
    constant = None if moves or math.isnan(axis.rate_times_edge) else axis.constant
    edge = ChartEdge(axis.edge_in_words, constant, axis.c_in_words)
    every = report.findings.config.sharpness.every
    data, omitted = chart_data(trajectories, report.findings.critical_constants(), edge, every)
    data["diagram"] = _diagram(report)
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in omitted)
    static = _pictures("trajectories", report)
    return (
        f'<div id="chart" hidden></div>\n{notes}<noscript>{static}</noscript>\n'
        f'<script type="application/json" id="chart-data">{json_for_html(data)}</script>'
    )


def _diagram(report: Report) -> dict[str, object] | None:
    """What the phase diagram tells where a reader points; None where there is no diagram that says where it is."""
    picture = report.pictures.get(PHASE_DIAGRAM.name)
    if picture is None or not (svg := picture.with_suffix(".svg")).is_file():
        return None
    rates = rates_of(report.findings.critical_constants(), report.findings.axis.rate)
    return diagram_data(report.findings, svg, rates)


def _regimes(report: Report) -> str:
    table, runs = report.findings.regime_table(), report.findings.runs
    if table.empty:
        return ""
    rates = dict(zip(runs["run_id"].tolist(), runs["learning_rate"].tolist(), strict=True))
    return _pictures("regimes", report) + regimes_by_run(table, rates)

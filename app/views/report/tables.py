"""The report's tables as HTML; every text is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sharpness_phases.analysis.regimes import Regime
from sharpness_phases.analysis.tables import CONSTANTS
from sharpness_phases.views.by_network import Averaged, censored_sides, measured_constants, networks, written
from sharpness_phases.views.regimes import REGIME_FILLS

MAX_ROWS = 200
"""Rows of a table in the page; the experiment's CSV files have them all."""


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


def escape(text: object) -> Html:
    """Any value as HTML; what is HTML already stays as it is."""
    return text if isinstance(text, Html) else Html(html.escape(str(text)))


def table(caption: str, columns: Sequence[object], rows: Sequence[Sequence[object]]) -> Html:
    """A table that scrolls sideways by itself where the page is narrow.

    Args:
        caption: What it holds.
        columns: Headings.
        rows: Cells; anything but `Html` is escaped.

    Returns:
        The table.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    label = escape(caption)
    return Html(
        f'<p class="note">{label}</p><div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def definitions(entries: Mapping[str, object]) -> Html:
    """Names with their values."""
    rows = "\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in entries.items())
    return Html(f"<dl>\n{rows}\n</dl>")


def constants_by_network(summary: pd.DataFrame) -> Html:
    """Boundary, quartiles and censored counts of the constants that were asked for.

    Args:
        summary: A table as `analysis.tables.summary_table` returns it.

    Returns:
        A table with a row for every (depth, width).
    """
    names = measured_constants(summary)
    rows = [
        [
            network.depth,
            network.width,
            network.seeds,
            *(_boundary_and_bar(network.constants[name]) for name in names),
        ]
        for network in networks(summary)
    ]
    caption = (
        "Median over initialisations of log2 c; in small print its quartiles (of c_crit the 95% interval), and how "
        "many are censored: low, below the grid of c, or high, above it. Those count as below or above all others."
    )
    return table(caption, ["depth", "width", "n", *map(constant_label, names)], rows)


def constants_by_initialisation(constants: pd.DataFrame) -> Html:
    """The constants of single initialisations, folded away.

    Args:
        constants: A table as `analysis.tables.constants_table` returns it.

    Returns:
        An element that unfolds.
    """
    known = [name for name in CONSTANTS if constants[name].notna().any() or constants[f"{name}_censored"].any()]
    rows: list[list[object]] = [
        [row["depth"], row["width"], row["seed"], *(f"{row[name]:.4g}" for name in ("lambda_0", "loss_0"))]
        + [f"{row[name]:.3g}" if np.isfinite(row[name]) else row[f"{name}_censored"] or "–" for name in known]
        for row in constants.head(MAX_ROWS).to_dict("records")
    ]
    columns = ["depth", "width", "seed", Html("λ<sub>0</sub>"), Html("L<sub>0</sub>"), *map(constant_label, known)]
    content = table(_first("initialisation", len(constants), "critical_constants.csv"), columns, rows)
    return Html(f"<details><summary>Every initialisation</summary>{content}</details>")


def cost_by_network(runs: pd.DataFrame) -> Html:
    """How much was computed.

    Args:
        runs: All runs, a row per step, as stored.

    Returns:
        A table with a row for every (depth, width), and their sum.
    """
    counts = runs.assign(trained=runs["step"] > 0).groupby(["depth", "width"], sort=True)
    sums = counts.agg(runs=("run_id", "nunique"), steps=("trained", "sum"), products=("hvps", "sum"))
    rows: list[list[object]] = [
        [*key, *(f"{value:,}" for value in row)]
        for key, row in zip(sums.index, sums.itertuples(index=False), strict=True)
    ]
    rows.append(["all", "", *(f"{value:,}" for value in sums.sum())])
    caption = "What was computed; runs that only measure before training count, too"
    return table(caption, ["depth", "width", "runs", "training steps", "Hessian-vector products"], rows)


def regimes_by_run(regimes: pd.DataFrame) -> Html:
    """The regimes of long runs, as bars and as steps, in an element that folds.

    Args:
        regimes: A row per segment, in order: depth, width, seed, c, run_id, regime, start, stop.

    Returns:
        A table with a row for every run.
    """
    found = [regime for regime in Regime if regime.value in set(regimes["regime"])]
    groups = list(regimes.groupby(["depth", "width", "seed", "c", "run_id"], sort=False))
    rows = [
        [depth, width, seed, f"{c:.3g}", _bar(segments), *_begins(segments, found)]
        for (depth, width, seed, c, _), segments in groups[:MAX_ROWS]
    ]
    caption = f"{_first('long run', len(groups), 'regimes.csv')}: the step at which each regime begins"
    swatches = [
        Html(f'<span class="swatch" style="background:{REGIME_FILLS[regime]}"></span>{_spaced(regime)}')
        for regime in found
    ]
    columns = ["depth", "width", "seed", "c", "over log(1 + step)", *swatches]
    content = table(caption, columns, rows)
    return Html(f'<details open class="regimes"><summary>Every long run</summary>{content}</details>')


def constant_label(name: str) -> Html:
    """A constant's name, such as c with the index loss."""
    letter, _, index = name.partition("_")
    return Html(f"{escape(letter)}<sub>{escape(index)}</sub>")


def _boundary_and_bar(row: Averaged) -> Html:
    low, high = map(written, row.bar)
    small = [f"{low}–{high}"] if row.n + row.n_censored > 1 and low != "-" else []
    small += censored_sides(row)
    value = escape("–" if math.isnan(row.boundary) else written(row.boundary))
    return Html(value + "".join(f"<small>{escape(text)}</small>" for text in small))


def _first(thing: str, number: int, file: str) -> str:
    """A caption that says when only the first rows are there."""
    if number <= MAX_ROWS:
        return f"{number} {thing}{'' if number == 1 else 's'}"
    return f"The first {MAX_ROWS} of {number} {thing}s; {file} has them all"


def _bar(segments: pd.DataFrame) -> Html:
    bounds = np.log1p(segments[["start", "stop"]].to_numpy(float))  # the transient is short
    shares = 100 * (bounds[:, 1] - bounds[:, 0]) / bounds[-1, 1]
    parts = "".join(
        f'<span title="{_spaced(regime)}" style="width:{share:.2f}%;background:{REGIME_FILLS[Regime(regime)]}"></span>'
        for regime, share in zip(segments["regime"].tolist(), shares.tolist(), strict=True)
    )
    return Html(f'<span class="bar" aria-hidden="true">{parts}</span>')


def _begins(segments: pd.DataFrame, regimes: Sequence[Regime]) -> list[str]:
    begins = dict(zip(segments["regime"], segments["start"], strict=True))
    return [str(begins.get(regime.value, "–")) for regime in regimes]


def _spaced(regime: object) -> str:
    return html.escape(str(regime).replace("_", " "))

"""The report's tables as HTML; every text is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sharpness_phases.analysis.regimes import Regime
from sharpness_phases.analysis.tables import CONSTANTS
from sharpness_phases.views.by_network import Averaged, censored_sides, measured_constants, networks, written
from sharpness_phases.views.regimes import REGIME_FILLS
from sharpness_phases.views.report.rates import Rates

MAX_ROWS = 200
"""Rows of a table in the page; the experiment's CSV files have them all."""


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


_LAMBDA_0 = Html("λ<sub>0</sub>")


def escape(text: object) -> Html:
    """Any value as HTML; what is HTML already stays as it is."""
    return text if isinstance(text, Html) else Html(html.escape(str(text)))


def table(caption: str, columns: Sequence[object], rows: Sequence[Sequence[object]], named_by: int) -> Html:
    """A table that scrolls sideways by itself where the page is narrow.

    Args:
        caption: What it holds.
        columns: Headings.
        rows: Cells; anything but `Html` is escaped.
        named_by: How many cells at the beginning of a row say what the row is of.

    Returns:
        The table.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "\n".join(_row(cells, named_by) for cells in rows)
    label = escape(caption)
    return Html(
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>\n<caption>{label}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(cells: Sequence[object], named_by: int) -> str:
    """A row, whose first cells are headers of it."""
    names = "".join(f'<th scope="row">{escape(cell)}</th>' for cell in cells[:named_by])
    return f"<tr>{names}{''.join(f'<td>{escape(cell)}</td>' for cell in cells[named_by:])}</tr>"


def definitions(entries: Mapping[str, object]) -> Html:
    """Names with their values."""
    rows = "\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in entries.items())
    return Html(f"<dl>\n{rows}\n</dl>")


def constants_by_network(summary: pd.DataFrame, rates: Rates) -> Html:
    """Boundary, quartiles, learning rate and censored counts of the constants that were asked for.

    Args:
        summary: A table as `analysis.tables.summary_table` returns it.
        rates: The learning rates that belong to the constants.

    Returns:
        A table with a row for every (depth, width).
    """
    names = measured_constants(summary)
    rows = []
    for network in networks(summary):
        sharpness = rates.sharpness.get((network.depth, network.width), math.nan)
        constants = [network.constants[name] for name in names]
        shown = [_boundary_and_bar(row, _rate(rates.at(row.boundary, sharpness))) for row in constants]
        rows.append([network.depth, network.width, network.seeds, f"{sharpness:.4g}", *shown])
    caption = (
        "Median over n initialisations of log2 c, and of λ₀; in small print the quartiles of c (of c_crit the 95% "
        "interval), the learning rate η at c and λ₀, and how many are censored: low, below the grid of c, or high, "
        "above it. Those count as below or above all others."
    )
    return table(caption, ["depth", "width", "n", _LAMBDA_0, *map(constant_label, names)], rows, named_by=2)


def constants_by_initialisation(constants: pd.DataFrame, rates: Rates) -> Html:
    """The constants of single initialisations with their learning rates, folded away.

    Args:
        constants: A table as `analysis.tables.constants_table` returns it.
        rates: The learning rates that belong to the constants.

    Returns:
        An element that unfolds.
    """
    known = [name for name in CONSTANTS if constants[name].notna().any() or constants[f"{name}_censored"].any()]
    rows: list[list[object]] = [
        [row["depth"], row["width"], row["seed"], *(f"{row[name]:.4g}" for name in ("lambda_0", "loss_0"))]
        + [_constant_and_rate(row, name, rates) for name in known]
        for row in constants.head(MAX_ROWS).to_dict("records")
    ]
    columns = ["depth", "width", "seed", _LAMBDA_0, Html("L<sub>0</sub>"), *map(constant_label, known)]
    caption = f"{_first('initialisation', len(constants), 'critical_constants.csv')}; in small print η at each c"
    content = table(caption, columns, rows, named_by=3)
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
    return table(caption, ["depth", "width", "runs", "training steps", "Hessian-vector products"], rows, named_by=2)


def regimes_by_run(regimes: pd.DataFrame, learning_rates: Mapping[str, float]) -> Html:
    """The regimes of long runs, as bars and as steps, in an element that folds.

    Args:
        regimes: A row per segment, in order: depth, width, seed, c, run_id, regime, start, stop.
        learning_rates: eta by the name of the run.

    Returns:
        A table with a row for every run.
    """
    found = [regime for regime in Regime if regime.value in set(regimes["regime"])]
    groups = list(regimes.groupby(["depth", "width", "seed", "c", "run_id"], sort=False))
    rows = [
        [depth, width, seed, f"{c:.3g}", _written_rate(learning_rates.get(str(run))), _bar(segments)]
        + _begins(segments, found)
        for (depth, width, seed, c, run), segments in groups[:MAX_ROWS]
    ]
    caption = f"{_first('long run', len(groups), 'regimes.csv')}: the step at which each regime begins"
    swatches = [
        Html(f'<span class="swatch" style="background:{REGIME_FILLS[regime]}"></span>{_spaced(regime)}')
        for regime in found
    ]
    columns = ["depth", "width", "seed", "c", "η", "over log(1 + step)", *swatches]
    content = table(caption, columns, rows, named_by=4)
    return Html(f'<details open class="regimes"><summary>Every long run</summary>{content}</details>')


def constant_label(name: str) -> Html:
    """A constant's name, such as c with the index loss."""
    letter, _, index = name.partition("_")
    return Html(f"{escape(letter)}<sub>{escape(index)}</sub>")


def _constant_and_rate(row: Mapping[Hashable, Any], name: str, rates: Rates) -> Html:
    """A constant of one initialisation."""
    if not np.isfinite(row[name]):
        return escape(row[f"{name}_censored"] or "–")
    return _with_small(f"{row[name]:.3g}", _rate(rates.at(row[name], row["lambda_0"])))


def _rate(eta: float) -> list[str]:
    """A learning rate for small print; nothing where it is not known."""
    return [] if math.isnan(eta) else [f"η {eta:.3g}"]


def _written_rate(eta: float | None) -> str:
    return "–" if eta is None else f"{eta:.3g}"


def _with_small(text: str, small: Sequence[str]) -> Html:
    """A text with lines in small print below."""
    return Html(escape(text) + "".join(f"<small>{escape(line)}</small>" for line in small))


def _boundary_and_bar(row: Averaged, rate: Sequence[str]) -> Html:
    low, high = map(written, row.bar)
    small = [f"{low}–{high}"] if row.n + row.n_censored > 1 and low != "-" else []
    small += [*rate, *censored_sides(row)]
    return _with_small("–" if math.isnan(row.boundary) else written(row.boundary), small)


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

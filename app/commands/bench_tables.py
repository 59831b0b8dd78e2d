"""What `phases bench` and `phases scaling` print."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from rich.table import Table

from sharpness_phases.analysis.phases import BOUNDARIES
from sharpness_phases.bench.advice.benchmark import Outcome, Summary
from sharpness_phases.bench.comparison import Comparison
from sharpness_phases.bench.scaling import Point, growth
from sharpness_phases.commands.console import plain_table

_GROWING = ("parameters", "setup", "time", "HVPs", "memory")
_MUCH = 100.0  # a regret that is written as a word: the final loss is no number, or nearly none
_WAYS = (("default", "adaptive search"), ("exhaustive", "whole grid"), ("protocol", "published protocol"))


def ways_table(comparison: Comparison) -> Table:
    """The three ways on one initialisation: time, products, operations, memory, constants.

    Args:
        comparison: What was measured.

    Returns:
        A table to print.
    """
    rows = []
    for name, label in _WAYS:
        way = getattr(comparison, name)
        numbers = [f"{way.seconds:.2f} s", f"{way.products}", f"{way.flops:.2e}", f"{way.memory / 2**30:.2f} GB"]
        rows.append([label, *numbers, *(_number(way.constants[constant]) for constant in BOUNDARIES)])
    title = f"depth {comparison.depth}, width {comparison.width}, initialisation {comparison.seed}"
    return plain_table(title, ("way", "time", "HVPs", "FLOPs", "memory", *BOUNDARIES), rows)


def remarks(comparison: Comparison) -> list[str]:
    """What follows from the table, a sentence a line."""
    steps = ", ".join(f"{name} {_number(comparison.grid_steps[name])}" for name in BOUNDARIES)
    kind = "forward over reverse" if comparison.forward_over_reverse else "reverse over reverse, gradient hoisted"
    return [
        f"{comparison.speedup:.0f} times as fast as the protocol ({kind}), the whole grid "
        f"{comparison.exhaustive_speedup:.1f} times; {comparison.setup_seconds:.1f} s more to build and compile.",
        f"Constants differ by grid steps: {steps}.",
        f"lambda_0: {comparison.lambda_0_products} products, {comparison.lambda_0_seconds:.3f} s, against 21 products, "
        f"{comparison.power_seconds:.3f} s: {comparison.lambda_0_seconds / comparison.power_seconds:.2f} of the time.",
        f"Products reach {comparison.roofline:.2f} of a matrix product's {comparison.matrix_rate / 1e9:.0f} GFLOP/s "
        f"({comparison.core_roofline:.2f} by processor time); "
        f"vector work of Lanczos adds {comparison.vector_share:.0%}; a product takes "
        f"{comparison.overhead_seconds * 1e3:.2f} ms beyond its arithmetic.",
    ]


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Medians over all initialisations."""
    speedup = statistics.median(comparison.speedup for comparison in comparisons)
    exhaustive = statistics.median(comparison.exhaustive_speedup for comparison in comparisons)
    return f"Median over {len(comparisons)}: {speedup:.0f} times as fast, the whole grid {exhaustive:.1f} times."


def scaling_table(points: Sequence[Point]) -> Table:
    """Cost over the values of one axis, with the exponents of growth between the two largest.

    Args:
        points: Points of one axis.

    Returns:
        A table to print.
    """
    rows = [
        [
            f"{point.value}",
            f"{point.parameters:,}",
            f"{point.setup_seconds:.1f} s",
            f"{point.seconds:.2f} s",
            f"{point.products}",
            f"{point.memory / 2**30:.2f} GB",
        ]
        for point in points
    ]
    rows.append(["grows as", "", "", *(f"^{growth(points, name):.2f}" for name in ("seconds", "products", "memory"))])
    return plain_table(f"Over {points[0].axis}", (points[0].axis, *_GROWING), rows)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def advice_table(part: str, figures: Summary) -> Table:
    """Figures of every method over the tasks of one half.

    Args:
        part: Which half.
        figures: As `bench.advice.benchmark.summary` returns them.

    Returns:
        A table to print.
    """
    rows = [
        [
            method,
            f"{of['median regret']:.1%}",
            f"{of['regret of 90%']:.1%}" if of["regret of 90%"] < _MUCH else "diverged",
            f"{of['diverged']:.0%}",
            f"{of['spread']:.2f}",
            f"{of['steps']:.0f}",
        ]
        for method, of in figures.items()
    ]
    columns = ("method", "median regret", "regret of 90%", "diverged", "ratio of two seeds", "cost in steps")
    return plain_table(f"Tasks {part}", columns, rows)


def advice_tasks_table(outcomes: Sequence[Outcome]) -> Table:
    """What every method gave on every task: the median regret over its seeds.

    Args:
        outcomes: Of all methods.

    Returns:
        A table to print.
    """
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    rows = []
    for task in dict.fromkeys(outcome.task for outcome in outcomes):
        of_task = [outcome for outcome in outcomes if outcome.task == task]
        medians = [
            statistics.median(outcome.regret for outcome in of_task if outcome.method == method) for method in methods
        ]
        rows.append([task, *(f"{median:.1%}" if median < _MUCH else "diverged" for median in medians)])
    return plain_table("Median regret", ("task", *methods), rows)

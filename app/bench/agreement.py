"""How often the adaptive search gives the constants of the whole grid.

`python -m sharpness_phases.bench.agreement` carries out both on networks of many kinds: with both losses, momentum,
other optimizers, tanh, narrow and deep ones, convolutions. `--data-seed` takes half of the examples, others for every
number, to train on and to measure on; `--examples` measures on more or fewer of them; `--audit` measures a share of the
whole grid's sharpnesses anew; and `--keep` keeps the runs in a folder, where an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sharpness_phases.analysis.audit import Verdict, verdict
from sharpness_phases.analysis.tables import OF_THE_TRANSIENT, constants_table
from sharpness_phases.config.loading import load_config
from sharpness_phases.config.schema import ExperimentConfig
from sharpness_phases.runs.spec import Purpose, cells, criteria
from sharpness_phases.store.runs import RunStore
from sharpness_phases.sweep.audit import audit, chosen_rows
from sharpness_phases.sweep.cell_sweep import CellSweep
from sharpness_phases.sweep.simulator import Simulator

NETWORKS = {
    "narrow": ["sweep.depths=[4]", "sweep.widths=[16]"],
    "wide": ["sweep.depths=[3]", "sweep.widths=[128]"],
    "momentum": ["sweep.depths=[3]", "sweep.widths=[32]", "training.momentum=0.9"],
    "heavy_ball": ["sweep.depths=[3]", "sweep.widths=[32]", "optimizer={momentum: 0.9}"],
    "nesterov": ["sweep.depths=[3]", "sweep.widths=[32]", "optimizer={momentum: 0.9, nesterov: true}"],
    "adam": ["sweep.depths=[3]", "sweep.widths=[32]", "optimizer={name: adam}", "analysis.sharpness_tolerance=0.05"],
    "adamw": [
        "sweep.depths=[3]",
        "sweep.widths=[32]",
        "optimizer={name: adamw, weight_decay: 0.1}",
        "analysis.sharpness_tolerance=0.05",
    ],
    "tanh": ["sweep.depths=[8]", "sweep.widths=[32]", "model.activation=tanh"],
    "deep": ["sweep.depths=[12]", "sweep.widths=[32]"],
    "convolutions": ["model.family=myrtle", "sweep.depths=[5]", "sweep.widths=[8]", "training.batch_size=128"],
}
"""Overrides of the quickstart; each is run with both losses."""

LOSSES = ("mse", "xent")
_HALF = 2048
"""Of the 4,096 examples of the quickstart's data set."""
_COMMON = ("sweep.lr_exponents.stop=8.0", "analysis.barrier=true", "tensorboard=false")


class Agreement(NamedTuple):
    """A constant of some initialisations, by the adaptive search and on the whole grid.

    Attributes:
        name: The constant.
        compared: Initialisations in which it is uncensored on the whole grid.
        equal: How many of them are equal.
        farthest: Largest distance in grid steps; infinite where the search censored it.
    """

    name: str
    compared: int
    equal: int
    farthest: float


def agreement(found: pd.DataFrame, exact: pd.DataFrame, step: float) -> list[Agreement]:
    """Compare two tables of critical constants.

    Args:
        found: By the adaptive search, a row per initialisation.
        exact: On the whole grid, the same rows.
        step: Step of the grid of x, c = 2^x.

    Returns:
        An entry for every constant.
    """
    rows = []
    for name in OF_THE_TRANSIENT:
        uncensored = exact[f"{name}_censored"].eq("") & exact[name].notna()
        here, there = found[uncensored], exact[uncensored]
        apart = np.abs(np.log2(here[name] / there[name])) / step
        apart = np.where(here[f"{name}_censored"].eq(""), np.rint(apart), np.inf)
        rows.append(Agreement(name, len(here), int((apart == 0).sum()), float(apart.max(initial=0.0))))
    return rows


class Comparison(NamedTuple):
    """An experiment carried out both ways.

    Attributes:
        agreement: An entry for every constant.
        shares: For every initialisation, the runs of the adaptive search over those of the whole grid.
        decisions: Sides of the threshold of the sharpness that the adaptive search told, and that the whole grid knows
            better.
        wrong: How many of them are the other side.
        verdict: The audit of the whole grid's sharpnesses; None if none was asked for.
    """

    agreement: list[Agreement]
    shares: pd.Series
    decisions: int
    wrong: int
    verdict: Verdict | None


def compare(config: ExperimentConfig, folder: Path, share: float = 0.0) -> Comparison:
    """Carry out an experiment both ways.

    Args:
        config: The experiment.
        folder: Where its runs are kept; those that are there are not carried out again.
        share: Of the whole grid's sharpnesses, to be audited; 0 for none.

    Returns:
        What was found.
    """
    simulator = Simulator(config)
    found, its_runs = _carried_out(config.changed(sweep={"search": "adaptive"}), simulator, folder)
    whole = config.changed(sweep={"search": "exhaustive"})
    exact, all_runs = _carried_out(whole, simulator, folder)
    shares = _runs_of_cells(its_runs) / _runs_of_cells(all_runs)
    audited = pd.DataFrame(audit(whole, all_runs, chosen_rows(all_runs, share))) if share else None
    result = agreement(found, exact, config.sweep.lr_exponents.step)
    decisions, wrong = wrong_sides(its_runs, all_runs, config)
    judged = None if audited is None else verdict(audited, config.sharpness.tolerance)
    return Comparison(result, shares, decisions, wrong, judged)


def wrong_sides(its_runs: pd.DataFrame, all_runs: pd.DataFrame, config: ExperimentConfig) -> tuple[int, int]:
    """Compare the sides of the threshold on which the sharpness was taken to lie with the whole grid's sharpnesses.

    A run that says no says it of each of its steps, whether it measured there or trusted an estimate from a sample; an
    estimate of a run that says yes answers nothing. A sharpness within its tolerance of the threshold has no side.

    Args:
        its_runs: The runs of the adaptive search.
        all_runs: Those of the whole grid, measured to the tolerance.
        config: The experiment.

    Returns:
        The number of sides, and of wrong ones.
    """
    at = ["depth", "width", "seed", "lr_exponent", "step"]
    asked = its_runs["question"].isin([Purpose.SHARPNESS.value, Purpose.ONSET.value])
    sides = its_runs[asked & (its_runs["step"] > 0) & np.isfinite(its_runs["sharpness"])]
    lambda_0 = all_runs[all_runs["step"] == 0].groupby(at[:3])["sharpness"].first()
    both = sides.merge(all_runs[[*at, "sharpness"]], on=at, suffixes=("", "_whole"))
    both = both.merge(lambda_0.rename("lambda_0").reset_index(), on=at[:3])
    both = both[np.isfinite(both["sharpness_whole"])]
    threshold = criteria(config).sharpness_threshold(both["lambda_0"])
    says_no = (both["sharpness"] <= threshold).groupby([both[name] for name in (*at[:4], "question")]).transform("all")
    answers = says_no | np.isfinite(both["residual"])
    told = answers & (abs(both["sharpness_whole"] - threshold) > config.sharpness.tolerance * threshold)
    wrong = told & ((both["sharpness"] > threshold) != (both["sharpness_whole"] > threshold))
    return int(told.sum()), int(wrong.sum())


def _carried_out(config: ExperimentConfig, simulator: Simulator, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The critical constants of an experiment, and all its runs."""
    store = RunStore(folder / f"{config.name}_{config.sweep.search}", writable=True)
    for cell in cells(config):
        CellSweep(config, cell, store, simulator).complete()
    store.pack()
    table, wanted = store.table(), {(cell.depth, cell.width, cell.seed) for cell in cells(config)}
    runs = table[[of in wanted for of in zip(table["depth"], table["width"], table["seed"], strict=True)]]
    return constants_table(runs, config.sweep.lr_exponents.exponents(), criteria(config)), runs


def _runs_of_cells(runs: pd.DataFrame) -> pd.Series:
    """Training runs of every initialisation."""
    trained = runs[runs["question"] != Purpose.INITIAL.value]
    return trained.groupby(["depth", "width", "seed"])["run_id"].nunique()


def main() -> None:
    """Compare on all networks, and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="initialisations of each network")
    parser.add_argument("--data-seed", type=int, help="draws half of the examples; without it all are trained on")
    parser.add_argument("--examples", type=int, default=256, help="size of the measurement set")
    parser.add_argument("--audit", type=float, default=0.0, metavar="SHARE", help="share to measure anew")
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the runs there")
    wanted = parser.parse_args()
    if wanted.keep is not None:
        _compare_all(wanted, wanted.keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        _compare_all(wanted, Path(folder))


def _drawn(data_seed: int | None) -> list[str]:
    """Overrides that draw the examples."""
    if data_seed is None:
        return []
    return [f"data.train_examples={_HALF}", f"data.seed={data_seed}", f"sharpness.seed={data_seed}"]


def _compare_all(wanted: argparse.Namespace, folder: Path) -> None:
    in_all: dict[str, list[Agreement]] = {name: [] for name in OF_THE_TRANSIENT}
    all_sides: list[tuple[int, int]] = []
    for network in wanted.only:
        for loss in LOSSES:
            sizes = [f"sweep.seeds={wanted.seeds}", f"sharpness.examples={wanted.examples}"]
            settings = [*sizes, f"name={network}_{loss}", f"loss={loss}"]
            config = load_config("quickstart", [*_COMMON, *NETWORKS[network], *settings, *_drawn(wanted.data_seed)])
            found, shares, sides, wrong, judged = compare(config, folder, wanted.audit)
            words = ", ".join(f"{each.name} {each.equal}/{each.compared} ({each.farthest:g})" for each in found)
            print(f"{network}, {loss}: {words}; {shares.mean():.2f} of its runs, at most {shares.max():.2f}")
            print(f"    sides of the threshold: {sides}, of which {wrong} wrong")
            if judged is not None:
                errors = judged.errors[0]
                print(f"    audit: {errors.number} converged, largest error {errors.largest:.1e}")
            for each in found:
                in_all[each.name].append(each)
            all_sides.append((sides, wrong))
    for constant, rows in in_all.items():
        compared, equal = sum(each.compared for each in rows), sum(each.equal for each in rows)
        print(f"{constant}: {equal} of {compared} equal, farthest {max(each.farthest for each in rows):g} grid steps")
    sides, wrong = np.sum(all_sides, axis=0)
    print(f"sides of the threshold: {sides}, of which {wrong} wrong")


if __name__ == "__main__":
    main()

"""A figure of your own from an experiment's tidy table: how much room there is between 2 and c_loss.

    python examples/custom_figure.py outputs/quickstart --to opening_up.png

The folder is one that `phases run` has written; where there is none, a small experiment is run into it first.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from sharpness_phases import Experiment, PhaseAnalyzer

SMALL = ["sweep.widths=[64,128,256]", "sweep.seeds=3", "data.train_examples=2048", "sharpness.examples=512"]


def known(table: pd.DataFrame, constant: str) -> pd.DataFrame:
    """The rows whose constant is a number: a censored one lies beyond the grid and must not be averaged in."""
    return table[table[f"{constant}_censored"] == ""]


def main() -> None:
    """Read the constants, print their medians, draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, nargs="?", default=Path("outputs/small"))
    options.add_argument("--to", default="opening_up.png", help="picture to write")
    given = options.parse_args()

    if given.folder.exists():
        analyzer = PhaseAnalyzer.load(given.folder)
    else:
        analyzer = Experiment.from_config("quickstart", SMALL, given.folder).run()

    table = analyzer.critical_constants()  # a row for each initialisation: depth, width, seed, lambda_0, c_loss, ...
    print(table.groupby(["depth", "width"])[["lambda_0", "c_loss", "c_sharp", "c_max"]].median().round(2).to_string())

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    axis.axhline(2, color="grey", linestyle="--", label="c = 2")
    for constant, colour in {"c_loss": "#0072b2", "c_sharp": "#b8860b", "c_max": "#a23b0c"}.items():
        rows = known(table, constant)
        axis.scatter(1 / rows["width"], rows[constant], s=14, alpha=0.5, color=colour)
        medians = rows.groupby("width")[constant].median()
        axis.plot(1 / medians.index, medians, color=colour, label=constant)
    axis.set(xlabel="1 / width", ylabel="learning rate x initial sharpness", title=analyzer.title)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(frameon=False)
    figure.savefig(given.to, dpi=150)
    print(f"Picture: {given.to}")


if __name__ == "__main__":
    main()

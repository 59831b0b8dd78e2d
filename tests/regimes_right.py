"""How many random runs have the right regimes: `python tests/regimes_right.py COUNT SEED [SEED ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from drawn_runs import drawn_runs
from expert_runs import expert_runs
from labelled_runs import is_right
from run_pieces import Labelled
from simulated_runs import simulated_runs

from sharpness_phases.analysis.regimes import regimes


def right_ones(runs: Sequence[Labelled]) -> int:
    """How many of the runs have the same sequence of labels as was expected, at 85% of the steps at least."""
    return sum(is_right(regimes(each.run, each.edge), each.segments) for each in runs)


def main(count: int, seeds: Sequence[int]) -> None:
    """Print the numbers of all sets, for each seed."""
    for seed in seeds:
        drawn, expert, simulated = (right_ones(draw(count, seed)) for draw in (drawn_runs, expert_runs, simulated_runs))
        print(f"seed {seed}, of {count} each: drawn {drawn}, by another expert {expert}, simulated {simulated}")


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])

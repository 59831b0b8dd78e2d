"""The regimes of a long run: transient, saturation, progressive sharpening, edge of stability.

    python examples/regimes_of_a_long_run.py --steps 4000 --c 4

Full-batch gradient descent on 1000 images; after thousands of steps the sharpness stays around 2 / eta.
"""

import argparse
import math
from pathlib import Path

from sharpness_phases import Experiment


def main() -> None:
    """Run, print the regimes, draw them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=4000)
    options.add_argument("--c", type=float, default=4.0, help="learning rate times initial sharpness")
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--output", type=Path, default=Path("outputs/long_run"), help="folder; run again to resume")
    given = options.parse_args()

    # A shipped config, with one network and a grid of one c = 2^x.
    x = math.log2(given.c)
    experiment = Experiment.from_config(
        "laptop/regimes_tanh",
        [
            f"training.steps={given.steps}",
            f"sweep.widths=[{given.width}]",
            "sweep.seeds=1",
            f"sweep.lr_exponents={{start: {x}, stop: {x}, step: 0.25}}",
        ],
        given.output,
    )
    analyzer = experiment.run()

    run_id = analyzer.regime_table()["run_id"].iloc[0]
    run = analyzer.trajectories().query("run_id == @run_id").set_index("step")
    edge = 2 / run["learning_rate"].iloc[0]
    for segment in analyzer.regimes(run_id):
        inside = run["sharpness"].loc[segment.start : segment.stop - 1].dropna() / edge
        steps = f"steps {segment.start} to {segment.stop - 1}"
        print(
            f"{segment.regime.value:<24} {steps:<20} eta sharpness / 2: {inside.iloc[0]:.2f} -> {inside.iloc[-1]:.2f}"
        )

    picture = analyzer.regime_figure(run_id).save(given.output / "long_run.png")
    print(f"Picture: {picture}")


if __name__ == "__main__":
    main()

"""One small experiment against a stored table: drift between versions of the code or of its libraries shows here.

Tolerances: constants are grid points and must be equal, but for one step where a threshold lies within rounding;
lambda_0 to 1e-3, loss_0 to 1e-5. After a change that is meant, `python tests/app/sweep/test_golden.py` writes it anew.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sharpness_phases import Experiment

TABLE = Path(__file__).parent / "golden.csv"
OVERRIDES = ["sweep.widths=[16,32]", "sweep.depths=[3]", "sweep.seeds=2", "data.train_examples=1024"]
OVERRIDES += ["sharpness.examples=256", "training.batch_size=128", "tensorboard=false", "analysis.barrier=true"]
CONSTANTS = ["c_loss", "c_sharp", "c_barrier", "c_max"]


def table(folder, loss):
    constants = Experiment.from_config("quickstart", [*OVERRIDES, f"loss={loss}"], folder).run().critical_constants()
    return constants[["loss", "depth", "width", "seed", "lambda_0", "loss_0", *CONSTANTS]]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_a_small_experiment_gives_the_stored_constants(loss, tmp_path):
    stored = pd.read_csv(TABLE).query("loss == @loss").reset_index(drop=True)
    found = table(tmp_path, loss)
    np.testing.assert_allclose(found["loss_0"], stored["loss_0"], rtol=1e-5)
    np.testing.assert_allclose(found["lambda_0"], stored["lambda_0"], rtol=1e-3)
    steps = np.abs(np.log2(found[CONSTANTS] / stored[CONSTANTS]) / 0.1).round().to_numpy()
    assert np.nanmax(steps) <= 1
    assert (steps > 0).sum() <= 1
    assert (np.isnan(found[CONSTANTS].to_numpy()) == np.isnan(stored[CONSTANTS].to_numpy())).all()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tables = [table(Path(folder) / loss, loss) for loss in ("mse", "xent")]
        pd.concat(tables).to_csv(TABLE, index=False, float_format="%.9g")

"""Keras files that were saved when the package was imported as `app` and `models`."""

import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "data" / "keras_0_1"
NAMES = sorted(path.stem for path in FILES.glob("*.keras"))
# The ResNet normalises over two channels: float32 is off by 1e-4 there, and differently on another kind of processor.
LOADS = """
import keras, numpy as np
for name in {names!r}:
    saved = np.load(f"{files}/{{name}}.npz")
    model = keras.models.load_model(f"{files}/{{name}}.keras")
    exact = dict(rtol=1e-3) if name.endswith("resnet") else dict(rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(saved["x"], verbose=0), saved["predictions"], **exact)
    if name.startswith("sharpness_model"):
        assert type(model) is SharpnessModel
        assert type(model.loss).__name__ == "HalfMeanSquaredError"
    if name == "sharpness_model_of_fcn":
        targets = np.eye(2)[np.arange(len(saved["x"])) % 2]
        assert model.solver.tolerance == 1e-4
        model.measure_on(saved["x"], targets)
        assert model.sharpness().eigenvalue > 0
        assert np.isfinite(model.fit(saved["x"], targets, batch_size=2, verbose=0).history["loss"]).all()
"""


def load(names, imports):
    """Load files in a process of its own, which imports nothing else of ours."""
    program = f"{imports}\n{LOADS.format(files=FILES, names=names)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_file_loads_where_sharpness_model_is_imported_and_predicts_what_it_did():
    assert len(NAMES) == 3
    load(NAMES, "from sharpness_phases import SharpnessModel")


@pytest.mark.slow
def test_a_network_alone_needs_our_layers_only():
    load(["resnet"], "import sharpness_phases.models.layers")

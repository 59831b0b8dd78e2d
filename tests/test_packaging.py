"""The installed package works without the source tree beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_holds_configs_and_data_and_runs_from_anywhere(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "wheel", ROOT], check=True)
    (wheel,) = (tmp_path / "wheel").iterdir()
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    code = (
        "import sharpness_phases.models; from sharpness_phases.config.loading import load_config, shipped_configs;"
        "from sharpness_phases.data.loading import load_image_set;"
        f"assert sharpness_phases.__file__.startswith({str(site)!r});"
        f"assert sharpness_phases.models.__file__.startswith({str(site)!r});"
        "assert {'quickstart', 'laptop/fcn_mse'} <= set(shipped_configs()); load_config('paper/fcn');"
        "from sharpness_phases.views.report.page import asset; assert asset('report.css') and asset('report.js');"
        "assert len(load_image_set('fashion_mnist_subset').train_images) == 4096"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)

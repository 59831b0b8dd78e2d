"""What many tests need: TensorFlow kept quiet, the prepared data sets, small problems."""

import os
from pathlib import Path

import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

PREPARED = Path(__file__).parents[2] / "shared" / "data" / "tfds"


@pytest.fixture
def prepared_data() -> str:
    """Folder of prepared TensorFlow Datasets; the test is skipped where it is absent."""
    if not PREPARED.is_dir():
        pytest.skip(f"the prepared image sets are not at {PREPARED}")
    return str(PREPARED)

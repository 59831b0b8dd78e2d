"""What many tests need: TensorFlow kept quiet, the prepared data sets, small problems."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The matrices here are small. Threads that share them wait for each other in a loop, the longer the busier the machine:
# on two busy cores NumPy's `eigh` of 71 x 71 numbers took 200 ms with two threads, and 3 ms with one.
for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ.setdefault(threads, "1")

settings.register_profile("no deadlines", deadline=None)  # a busy machine is no fault
settings.load_profile("no deadlines")


def pytest_collection_finish():
    """Let the garbage collector pass over what imports made: 400,000 objects, 0.3 s for each new network of Keras."""
    gc.collect()
    gc.freeze()


PREPARED = Path(__file__).parents[2] / "shared" / "data" / "tfds"


@pytest.fixture
def prepared_if_any() -> str | None:
    """Folder of prepared TensorFlow Datasets, if there is one."""
    return str(PREPARED) if PREPARED.is_dir() else None


@pytest.fixture
def prepared_data(prepared_if_any) -> str:
    """Folder of prepared TensorFlow Datasets; the test is skipped where it is absent."""
    if prepared_if_any is None:
        pytest.skip(f"the prepared image sets are not at {PREPARED}")
    return prepared_if_any


@pytest.fixture(scope="module")
def kept_networks():
    """The module's experiments share compiled networks; for one that is not about tracing."""
    from kept_networks import kept

    with kept():
        yield


@pytest.fixture
def figure(record_property):
    """Tell a figure that was measured: it stands in the summary, wherever the test ran."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter):
    """Print the figures."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    for text in [value for report in reports for name, value in report.user_properties if name == "figure"]:
        terminalreporter.write_line(text)

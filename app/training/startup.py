"""Importing TensorFlow without the lines that it prints while it starts."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_START_UP = re.compile(
    rb"^(WARNING: All log messages before absl|[IW]\d{4} |E\d{4} .*cuda_platform\.cc.*cuInit|To enable the following)"
)
"""Lines that TensorFlow's C++ part prints whatever its log level: information, and the absence of a GPU."""


def import_tensorflow() -> None:
    """Import TensorFlow and look for devices; what it says about itself is dropped, all other lines are kept."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _filtered_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Hold back the process's standard error, C++ included, and write it out without start-up lines at the end."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not _START_UP.match(line):
                    os.write(2, line)

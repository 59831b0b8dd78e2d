"""Compiled networks that one experiment of the tests leaves to the next: tracing takes most of a small one's time.

A runner is used again for what would be traced alike: the same network, solver, loss, optimizer and data. Its weights
are assigned before every run, as between the initialisations of one experiment.
"""

import hashlib
import json
import re
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

from sharpness_phases.sweep import simulator
from sharpness_phases.training.runner import TrajectoryRunner

_MOST = 12
"""Runners that are kept, for the sake of memory."""

_OTHERS_CODE = re.compile(r'"class_name": "function"|"module": "(?!keras|sharpness_phases)')
"""Functions and classes whose code may change under the same name: nothing compiled of them is kept."""

_kept = {}


@contextmanager
def kept():
    """Experiments share compiled networks while this holds."""
    honest = simulator.Simulator.runner

    def runner(self, cell):
        with patch.object(simulator, "TrajectoryRunner", partial(_runner, self.measurement)):
            return honest(self, cell)

    with patch.object(simulator.Simulator, "runner", runner):
        yield


def _runner(measurement, model, x, y):
    key = _description(model, (x, y, *measurement))
    if _OTHERS_CODE.search(key[0]):
        return TrajectoryRunner(model, x, y)
    if key not in _kept:
        while len(_kept) >= _MOST:
            del _kept[next(iter(_kept))]
        _kept[key] = TrajectoryRunner(model, x, y)
    return _kept[key]


def _description(model, arrays):
    """All that the compiled functions depend on."""
    written = json.dumps([model.get_config(), model.get_compile_config(), model.jit_compile], sort_keys=True)
    data = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return written, data, *((array.shape, str(array.dtype)) for array in arrays)

"""What the project finds of an entry, and what the oracles find at the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from catalogue.architecture import ARCHITECTURES, Problem

from sharpness_phases import SharpnessModel

TESTS = Path(__file__).parents[1]


class Found(NamedTuple):
    """What was measured.

    Attributes:
        sharpness: The largest eigenvalue; NaN if the network was refused.
        loss: Of the same examples.
        converged: Whether it claims to be exact to 1e-3.
        seconds: Of one processor, from the wrapping of the network to the number, tracing included.
        refusal: The words, or nothing.
    """

    sharpness: float = float("nan")
    loss: float = float("nan")
    converged: bool = False
    seconds: float = float("nan")
    refusal: str = ""


def measurement_of(problem: Problem):
    """The examples as `SharpnessModel` takes them."""
    return (problem.x,) if problem.y is None else (problem.x, problem.y)


def wrapped(problem: Problem, **settings) -> SharpnessModel:
    """The network in a compiled `SharpnessModel`."""
    if problem.loss is None:
        problem.network.compile()
    model = SharpnessModel(problem.network, measurement=measurement_of(problem), **settings)
    model.compile(keras.optimizers.SGD(1e-4), problem.loss, loss_weights=problem.loss_weights, jit_compile=False)
    return model


def measured(problem: Problem) -> Found:
    """Measure the entry's network as it stands, in single precision, with every setting at its default."""
    begun = time.process_time()
    try:
        model = wrapped(problem)
        found = model.measure()
        result = model.doubted(found.sharpness.to_python())
    except ValueError as error:
        return Found(refusal=str(error))
    seconds = time.process_time() - begun
    return Found(float(result.eigenvalue), float(found.loss), bool(result.converged), seconds)


class Jax:
    """A process in which the same networks are built on JAX; used as a context."""

    def __enter__(self):
        program = [sys.executable, "-m", "catalogue.in_jax"]
        environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
        self._process = subprocess.Popen(
            program,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def largest_eigenvalue(self, name: str, weights: list[np.ndarray]) -> tuple[float, float]:
        """Loss and largest eigenvalue of the Hessian of an entry, in float64, at the given weights."""
        file = str(Path(self._folder.name) / "weights.npz")
        np.savez(file, *weights)
        self._process.stdin.write(json.dumps({"name": name, "weights": file}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{name} in JAX: {answer['error']}")
        return answer["loss"], answer["sharpness"]


def has_jax() -> bool:
    """Whether the extra `zoo` is installed."""
    return find_spec("jax") is not None


def names(domain: str | None = None) -> list[str]:
    """The names of entries, of one domain or of all, of those that the backend here can build."""
    return [each.name for each in ARCHITECTURES.values() if domain in (None, each.domain)]

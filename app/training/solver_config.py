"""Solvers as they are saved with a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras

from sharpness_phases.curvature.lanczos import Lanczos
from sharpness_phases.curvature.operator import Solver
from sharpness_phases.curvature.power import PowerIteration

SolverConfig: TypeAlias = dict[str, Any]
"""A solver in values that JSON can hold: of ours `kind` and `settings`, of others what Keras serialises."""

_OURS = {kind.__name__: kind for kind in (Lanczos, PowerIteration)}
"""Our solvers by the name of their class; their attributes are their arguments."""


def solver_config(solver: Solver) -> SolverConfig:
    """Describe a solver by plain values.

    Args:
        solver: One of ours, or any object that Keras can serialise.

    Returns:
        What `solver_from_config` takes.
    """
    name = type(solver).__name__
    if type(solver) is _OURS.get(name):
        return {"kind": name, "settings": dict(vars(solver))}
    return keras.saving.serialize_keras_object(solver)


def solver_from_config(config: SolverConfig, custom_objects: Mapping[str, object] | None = None) -> Solver:
    """Build the solver that `solver_config` described.

    Args:
        config: The description.
        custom_objects: Classes by name, as for `keras.saving.deserialize_keras_object`.

    Returns:
        The solver.
    """
    if "kind" in config:
        return _OURS[config["kind"]](**config["settings"])
    return keras.saving.deserialize_keras_object(config, custom_objects)

"""Phase diagrams of early training dynamics.

The public classes are imported when they are first asked for, so that `import sharpness_phases` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sharpness_phases.advice.explain import explain_learning_rate
    from sharpness_phases.analysis.phases import Phase
    from sharpness_phases.analyzer import PhaseAnalyzer
    from sharpness_phases.curvature.hessian import HessianOperator
    from sharpness_phases.curvature.lanczos import Lanczos
    from sharpness_phases.curvature.power import PowerIteration
    from sharpness_phases.experiment import Experiment
    from sharpness_phases.recommend import LearningRateAdvice, recommend_learning_rate
    from sharpness_phases.training.callback import SharpnessCallback
    from sharpness_phases.training.critical import CriticalLearningRate, critical_learning_rate
    from sharpness_phases.training.critical_callback import CriticalLearningRateCallback
    from sharpness_phases.training.losses import HalfMeanSquaredError
    from sharpness_phases.training.optimizers import stability_edge
    from sharpness_phases.training.sharpness_model import SharpnessModel

_PUBLIC = {  # a name's module; a further name stands above and in __all__, too
    "CriticalLearningRate": "sharpness_phases.training.critical",
    "CriticalLearningRateCallback": "sharpness_phases.training.critical_callback",
    "Experiment": "sharpness_phases.experiment",
    "HalfMeanSquaredError": "sharpness_phases.training.losses",
    "HessianOperator": "sharpness_phases.curvature.hessian",
    "Lanczos": "sharpness_phases.curvature.lanczos",
    "LearningRateAdvice": "sharpness_phases.recommend",
    "Phase": "sharpness_phases.analysis.phases",
    "PhaseAnalyzer": "sharpness_phases.analyzer",
    "PowerIteration": "sharpness_phases.curvature.power",
    "SharpnessCallback": "sharpness_phases.training.callback",
    "SharpnessModel": "sharpness_phases.training.sharpness_model",
    "critical_learning_rate": "sharpness_phases.training.critical",
    "explain_learning_rate": "sharpness_phases.advice.explain",
    "recommend_learning_rate": "sharpness_phases.recommend",
    "stability_edge": "sharpness_phases.training.optimizers",
}

__all__ = [
    "CriticalLearningRate",
    "CriticalLearningRateCallback",
    "Experiment",
    "HalfMeanSquaredError",
    "HessianOperator",
    "Lanczos",
    "LearningRateAdvice",
    "Phase",
    "PhaseAnalyzer",
    "PowerIteration",
    "SharpnessCallback",
    "SharpnessModel",
    "critical_learning_rate",
    "explain_learning_rate",
    "recommend_learning_rate",
    "stability_edge",
]


if not TYPE_CHECKING:  # which knows the names above, and no others

    def __getattr__(name: str) -> object:
        if name not in _PUBLIC:
            raise AttributeError(f"module 'sharpness_phases' has no attribute {name!r}")
        return getattr(import_module(_PUBLIC[name]), name)

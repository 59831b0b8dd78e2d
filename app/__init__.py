"""Phase diagrams of early training dynamics.

The public classes are imported when they are first asked for, so that `import app` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.analysis.advice import LearningRateAdvice
    from app.analysis.phases import Phase
    from app.analyzer import PhaseAnalyzer
    from app.curvature.hessian import HessianOperator
    from app.curvature.lanczos import Lanczos
    from app.curvature.power import PowerIteration
    from app.experiment import Experiment
    from app.losses import HalfMeanSquaredError
    from app.recommend import recommend_learning_rate
    from app.training.callback import SharpnessCallback
    from app.training.sharpness_model import SharpnessModel

_PUBLIC = {
    "Experiment": "app.experiment",
    "HalfMeanSquaredError": "app.losses",
    "HessianOperator": "app.curvature.hessian",
    "Lanczos": "app.curvature.lanczos",
    "LearningRateAdvice": "app.analysis.advice",
    "Phase": "app.analysis.phases",
    "PhaseAnalyzer": "app.analyzer",
    "PowerIteration": "app.curvature.power",
    "SharpnessCallback": "app.training.callback",
    "SharpnessModel": "app.training.sharpness_model",
    "recommend_learning_rate": "app.recommend",
}

__all__ = [
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
    "recommend_learning_rate",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'app' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)

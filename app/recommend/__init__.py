"""A learning rate for a user's own model, and why another one goes wrong."""

from sharpness_phases.analysis.verdict import Verdict
from sharpness_phases.recommend.explain import explain_learning_rate
from sharpness_phases.recommend.rate import LearningRateAdvice, recommend_learning_rate

__all__ = ["LearningRateAdvice", "Verdict", "explain_learning_rate", "recommend_learning_rate"]

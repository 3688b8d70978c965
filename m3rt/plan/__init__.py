"""Chooses a model, precisions, views and machines for a corpus, with reasons; or measures them on labelled data.

A new checkpoint is a row of models.MODELS, a new rule a function of recommendation.RULES.
"""

from .measure import Choice, Measured, best_choice, measure_choices, pareto
from .models import MODELS, Checkpoint
from .questions import Questions
from .recommendation import Plan, recommend

__all__ = [
    "MODELS",
    "Checkpoint",
    "Choice",
    "Measured",
    "Plan",
    "Questions",
    "best_choice",
    "measure_choices",
    "pareto",
    "recommend",
]

"""Measures how well a bundle retrieves: labelled data sets, exact rankings, measures, comparisons; it knows no index.

A new measure is a row of measures.MEASURES, and a new way to rank a row of modes.MODES. A new number of the quality
gate is a field of fidelity.Fidelity with its limit in gate.LIMITS.
"""

from .bootstrap import Difference, difference
from .dataset import Dataset, Texts, read_dataset
from .evaluate import Evaluation, evaluate
from .fidelity import Fidelity, fidelity
from .gate import LIMITS, Gate, gate
from .modes import MODES
from .pair_gate import PAIR_LIMITS, gate_pairs
from .pools import Task, task
from .reranked import LastStage

__all__ = [
    "LIMITS",
    "MODES",
    "PAIR_LIMITS",
    "Dataset",
    "Difference",
    "Evaluation",
    "Fidelity",
    "Gate",
    "LastStage",
    "Task",
    "Texts",
    "difference",
    "evaluate",
    "fidelity",
    "gate",
    "gate_pairs",
    "read_dataset",
    "task",
]

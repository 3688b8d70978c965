"""How well a bundle retrieves: labelled data sets, exact rankings in every mode, measures, and comparisons."""

from .bootstrap import Difference, difference
from .dataset import Dataset, Texts, read_dataset
from .evaluate import Evaluation, evaluate
from .fidelity import Fidelity, fidelity
from .gate import LIMITS, Gate, gate
from .modes import MODES
from .pools import Task, task

__all__ = [
    "LIMITS",
    "MODES",
    "Dataset",
    "Difference",
    "Evaluation",
    "Fidelity",
    "Gate",
    "Task",
    "Texts",
    "difference",
    "evaluate",
    "fidelity",
    "gate",
    "read_dataset",
    "task",
]

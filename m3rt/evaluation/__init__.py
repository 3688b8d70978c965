"""How well a bundle retrieves: labelled data sets, exact rankings in every mode, measures, and comparisons."""

from .bootstrap import Difference, difference
from .dataset import Dataset, Texts, read_dataset
from .evaluate import Evaluation, evaluate
from .modes import MODES
from .pools import Task, task

__all__ = [
    "MODES",
    "Dataset",
    "Difference",
    "Evaluation",
    "Task",
    "Texts",
    "difference",
    "evaluate",
    "read_dataset",
    "task",
]

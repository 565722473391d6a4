"""The plots of evaluations, and the way to all of them.

A report is what ``python -m emotion.evaluate`` writes as JSON: scores are shares in [0, 1], None where there is none.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emotion.outputs.plots import training as training_plots
from emotion.outputs.plots.comparison import write_protocol_comparison, write_recall_by_modality
from emotion.outputs.plots.confidence import write_coverage_accuracy, write_reliability_diagram
from emotion.outputs.plots.figures import describe_report
from emotion.outputs.plots.training import write_fold_scores

__all__ = [
    "write_confusion_matrix",
    "write_coverage_accuracy",
    "write_fold_scores",
    "write_protocol_comparison",
    "write_recall_by_modality",
    "write_reliability_diagram",
]


def write_confusion_matrix(report: Mapping[str, Any], path: str | os.PathLike) -> Path:
    """Draws a report's confusion matrix: counts, shares of the row, recall and precision of every class.

    Args:
        report: of an evaluation.
        path: the picture to write (.png).

    Returns:
        ``path``.

    Raises:
        EmotionError: if nothing can be written there.
    """
    matrix = np.array(report["confusion_matrix"])
    return training_plots.write_confusion_matrix(matrix, report["classes"], path, *describe_report(report))

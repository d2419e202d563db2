"""How good a model is: counts, figures of each class, a picture of them.

With numpy alone, so that a phone has the same figures as a server.
"""

from keras_split.evaluation.meaning import LOGITS
from keras_split.evaluation.meaning import PROBABILITY
from keras_split.evaluation.meaning import SCORE
from keras_split.evaluation.meaning import UNKNOWN
from keras_split.evaluation.meaning import by_class
from keras_split.evaluation.plot import plot_confusion
from keras_split.evaluation.report import Average
from keras_split.evaluation.report import ClassFigures
from keras_split.evaluation.report import Report
from keras_split.evaluation.tally import Tally

__all__ = [
    "LOGITS",
    "PROBABILITY",
    "SCORE",
    "UNKNOWN",
    "Average",
    "ClassFigures",
    "Report",
    "Tally",
    "by_class",
    "plot_confusion",
]

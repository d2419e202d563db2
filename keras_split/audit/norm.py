"""Labels by how large a gradient is."""

from collections.abc import Sequence

import numpy as np

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.nearest_mean import check_count
from keras_split.audit.nearest_mean import means_of
from keras_split.audit.rows import rows
from keras_split.audit.scene import Leaked
from keras_split.audit.seen import Seen
from keras_split.audit.told import check_told
from keras_split.utils.counted import counted


class Norm(Attack):
    """Gives each example the label whose gradients are about as large.

    Li et al. 2022, "Label Leakage and Protection in Two-party Split Learning"
    (ICLR; arXiv 2102.08504), section 3.1: `r_n(g) = |g|`. Of two classes, the
    model is less sure of the rarer one, so its gradients are larger. There
    the norm ranks examples; here a few labels are known, and the mean of
    `log |g|` that is nearest decides, among any number of classes.

    Args:
        labels_per_class: How many examples of each class are known.

    Raises:
        OptionError: If it is no positive whole number.
    """

    paper = "Li et al. 2022, arXiv 2102.08504, section 3.1; nearest mean"
    knows = frozenset({"labels"})

    def __init__(self, labels_per_class: int = 10) -> None:
        self.labels_per_class = check_count(labels_per_class)
        self.name = (
            "norm of features gradients, "
            f"{counted(labels_per_class, 'known label')} a class"
        )

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Learns the known labels."""
        self._labels = leaked.labels

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """The label of each example."""
        gradients = rows(seen, "features_grad").astype(np.float64)
        check_told(self._labels, len(gradients))
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        sizes = np.log(np.maximum(norms, np.finfo(np.float64).tiny))
        names, means = means_of(sizes, self._labels)
        return Guess(labels=names[np.abs(sizes - means.T).argmin(1)])

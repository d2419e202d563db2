"""Labels without a single one known: which examples are of one class."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.rows import WORDS
from keras_split.audit.rows import check_of
from keras_split.audit.rows import rows
from keras_split.audit.rows import unit
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen
from keras_split.errors import BackendError
from keras_split.utils.extras import install

# Restarts of k-means: one stops at a poor optimum once in a few.
_STARTS = 10


class Clustering(Attack):
    """Groups examples by the directions of what crossed; knows no label.

    Liu and Lyu 2022, "Similarity-based Label Inference Attack against Training
    and Inference of Split Learning" (arXiv 2203.05222): behind a dense tail
    the gradient of the loss by the features is `W^T (p - y)`, so gradients of
    one label have a large cosine, and the k-means clusters of `g / |g|`, as
    many as there are classes, are the labels. There one known label a class
    then names them; here a report names them as well as they can be named
    (`Guess.clusters`), and `NearestMean` is who knows labels.

    Args:
        of: What is read: `"features_grad"`, `"features"` or `"smashed"`.

    Raises:
        OptionError: If it is none of these.
    """

    paper = "Liu and Lyu 2022, arXiv 2203.05222; no label is known"

    def __init__(self, of: str = "features_grad") -> None:
        require_clusters()
        self.of = check_of(of)
        self.name = f"clustering of {WORDS[of]}"

    def begin(self, scene: Scene) -> None:
        """Learns how many classes there are."""
        self._classes, self._seed = scene.classes, scene.seed

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """The cluster of each example."""
        values = unit(rows(seen, self.of))
        return Guess(clusters=clusters(values, self._classes, self._seed))


def clusters(
    values: np.ndarray[Any, Any], count: int, seed: int
) -> np.ndarray[Any, Any]:
    """k-means.

    Args:
        values: Shape `(examples, numbers)`.
        count: How many clusters; fewer if there are fewer different rows.
        seed: Of where it starts.

    Returns:
        The number of each row's cluster, shape `(examples,)`.
    """
    from sklearn.cluster import KMeans  # not cheap, and of an extra
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    means = KMeans(min(count, len(values)), n_init=_STARTS, random_state=seed)
    # Two threads of OpenMP spin for one another where others want the cores:
    # 6 seconds instead of a tenth of one, for 600 examples.
    with threadpool_limits(1, "openmp"), warnings.catch_warnings():
        # Of fewer different rows than clusters: codes of one bit are alike.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found: np.ndarray[Any, Any] = means.fit_predict(values)
    return found


def require_clusters() -> None:
    """Checks that there is k-means, before an hour of training.

    Raises:
        BackendError: If not.
    """
    try:
        import sklearn.cluster  # noqa: F401
    except ImportError as error:
        raise BackendError(
            "Expected scikit-learn, whose k-means looks for labels. Received: "
            f"{error}. Run: {install('audit')}"
        ) from error

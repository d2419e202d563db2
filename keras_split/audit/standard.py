"""The attacks that are tried unless others are asked for."""

from collections.abc import Callable
from functools import partial

from keras_split.audit.attack import Attack
from keras_split.audit.clustering import Clustering
from keras_split.audit.clustering import require_clusters
from keras_split.audit.direction import Direction
from keras_split.audit.known_head import InitialHead
from keras_split.audit.known_head import KnownHead
from keras_split.audit.matching import Matching
from keras_split.audit.nearest_mean import NearestMean
from keras_split.audit.sdar import SDAR


def standard(classes: int) -> list[Callable[[], Attack]]:
    """What makes the attacks of a training, those of a mere server first.

    Args:
        classes: How many the model tells apart.

    Raises:
        BackendError: If scikit-learn is not installed.
    """
    require_clusters()
    made: list[Callable[[], Attack]] = [
        Clustering,
        Matching,
        partial(Clustering, "features"),
        SDAR,
        partial(NearestMean, "features_grad", 1),
        partial(NearestMean, "features", 10),
        partial(NearestMean, "smashed", 10),
    ]
    if classes == 2:
        made.append(Direction)
    return [*made, InitialHead, KnownHead]

"""The aggregation that a config asks for."""

from keras_split.server.cohorts.aggregation import Aggregation
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.plain import Plain
from keras_split.server.cohorts.secure import Secure


def of(config: CohortConfig) -> type[Aggregation]:
    """How the contributions of a round become one average."""
    return Secure if config.secure else Plain

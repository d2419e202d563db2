"""What one release costs, in differential privacy."""

from typing import Any
from typing import NamedTuple

from keras_split.errors import DefenseError
from keras_split.utils.extras import install


class Release(NamedTuple):
    """A mechanism applied to one example once.

    Attributes:
        event: What happened, as an event of dp-accounting; of neighbours
            that differ in that example alone. None if `epsilon` says it.
        distance: How far what is drawn is from that mechanism, in total
            variation.
        epsilon: One without delta, of what is drawn once for an example and
            not in each step.
    """

    event: Any
    distance: float = 0.0
    epsilon: float = 0.0


def dp() -> Any:
    """dp-accounting.

    Raises:
        DefenseError: If it is not installed.
    """
    try:
        import dp_accounting
    except ImportError as error:
        raise DefenseError(
            "Expected dp-accounting, which computes an epsilon. Received: an "
            f"installation without it. Run: {install('privacy')}."
        ) from error
    return dp_accounting

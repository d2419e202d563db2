"""TensorFlow's warning of many traces, where they are as they should be."""

import contextlib
import logging
from collections.abc import Iterator

_LOGGER = logging.getLogger("tensorflow")
_WARNING = "triggered tf.function retracing"


@contextlib.contextmanager
def expected() -> Iterator[None]:
    """Keeps back the warning that functions are traced too often.

    `compile` makes new functions, and TensorFlow (2.21) counts traces by the
    place in the source where a function was made, so that the fifth `compile`
    and `predict` of a notebook look to it like one function that is traced
    five times. Each of these is traced once.
    """

    def kept_back(record: logging.LogRecord) -> bool:
        return _WARNING not in str(record.msg)

    _LOGGER.addFilter(kept_back)
    try:
        yield
    finally:
        _LOGGER.removeFilter(kept_back)

"""What a graph checks as it runs, and how it is told what did not hold."""

import contextlib
import re
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_split.errors import ProtocolError

_MARK = "keras_split: "
_FINITE = {
    "body": "gradients and statistics in the body",
    "update": "gradients, weights and slots in the body",
}


def check(holds: tf.Tensor, what: str, *number: tf.Tensor) -> Any:
    """Ends the graph if something does not hold; `failed` tells what."""
    return tf.debugging.Assert(holds, [_MARK + what, *number])


def failed(error: tf.errors.OpError) -> tuple[str, float]:
    """What `check` found that does not hold, and the number it was given.

    Empty for any other error.
    """
    found = re.search(_MARK + r"([\w ]+)\](?: \[([^]]*)\])?", str(error))
    return (found[1], float(found[2] or "nan")) if found else ("", 0.0)


@contextlib.contextmanager
def finite_gradients() -> Iterator[None]:
    """Says in our words that a step's graph found NaN or infinity."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        expected = _FINITE.get(failed(error)[0])
        if expected is None:
            raise
        raise ProtocolError(
            f"Expected finite {expected}. Received: NaN or infinity. The step "
            "was not taken; lower the learning rate, or look for a broken "
            "batch.",
            "not-finite",
        ) from error


def total(tensors: Iterable[Any]) -> tf.Tensor:
    """A number that is finite only if every float in `tensors` is."""
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(getattr(t, "values", t), tf.float32))
            for t in tensors
            if t is not None and t.dtype.is_floating
        ]
        or [0.0]
    )

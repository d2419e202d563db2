"""Random weights that are the same for the same seed."""

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Models made meanwhile get the same weights each time.

    Whatever else draws is left as it was, so a training is the same whether
    attacks listen or not. Keras draws the seeds of its initializers from
    Python's generator.
    """
    state = random.getstate()
    # Not the number itself: a phone made after `keras.utils.set_random_seed`
    # of the same one would have these very weights.
    random.seed(f"audit/{seed}")
    try:
        yield
    finally:
        random.setstate(state)

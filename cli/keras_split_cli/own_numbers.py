"""What a phone knows of its half when a server refuses it as another."""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager

from keras_split.errors import RefusedError
from keras_split.utils.counted import counted


@contextmanager
def own_numbers_told(
    shape: Sequence[int], classes: int | None
) -> Iterator[None]:
    """Adds them to a refusal; nothing else tells how many classes there are.

    Args:
        shape: Height, width and channels of the images.
        classes: How many the half tells apart; None if that is not known.

    Raises:
        RefusedError: As it came, or with these numbers.
    """
    try:
        yield
    except RefusedError as error:
        if error.reason != "fingerprint":
            raise
        own = f"takes images of {shape[0]} x {shape[1]} (--input-size)"
        if classes is not None:
            own += (
                f" and has {counted(classes, 'class', 'classes')} (--classes)"
            )
        raise RefusedError(
            f"{error} This phone's half {own}.", error.reason
        ) from error

"""What was raised in another process, as an error of ours."""

from typing import Any

from keras_split.errors import SplitError


def raised(error: Any) -> SplitError:
    """The error to raise instead of Ray's.

    Args:
        error: A `RayTaskError`, which has the traceback of the other process.

    Returns:
        What was raised there, if it is one of ours.
    """
    cause = error.cause
    if isinstance(cause, SplitError):
        return cause
    return SplitError(
        "Expected a process of Ray to get done with its task. Received: "
        f"{type(cause).__name__}: {first_line(cause)} Without Ray, in one "
        "process, it says where."
    )


def first_line(error: BaseException) -> str:
    """Enough of what it says; Ray adds pages."""
    return str(error).split("\n", 1)[0][:300]

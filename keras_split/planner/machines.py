"""Profiles by name, by file, or measured now."""

from collections.abc import Callable
from typing import Any

from keras_split.planner.profile import Profile

PROBE = "probe"
# Of each machine, so that both are measured in a minute, TensorFlow's start
# and the server's bodies included.
SECONDS = 8.0
Progress = Callable[[float], object]


def profile(given: Any, now: Callable[[], Profile]) -> Profile | None:
    """What was given as a machine.

    Args:
        given: None, a `Profile`, what `Profile.load` takes, or `"probe"`.
        now: Measures this machine.

    Raises:
        DataError: If there is no such profile.
    """
    if given is None or isinstance(given, Profile):
        return given
    return now() if given == PROBE else Profile.load(given)


def phone_now(progress: Progress | None = None) -> Profile:
    """Measures this machine as the phone, in `SECONDS`."""
    from keras_split.planner import probe

    return probe.probe(name=_NAME, seconds=SECONDS, progress=progress)


def server_now(progress: Progress | None = None) -> Profile:
    """Measures this machine as the server; building bodies takes as long."""
    from keras_split.planner import server_probe

    return server_probe.probe_server(
        name=_NAME, seconds=SECONDS, progress=progress
    )


_NAME = "this machine"

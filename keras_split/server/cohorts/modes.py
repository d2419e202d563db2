"""The mode that a config asks for."""

from collections.abc import Callable
from collections.abc import Collection
from typing import TYPE_CHECKING

from keras_split.errors import DataError
from keras_split.server.cohorts.cohort import Cohort
from keras_split.server.cohorts.config import MOST_SECURE
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.members import MOST
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.merged import Merged
from keras_split.server.cohorts.mode import Mode
from keras_split.server.cohorts.private import Private
from keras_split.server.cohorts.shared import Shared
from keras_split.server.storage.cohort_state import CohortState

if TYPE_CHECKING:
    from keras_split.server.bodies import Bodies
    from keras_split.server.callbacks import ServerCallback

# What makes one from what it shares with the cohort.
Make = Callable[
    [CohortConfig, Members, CohortHalf, "Bodies", "ServerCallback"], Mode
]
_MODES: dict[str, Make] = {
    "merged": Merged,
    "private": Private,
    "shared": Shared,
}


def make(
    config: CohortConfig | None, bodies: "Bodies", events: "ServerCallback"
) -> Cohort | None:
    """The cohort of a server; None if each phone is for itself."""
    if config is None or config.mode == "personal":
        return None
    most = max(MOST, 2 * config.phones)
    if config.secure and config.mode == "merged":
        most = MOST_SECURE  # in a step all are there, if only to listen
    members, half = Members(most), CohortHalf()
    mode = _MODES[config.mode](config, members, half, bodies, events)
    cohort = Cohort(config, mode, half, members, bodies, events)
    bodies.keep(cohort.state)
    return cohort


def go_on(
    cohort: Cohort | None, found: CohortState | None, sessions: Collection[str]
) -> None:
    """Has a cohort go on from what its checkpoints have of it.

    Args:
        cohort: That of the server, if it has one.
        found: What is there; None if nothing is.
        sessions: Those that are open.

    Raises:
        DataError: If they are of other phones than these.
    """
    if found is None:
        return
    if cohort is None:
        raise DataError(
            f"Expected checkpoints without a cohort. Received: those of a "
            f"{found.mode} one, which would be lost. Serve it as it was, "
            f"--cohort {found.mode}, or choose another folder."
        )
    cohort.load(found, sessions)

"""What phones have in common whose bodies are kept one by one."""

import logging
from collections.abc import Callable
from collections.abc import Collection
from typing import TYPE_CHECKING

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState
from keras_split.server.storage.cohort_state import CohortState

if TYPE_CHECKING:
    from keras_split.training.server_step import ServerHalf

_LOG = logging.getLogger("keras_split.server")


class CohortFile:
    """The state of a cohort, beside the body that new ones are copies of.

    Args:
        checkpoints: Where it is kept.
        half: The body that is served, of which others are copies.
        capture: Takes the state of the cohort.
        odd: As in `HostState.check_finite`.

    Attributes:
        found: What `load` read; None if there was nothing.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        half: "ServerHalf",
        capture: Callable[[], CohortState],
        odd: Collection[int] = (),
    ) -> None:
        self._checkpoints = checkpoints
        self._half = half
        self._capture = capture
        self._odd = odd
        self.found: CohortState | None = None

    def load(self) -> None:
        """Goes on from the last one, if there is one.

        Raises:
            DataError: If all are damaged, or of another model.
        """
        fingerprint = self._half.contract.fingerprint
        loaded = self._checkpoints.load(fingerprint, self._odd)
        if loaded is None:
            return
        state, _ = loaded
        self._half.set_weights(state.body)
        self._half.timeline = state.timeline or self._half.timeline
        self.found = state.cohort

    def write(self) -> None:
        """Writes one; called in a turn of the cohort.

        Raises:
            ProtocolError: With reason `"checkpoint"`, if it cannot.
        """
        half = self._half
        with half.lock:
            state = HostState(
                half.contract.fingerprint,
                half.weights(),
                (),
                (),
                timeline=half.timeline,
                data=half.data,
                cohort=self._capture(),
            )
        try:
            self._checkpoints.save(state, self._odd)
        except (OSError, DataError) as error:
            _LOG.error("the state of the cohort was not written (%s)", error)
            raise ProtocolError(
                "Expected to write the state of the cohort. Received: an "
                "error of the server's disk, or weights that are not finite; "
                "its log says which.",
                "checkpoint",
            ) from error

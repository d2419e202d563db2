"""How long a merged step waits for phones that say nothing."""

import logging
from collections.abc import Callable
from collections.abc import Collection

from keras_split.server.cohorts.alarm import ALARM
from keras_split.server.cohorts.alarm import Call
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.flood import Flood
from keras_split.utils import workers

_LOG = logging.getLogger("keras_split.server")
_WORDS = Flood()


class Patience:
    """Waits for phones that have not asked for the next step, but has an end.

    Between two epochs it has more of it: phones validate and save then, one
    longer than another, and would train by turns if others began without
    them.

    Args:
        config: With how long that is.
        expired: Goes on without them.
    """

    def __init__(
        self, config: CohortConfig, expired: Callable[[], object]
    ) -> None:
        self._step_s = config.step_deadline_s
        self._epoch_s = max(config.round_deadline_s, self._step_s)
        self._expired = expired
        self._timer: Call | None = None
        self._long = False

    def wait(self, *, long: bool) -> None:
        """Waits from now on, or goes on waiting.

        Args:
            long: Whether for one that is between two epochs; when it is gone
                there is no reason for more any longer.
        """
        if self._timer is not None:
            if long or not self._long:
                return
            self.stop()

        def expire() -> None:
            if self._timer is timer:
                self._timer = None
                self._expired()

        self._long = long
        timer = self._timer = ALARM.after(
            self._epoch_s if long else self._step_s,
            lambda: workers.start(expire),
        )

    def stop(self) -> None:
        """All are there, or it goes on without them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def tell_silent(what: str, members: Collection[int]) -> None:
    """Logs who is not waited for any more, but not too often.

    Args:
        what: What begins without them.
        members: They.
    """
    if members and _WORDS.take(""):
        _LOG.warning(
            "%s begins without phone%s %s: nothing came from there for too "
            "long",
            what,
            "s" * (len(members) > 1),
            ", ".join(map(str, sorted(members))),
        )

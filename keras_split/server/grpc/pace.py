"""How fast those may ask whom nobody has let in."""

import asyncio

from keras_split.errors import RefusedError
from keras_split.server.limits import Buckets

AT_ONCE = 20
PER_S = 10
PAUSE_S = 0.2
MOST = 32  # that wait at a time


class Pace:
    """Has calls of a connection that asks without a pause wait a little.

    An answer is little for a probe a second, and much where each brings the
    next question: benchmarks/attacked.py, `StrangersProbes`.
    """

    def __init__(self) -> None:
        self._calls = Buckets(AT_ONCE, PER_S)
        self._waiting = 0

    async def keep(self, peer: str) -> None:
        """Waits, if this peer asks too often.

        Args:
            peer: The connection.

        Raises:
            RefusedError: With reason `"busy"`, if too many wait already.
        """
        if self._calls.take(peer):
            return
        if self._waiting >= MOST:
            raise RefusedError(
                f"Expected at most {PER_S} calls a second of health, "
                "reflection and status. Received: more. Ask again in a second.",
                "busy",
            )
        self._waiting += 1
        try:
            await asyncio.sleep(PAUSE_S)
        finally:
            self._waiting -= 1

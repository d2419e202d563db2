"""Members that wait for others, with no end that anybody knows."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from keras_split.protocol.cohort_messages import Later
from keras_split.protocol.messages import Message
from keras_split.server.cohorts.alarm import ALARM

# Then the phone asks again: its connection is alive, and so is it.
LATER_S = 20.0


class WaitingRoom:
    """Calls of members that are answered later, or with `Later`.

    Args:
        later_s: How long a call may wait, in seconds.
    """

    def __init__(self, later_s: float = LATER_S) -> None:
        self._later_s = later_s
        self._lock = threading.Lock()
        self._futures: dict[int, Future[Message]] = {}

    def __contains__(self, member: int) -> bool:
        return member in self._futures

    def wait(self, member: int) -> "Future[Message]":
        """Resolves with what `tell` says, or with `Later`.

        A member that asks again takes the place of its earlier call.
        """
        future: Future[Message] = Future()
        self.tell(member, Later())
        with self._lock:
            self._futures[member] = future
        timer = ALARM.after(
            self._later_s, lambda: self._give_up(member, future)
        )
        future.add_done_callback(lambda told: timer.cancel())
        return future

    def tell(self, member: int, reply: Message) -> bool:
        """Answers a member; False if it does not wait."""
        with self._lock:
            future = self._futures.pop(member, None)
        if future is None:
            return False
        future.set_result(reply)
        return True

    def tell_all(self, reply: Callable[[int], Message]) -> None:
        """Answers everybody."""
        with self._lock:
            futures, self._futures = self._futures, {}
        for member, future in futures.items():
            future.set_result(reply(member))

    def _give_up(self, member: int, future: "Future[Message]") -> None:
        with self._lock:
            if self._futures.get(member) is not future:
                return
            del self._futures[member]
        future.set_result(Later())

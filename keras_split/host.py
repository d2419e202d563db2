"""One body and all the sessions that train it."""

import logging
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING

from keras_split import validation
from keras_split.errors import ProtocolError
from keras_split.errors import SplitError
from keras_split.messages import PROTOCOL
from keras_split.messages import Done
from keras_split.messages import Goodbye
from keras_split.messages import Hello
from keras_split.messages import Message
from keras_split.messages import Refusal
from keras_split.messages import Welcome
from keras_split.session import Session
from keras_split.snapshots import Snapshots

if TYPE_CHECKING:
    from keras_split.body_optimizer import BodyOptimizer
    from keras_split.server_half import ServerHalf

_LOG = logging.getLogger("keras_split.server")
IDLE_S = 3600.0
_SLACK_BYTES = 1 << 16


class Host:
    """Answers the messages of any number of clients.

    Args:
        half: The body that they share.
        optimizer: Updates the body for every client; by default each
            session gets the optimizer that its client asks for.
        max_sessions: Sessions at the same time.
        max_batch: The largest batch that a message may carry.
        max_message_bytes: A bound on messages, whatever the batch.
        snapshots: Folder for snapshots; temporary if not given.
    """

    def __init__(
        self,
        half: "ServerHalf",
        optimizer: "BodyOptimizer | None" = None,
        *,
        max_sessions: int = 64,
        max_batch: int = 1024,
        max_message_bytes: int = 1 << 29,
        snapshots: str | os.PathLike[str] | None = None,
    ) -> None:
        self._half = half
        self._optimizer = optimizer
        self._max_sessions = max_sessions
        self._snapshots = Snapshots(snapshots)
        self._sessions: dict[str, tuple[Session, threading.Lock]] = {}
        self._last_seen: dict[str, float] = {}
        self._lock = threading.Lock()
        contract = half.contract
        whole = max(contract.bytes_per_sample(max_batch))
        self.max_message_bytes = min(
            int(whole * max_batch) + _SLACK_BYTES, max_message_bytes
        )

    def handle(self, message: Message) -> Message:
        """Answers a message; what is wrong with it becomes a `Refusal`."""
        try:
            return self._answer(message)
        except ProtocolError as error:
            return Refusal(error.reason, str(error))
        except SplitError as error:
            return Refusal("refused", str(error))
        except Exception as error:
            _LOG.exception("a message could not be answered")
            return Refusal(
                "internal",
                f"Expected to answer a {type(message).__name__}. Received: "
                f"{type(error).__name__} on the server; its log has the "
                "traceback. Nothing was changed.",
            )

    def close(self, session: str) -> None:
        """Forgets a session, finished or not."""
        with self._lock:
            entry = self._sessions.pop(session, None)
            self._last_seen.pop(session, None)
        if entry is not None:
            entry[0].close()

    def close_all(self) -> None:
        """Forgets every session."""
        for name in list(self._sessions):
            self.close(name)

    def _answer(self, message: Message) -> Message:
        if isinstance(message, Hello):
            return self._welcome(message)
        name = getattr(message, "session", "")
        with self._lock:
            entry = self._sessions.get(name)
            if entry is not None:
                self._last_seen[name] = time.monotonic()
        if entry is None:
            raise ProtocolError(
                f"Expected a session that is open. Received: {name!r}. Say "
                "hello first; the server may have been restarted.",
                "session",
            )
        if isinstance(message, Goodbye):
            self.close(name)
            return Done()
        session, turn = entry
        with turn:
            return session.handle(message)

    def _welcome(self, hello: Hello) -> Message:
        if hello.protocol != PROTOCOL:
            raise ProtocolError(
                f"Expected protocol version {PROTOCOL}. Received: "
                f"{hello.protocol}. Install the same keras_split on the "
                "phone and on the server.",
                "protocol",
            )
        validation.check_contract(hello.contract, self._half.contract)
        self._drop_idle()
        self._half.refresh()
        optimizer = self._optimizer or self._half.optimizer(
            hello.optimizer, hello.loss
        )
        name = secrets.token_hex(8)
        session = Session(name, self._half, optimizer, self._snapshots)
        with self._lock:
            if len(self._sessions) >= self._max_sessions:
                raise ProtocolError(
                    f"Expected fewer than {self._max_sessions} sessions at "
                    "a time. Received: one more. Try again later.",
                    "busy",
                )
            self._sessions[name] = (session, threading.Lock())
            self._last_seen[name] = time.monotonic()
        notice = ""
        if self._half.contract.labels_on_server:
            notice = "This model is cut once: labels travel to the server."
        return Welcome(name, 0, self.max_message_bytes, notice)

    def _drop_idle(self) -> None:
        now = time.monotonic()
        for name, seen in list(self._last_seen.items()):
            if now - seen > IDLE_S:
                self.close(name)

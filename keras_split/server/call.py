"""One message and its reply, on their way."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import unary
from keras_split.protocol.wire.frames import read_envelope
from keras_split.server.answerer import Answerer
from keras_split.server.callbacks import Caller
from keras_split.server.cohorts.mode import Reply
from keras_split.server.limits import Share
from keras_split.server.limits import StreamLimits
from keras_split.server.watchdog import Watch
from keras_split.utils import workers


class Call:
    """One message and its reply, which have a time to travel each.

    Args:
        answerer: Answers it.
        caller: Who sent it.
        limits: What the caller may do.
        watch: Ends the call when its client takes too long.
        share: Room for what arrives.
        take: Whether the rate of the caller's messages allows one more.
    """

    def __init__(
        self,
        answerer: Answerer,
        caller: Caller,
        limits: StreamLimits,
        watch: Watch,
        share: Share,
        take: Callable[[], bool],
    ) -> None:
        self._answerer = answerer
        self._caller = caller
        self._limits = limits
        self._watch = watch
        self._share = share
        self._take = take

    def check_length(self, nbytes: int) -> None:
        """Whether a message of so many bytes is worth to be read.

        For those whose transport announces it, and has no limit of its own.
        Room for it is set aside until the end of the call.

        Raises:
            RefusedError: With reason `"size"`, if not; with `"busy"`, if
                there is no room for it now.
        """
        try:
            self._answerer.check_length(nbytes)
        except ProtocolError as error:
            refusal = self._answerer.refuse(self._caller, error)
            raise RefusedError(refusal.text, refusal.reason) from None
        if not self._share.reserve(nbytes):
            raise RefusedError(
                f"Expected room for a message of {nbytes:,} bytes. Received: "
                "as many as this server holds at a time. Try later.",
                "busy",
            )

    def answer(self, raw: bytes) -> bytes:
        """Answers the message, which has arrived; see `Endpoint.answer`.

        The caller has its time to take the reply from here to the end of the
        call.
        """
        if pause_s := self._pause_s():
            time.sleep(pause_s)
        session, reply = self._ask(raw)
        if isinstance(reply, Future):
            reply = reply.result()
        return self._made(session, reply, len(raw))

    async def answer_soon(self, raw: bytes) -> bytes:
        """Like `answer`, for an event loop, which goes on meanwhile.

        It holds a thread only while it computes the reply.
        """

        def ask() -> tuple[str, Reply, bytes]:
            session, reply = self._ask(raw)
            if isinstance(reply, Future):
                return session, reply, b""
            return session, reply, self._made(session, reply, len(raw))

        if pause_s := self._pause_s():
            await asyncio.sleep(pause_s)
        session, reply, made = await workers.run(ask)
        if not isinstance(reply, Future):
            return made
        awaited = reply
        return await workers.run(
            lambda: self._made(session, awaited.result(), len(raw)),
            after=awaited,
        )

    def _pause_s(self) -> float:
        self._watch.rest()  # now it is the client that waits
        return self._answerer.pause_s(self._caller)

    def _ask(self, raw: bytes) -> tuple[str, Reply]:
        answerer, caller = self._answerer, self._caller
        try:
            answerer.check_length(len(raw))
            envelope = read_envelope(raw)
            payload: Any = envelope.payload
            if not self._share.reserve(len(raw)):
                payload = None
            return answerer.ask(envelope, payload, caller, self._take)
        except ProtocolError as error:
            return "", answerer.refuse(caller, error)

    def _made(self, session: str, reply: Message, nbytes: int) -> bytes:
        """The bytes of a reply, which its caller has its time to take."""
        self._share.free()
        answerer = self._answerer
        session = answerer.told(session, reply, self._caller)
        if isinstance(reply, Welcome):
            answerer.service.leave(reply.session)  # there is no stream to end
            reply = replace(reply, replies_early=False)  # nor more replies
        made, pieces = answerer.to_wire(reply, session, nbytes)
        whole = unary.join(made, pieces)
        self._watch.allow(self._limits.message_timeout_s, len(whole))
        return whole

"""What is said to one envelope, whatever carried it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keras_split.compression.codecs import Codec
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import label
from keras_split.server.cohorts.mode import Reply
from keras_split.server.flood import Tracebacks
from keras_split.server.limits import StreamLimits
from keras_split.server.message_service import MessageService

_LOG = logging.getLogger("keras_split.server")
Wire = tuple[pb.Envelope, list[Any]]


class Answerer:
    """Reads envelopes, checks and counts them, and asks the service.

    Args:
        service: Answers the messages in them.
        codec: Packs the codes.
        limits: What callers may do.
        tracebacks: Logs what should not be raised.
    """

    def __init__(
        self,
        service: MessageService,
        codec: Codec,
        limits: StreamLimits,
        tracebacks: Tracebacks,
    ) -> None:
        self._tracebacks = tracebacks
        self.service = service
        self._codec = codec
        self._limits = limits

    @property
    def longest_bytes(self) -> int:
        """Bytes that a message may have, with its description."""
        return self.service.max_message_bytes + frames.CHUNK_BYTES

    def check_length(self, nbytes: int) -> None:
        """Refuses a message that is longer than any may be.

        Raises:
            ProtocolError: With reason `"size"`.
        """
        if nbytes > self.longest_bytes:
            raise _too_long(self.service.max_message_bytes, nbytes)

    def ask(
        self,
        envelope: pb.Envelope,
        payload: Any,
        caller: Caller,
        take: Callable[[], bool],
        put: Callable[[bytes], object] | None = None,
    ) -> tuple[str, Reply]:
        """The session that a message names, and the reply to it.

        Args:
            envelope: Describes the message.
            payload: All bytes behind it; None if there was no room for them.
            caller: Who sent it.
            take: Whether the rate of its messages allows one more.
            put: Sends a frame of an early reply; None where a message has one
                reply.

        Returns:
            The name of the session, empty if it has none, and the reply, or
            a future of one that depends on others: a `Refusal` for all that
            is wrong with the message.
        """
        try:
            kind = envelope.WhichOneof("message")
            self._check(envelope, payload)
            if not take():
                raise ProtocolError(
                    f"Expected at most {self._limits.messages_per_s:g} "
                    "messages a second. Received: one more. Send it again "
                    "later.",
                    "rate",
                )
            account = self.service.accounts.of(caller)
            if kind == "hello" and not account.hellos.take():
                raise ProtocolError(
                    f"Expected at most {self._limits.hellos_per_s:g} new "
                    "sessions a second. Received: one more. Try again later.",
                    "rate",
                )
            message = convert.from_wire(
                envelope, payload, self._codec, self.service.max_message_bytes
            )
        except ProtocolError as error:
            return "", self.refuse(caller, error)
        except Exception as error:
            self._tracebacks.log(caller.account, "a message could not be read")
            return "", self.refuse(caller, _unexpected(error))
        if isinstance(message, Backward | LabeledStep) and not (
            message.learning_rate or message.rate_said
        ):
            message = replace(message, rate_said=False)
        named = getattr(message, "session", "")

        def early(reply: Message) -> None:
            assert put is not None
            for raw in frames.split(*self.to_wire(reply, named, 0)):
                put(raw)

        reply = self.service.handle(message, caller, put and early)
        if isinstance(reply, Welcome | Refusal):
            account.in_vain()
        return named, reply

    def pause_s(self, caller: Caller) -> float:
        """How long the next message of a caller has to wait; see `Accounts`."""
        return self.service.accounts.pause_s(caller)

    def told(self, session: str, reply: Message, caller: Caller) -> str:
        """The session that a reply belongs to; empty for a refusal.

        Args:
            session: The one that the message named.
            reply: What it is answered with.
            caller: Who sent it.
        """
        if isinstance(reply, Refusal):
            _LOG.debug(
                "refused %s (%s): %s", caller.peer, reply.reason, reply.text
            )
            return ""
        return reply.session if isinstance(reply, Welcome) else session

    def refuse(self, caller: Caller, error: ProtocolError) -> Refusal:
        """A refusal of what never came to the service."""
        _LOG.debug("refused %s (%s): %s", caller.peer, error.reason, error)
        self.service.events.refused("", caller, error.reason)
        self.service.accounts.of(caller).in_vain()
        return Refusal(error.reason, str(error))

    def to_wire(self, reply: Message, session: str, nbytes: int) -> Wire:
        """A reply as an envelope and the pieces of its payload.

        Tells whoever listens how many bytes came, and how many will go.

        Args:
            reply: What `ask` returned, or its result.
            session: The session that it belongs to; empty if to none.
            nbytes: Length of the message that it answers.

        Raises:
            RefusedError: If the caller has no right to an answer.
        """
        if isinstance(reply, Refusal) and reply.reason == "permission":
            raise RefusedError(reply.text, reply.reason)
        envelope, pieces = convert.to_wire(reply, self._codec)
        if session:
            self.service.events.carried(
                label(session),
                nbytes,
                envelope.ByteSize() + envelope.payload_bytes,
            )
        return envelope, pieces

    def _check(self, envelope: pb.Envelope, payload: Any) -> None:
        """Says why a payload was not kept."""
        limit = self.service.max_message_bytes
        if payload is None and envelope.payload_bytes <= limit:
            raise ProtocolError(
                f"Expected {self._limits.max_inflight_bytes:,} bytes or less "
                "in flight from all clients together, and a quarter of it "
                "from one. Received: a message of "
                f"{envelope.payload_bytes:,} more. Send it again later.",
                "memory",
            )
        if payload is None:
            raise _too_long(limit, envelope.payload_bytes)


def _too_long(limit_bytes: int, nbytes: int) -> ProtocolError:
    return ProtocolError(
        f"Expected a message of at most {limit_bytes:,} bytes. "
        f"Received: {nbytes:,} bytes. Use a smaller batch, or raise the "
        "server's --max-batch.",
        "size",
    )


def _unexpected(error: Exception) -> ProtocolError:
    return ProtocolError(
        f"Expected to read a message. Received: {type(error).__name__} on "
        "the server; its log has the traceback. Nothing was changed.",
        "internal",
    )

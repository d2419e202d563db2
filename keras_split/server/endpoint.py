"""Where calls come in, whatever carries them: bytes in, bytes out."""

import contextlib
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

from keras_split.compression.codecs import Codec
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Welcome
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.wire import status as wire_status
from keras_split.protocol.wire import unary
from keras_split.protocol.wire.frames import read_envelope
from keras_split.server.accounts import Accounts
from keras_split.server.answerer import Answerer
from keras_split.server.callbacks import Caller
from keras_split.server.config import ServerConfig
from keras_split.server.endpoint_stream import EndpointStream
from keras_split.server.flood import Tracebacks
from keras_split.server.fresh_files import FreshFiles
from keras_split.server.limits import Places
from keras_split.server.limits import Share
from keras_split.server.limits import StreamLimits
from keras_split.server.service import TrainingService
from keras_split.server.tokens import Tokens
from keras_split.server.watchdog import Watch
from keras_split.server.watchdog import Watchdog


class Endpoint:
    """Answers calls: who may call, how often, how long, how much at a time.

    Nothing of how calls travel is known here. An *adapter* brings them: it
    listens, tells who calls (`caller`), hands over bytes (`answer`, `call` or
    `stream`) and sends back what it gets. It says with `end` how a call is
    broken off whose client takes too long, and turns a `RefusedError` into
    its own words for a call that has no reply: by its `reason`,
    `"unauthenticated"`, `"permission"`, `"busy"`, `"size"` or
    `"unimplemented"`. All else that can be wrong is in the reply. Several
    adapters may stand before one endpoint; limits then hold for all of them
    together.

    Args:
        service: Answers the messages.
        codec: Packs the codes, as the contract says.
        config: What callers may do, and whose tokens let them in.
        status: Says what the server is doing, for `keras-split status`.
        closed: Called when it is closed, after all else.
        **options: Fields of a `ServerConfig` instead of those of `config`.

    Attributes:
        service: The same.
        config: The same.
        limits: What of it is about calls.
        watchdog: Ends calls whose clients take too long.
        tracebacks: Logs what should not be raised, of each caller a few.

    Raises:
        DataError: If the file of tokens is of no use.
        OptionError: If there is no such option, or a value cannot be.
    """

    def __init__(
        self,
        service: TrainingService,
        codec: Codec,
        config: ServerConfig | None = None,
        *,
        status: Callable[[], ServerStatus] | None = None,
        closed: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> None:
        self.service = service
        self.config = ServerConfig.get(config, **options)
        self.limits = self.config.stream_limits
        self.watchdog = Watchdog(self.limits.watch_period_s)
        self._tokens = self._read_tokens()
        self._status = status
        self._closed = closed
        self.tracebacks = Tracebacks()
        self._answerer = Answerer(service, codec, self.limits, self.tracebacks)
        # Of service and endpoint one: what a client has, wherever it asks.
        service.accounts = Accounts(self.limits, service.max_message_bytes)
        self._places = Places(self.limits.max_streams)

    @property
    def longest_bytes(self) -> int:
        """Bytes that a message or a frame may have, its description too."""
        return self._answerer.longest_bytes

    # -- who calls ------------------------------------------------------------

    def knows(self, token: str | None) -> bool:
        """Whether a token lets its client in; any does if nobody is asked."""
        if self._tokens is None:
            return True
        return token is not None and self._tokens.value.who(token) is not None

    def caller(
        self, peer: str, token: str | None = None, certificate: str = ""
    ) -> Caller:
        """Who calls: by token, else by certificate, else nobody knows.

        Args:
            peer: Where from, as `"ipv4:10.0.0.2:40312"` or
                `"ipv6:[::1]:40312"`.
            token: What was shown, if anything; see
                `keras_split.server.bearer`.
            certificate: Name in the certificate with which TLS knows the
                client; only one that was verified.

        Raises:
            RefusedError: With reason `"unauthenticated"`, if tokens are asked
                for and this is none.
        """
        if self._tokens is None:
            return Caller(certificate, peer)
        tokens = self._tokens.value
        name = tokens.who(token) if token is not None else None
        if name is None:
            self.service.events.refused("", Caller("", peer), "unauthenticated")
            raise RefusedError(
                "Expected a token that this server knows. Received: another, "
                "or none.",
                "unauthenticated",
            )
        return Caller(name, peer, tokens.key(name))

    def reload(self) -> None:
        """Reads the tokens again, whether or not their file has changed.

        Calls of clients whose token was taken back, or is another one now,
        are broken off soon. A file that is of no use changes nothing; the
        log says so. A file that changes is noticed without this.
        """
        if self._tokens is not None:
            self._tokens.reload(anyway=True)

    def _read_tokens(self) -> FreshFiles[Tokens] | None:
        path = self.config.security.tokens
        if path is None:
            return None
        return FreshFiles("tokens", [path], lambda: Tokens.read(path))

    def _lets_in(self, caller: Caller) -> bool:
        """Whether a caller may go on."""
        if self._tokens is None or self._tokens.value.holds(
            caller.client, caller.key
        ):
            return True
        self.service.events.refused("", caller, "unauthenticated")
        return False

    # -- calls ----------------------------------------------------------------

    def answer(self, raw: bytes, caller: Caller) -> bytes:
        """Answers one message, which has arrived.

        Args:
            raw: An envelope of `split.proto` with its payload, as bytes.
            caller: Who sent it; see `caller`.

        Returns:
            The envelope of the reply, as bytes; a `Refusal` in it says what
            is wrong with the message.

        Raises:
            RefusedError: If the call is to end without a reply, and why.
        """
        with self.call(caller) as call:
            return call.answer(raw)

    @contextlib.contextmanager
    def call(
        self, caller: Caller, end: Callable[[], object] = lambda: None
    ) -> Iterator["Call"]:
        """Surrounds a call of one message, which may still be on its way.

        Args:
            caller: Who calls.
            end: Breaks it off, from another thread: what waits for the
                message or for the reply to leave returns or raises then.

        Raises:
            RefusedError: With reason `"busy"`, if there are too many calls.
        """
        account = self.service.accounts.of(caller)
        allowed = partial(self._lets_in, caller)
        with self._places.take(), self.watchdog.watch(end, allowed) as watch:
            watch.allow(self.limits.message_timeout_s)
            yield Call(
                self._answerer,
                caller,
                self.limits,
                watch,
                Share(account.inflight),
                account.messages.take,
            )

    def stream(
        self,
        requests: Iterable[bytes],
        caller: Caller,
        end: Callable[[], object],
    ) -> Generator[bytes, None, None]:
        """Answers a call of any number of messages.

        Args:
            requests: Frames of `split.proto` as they arrive, read in another
                thread. A `ConnectionError` of theirs means that the client
                went away.
            caller: Who calls.
            end: Breaks it off, from another thread: `requests` end or raise
                then.

        Returns:
            The frames of the replies, in order. Closed before its end, it
            lets go of everything when `requests` give or end the next time.

        Raises:
            RefusedError: When it is iterated, if the call is to end without
                a reply, and why.
        """
        with self.watchdog.watch(end, partial(self._lets_in, caller)):
            yield from EndpointStream(
                self._answerer,
                caller,
                end,
                self.limits,
                self._places,
                self.watchdog,
                Share(self.service.accounts.of(caller).inflight),
            ).replies(requests)

    def status(self) -> bytes:
        """What the server is doing: a `StatusReply` of `split.proto`.

        Raises:
            RefusedError: With reason `"unimplemented"`, if nobody keeps it.
        """
        if self._status is None:
            raise RefusedError(
                "Expected a server that tells its status. Received: a call "
                "to one that does not.",
                "unimplemented",
            )
        return wire_status.to_wire(self._status()).SerializeToString()

    # -- from start to stop ---------------------------------------------------

    def start(self) -> "Endpoint":
        """Begins to look after calls; a second time does nothing."""
        self.watchdog.start()
        return self

    def drain(self, grace_s: float) -> None:
        """Lets steps in flight finish, and no other step begin.

        Args:
            grace_s: How long to wait for them, in seconds.
        """
        self.service.drain(grace_s)

    def close(self) -> None:
        """Writes a last checkpoint and ends every session."""
        self.watchdog.stop()
        self.service.close_all()
        self._closed()

    def __enter__(self) -> "Endpoint":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


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

        Raises:
            RefusedError: With reason `"size"`, if not.
        """
        try:
            self._answerer.check_length(nbytes)
        except ProtocolError as error:
            refusal = self._answerer.refuse(self._caller, error)
            raise RefusedError(refusal.text, refusal.reason) from None

    def answer(self, raw: bytes) -> bytes:
        """Answers the message, which has arrived; see `Endpoint.answer`.

        The caller has its time to take the reply from here to the end of the
        call.
        """
        self._watch.rest()  # now it is the client that waits
        answerer, caller = self._answerer, self._caller
        session = ""
        try:
            answerer.check_length(len(raw))
            envelope = read_envelope(raw)
            payload: Any = envelope.payload
            if not self._share.take(len(raw)):
                payload = None
            session, reply = answerer.answer(
                envelope, payload, caller, self._take
            )
        except ProtocolError as error:
            reply = answerer.refuse(caller, error)
        finally:
            self._share.free()
        if isinstance(reply, Welcome):
            answerer.service.leave(reply.session)  # there is no stream to end
            reply = replace(reply, replies_early=False)  # nor more replies
        made, pieces = answerer.to_wire(reply, session, len(raw))
        whole = unary.join(made, pieces)
        self._watch.allow(self._limits.message_timeout_s, len(whole))
        return whole

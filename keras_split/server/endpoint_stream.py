"""A call over which any number of messages goes both ways."""

import asyncio
import contextlib
from collections.abc import AsyncIterable
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import frames
from keras_split.server.answerer import Answerer
from keras_split.server.answerer import Wire
from keras_split.server.callbacks import Caller
from keras_split.server.cohorts.mode import Reply
from keras_split.server.incoming import Incoming
from keras_split.server.limits import Bucket
from keras_split.server.limits import Places
from keras_split.server.limits import Share
from keras_split.server.limits import StreamLimits
from keras_split.server.outgoing import Outgoing
from keras_split.server.outgoing import Send
from keras_split.server.watchdog import Watchdog
from keras_split.utils import workers

_Put = Callable[[bytes], object]


class EndpointStream:
    """Frames in, frames out. When it ends, its sessions wait to be resumed.

    It holds a thread while it computes a reply, and none while it waits: for
    its client, or for those whose messages a reply depends on.

    Args:
        answerer: Answers the messages.
        caller: Who sends them.
        end: Ends the call, from another thread.
        limits: What the caller may do.
        places: One is the stream's, from its first frame to its last.
        watchdog: Ends the call when its client takes too long.
        share: Room for what arrives; theirs to free who made it.
    """

    def __init__(
        self,
        answerer: Answerer,
        caller: Caller,
        end: Callable[[], object],
        limits: StreamLimits,
        places: Places,
        watchdog: Watchdog,
        share: Share,
    ) -> None:
        self._answerer = answerer
        self._caller = caller
        self._end = end
        self._limits = limits
        self._places = places
        self._watchdog = watchdog
        self._share = share
        self._bucket = Bucket(limits.messages_per_s, limits.messages_per_s)
        self._sessions: list[str] = []

    async def serve(self, requests: AsyncIterable[bytes], send: Send) -> None:
        """Answers until the requests end.

        Replies leave while the next message is answered, as the client's
        microbatches need it.

        Args:
            requests: Frames as they arrive. A `ConnectionError` of theirs, or
                of `send`, means that the client went away.
            send: Sends a frame of the replies.

        Raises:
            RefusedError: If the call is to end without a reply, and why.
        """
        watch = self._watchdog.watch
        with (
            self._places.take(),
            watch(self._end) as coming,
            watch(self._end) as going,
        ):
            outgoing = Outgoing(send, going, self._limits.message_timeout_s)
            incoming = Incoming(
                requests,
                coming,
                self._share,
                self._limits,
                self._answerer.service.max_message_bytes,
                self._hear,
            )
            try:
                await self._answer_all(incoming, outgoing)
                await outgoing.flush()
            except ConnectionError:
                pass  # the client went away
            finally:
                try:
                    await outgoing.close()
                finally:
                    await workers.run(self._leave)

    async def _answer_all(self, incoming: Incoming, outgoing: Outgoing) -> None:
        loop = asyncio.get_running_loop()

        def put(raw: bytes) -> None:
            workers.soon(loop, partial(outgoing.put, raw))

        try:
            async with contextlib.aclosing(incoming.messages()) as messages:
                async for arrived in messages:
                    answer = self._answer(arrived, incoming.nbytes, put)
                    del arrived
                    reply, others = await answer
                    del answer
                    if isinstance(reply, Welcome):
                        incoming.welcome()
                    del reply
                    for raw in others:
                        await outgoing.put_in_turn(raw)
                    del others
                    await outgoing.room()
        except RefusedError:
            await outgoing.flush()
            raise
        except ProtocolError as error:  # the stream cannot be followed
            refusal = self._answerer.refuse(self._caller, error)
            for raw in frames.split(*self._answerer.to_wire(refusal, "", 0)):
                await outgoing.put_in_turn(raw)

    async def _answer(
        self, arrived: Wire, nbytes: int, put: _Put
    ) -> tuple[Message, Iterator[bytes]]:
        """The reply to a message; see `_made`."""

        def ask() -> tuple[str, Reply, Iterator[bytes]]:
            session, reply = self._answerer.ask(
                *arrived, self._caller, self._bucket.take, put
            )
            if isinstance(reply, Future):
                return session, reply, iter(())
            return session, *self._made(session, reply, nbytes, put)

        if pause_s := self._answerer.pause_s(self._caller):
            await asyncio.sleep(pause_s)
        session, reply, others = await workers.run(ask)
        if not isinstance(reply, Future):
            return reply, others
        awaited = reply
        return await workers.run(
            lambda: self._made(session, awaited.result(), nbytes, put),
            after=awaited,
        )

    def _made(
        self, session: str, reply: Message, nbytes: int, put: _Put
    ) -> tuple[Message, Iterator[bytes]]:
        """A reply, whose first frame is put, and the others.

        Most have one frame. It need not wait until the event loop has heard
        that there is a reply.
        """
        session = self._answerer.told(session, reply, self._caller)
        if isinstance(reply, Welcome):  # though nobody may wait for it now
            self._sessions.append(session)
        wire = self._answerer.to_wire(reply, session, nbytes)
        others = frames.split(*wire)
        put(next(others))
        return reply, others

    def _hear(self) -> None:
        for session in self._sessions:
            self._answerer.service.hear(session)

    def _leave(self) -> None:
        for session in self._sessions:
            self._answerer.service.leave(session)

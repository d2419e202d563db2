import asyncio
import threading
from concurrent.futures import Future

import pytest

from keras_split.compression import codecs
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.server.endpoint import Endpoint
from tests import links
from tests.golden.messages import CONTRACT
from tests.transports.scripted import Scripted

RAW = codecs.get("raw")


class Stream:
    """A stream whose client is a queue."""

    def __init__(self, endpoint):
        self._asked, self._said = asyncio.Queue(), asyncio.Queue()
        self.task = asyncio.create_task(
            endpoint.stream(
                self._requests(),
                self._said.put,
                endpoint.caller("p"),
                lambda: None,
            )
        )

    async def _requests(self):
        while (raw := await self._asked.get()) is not None:
            yield raw

    def ask(self, message):
        for raw in frames.split(*convert.to_wire(message, RAW)):
            self._asked.put_nowait(raw)

    def close(self):
        self._asked.put_nowait(None)

    async def receive(self):
        [(envelope, payload)] = frames.join([await self._said.get()], 1 << 20)
        return convert.from_wire(envelope, payload, RAW, 1 << 20)


def run(answer, act, **limits):
    """Runs a test in an event loop, with a stream that is answered so."""

    def welcomes(message):
        if type(message).__name__ == "Hello":
            return Welcome("s-1")
        return answer(message)

    async def start():
        service = Scripted(welcomes)
        stream = Stream(Endpoint(service, RAW, **limits))
        stream.ask(links.hello(CONTRACT))
        await stream.receive()
        await act(stream, service)

    asyncio.run(asyncio.wait_for(start(), 20))


def test_the_next_message_is_answered_while_a_reply_leaves():
    sent, asked = [], []

    async def start():
        service = Scripted(lambda m: asked.append(m) or Done())
        endpoint = Endpoint(service, RAW)
        both = asyncio.Event()

        async def send(raw):
            await both.wait()  # a slow client
            sent.append(raw)

        async def requests():
            for _ in range(2):
                for raw in frames.split(*convert.to_wire(Snapshot("s"), RAW)):
                    yield raw
            both.set()

        await endpoint.stream(
            requests(), send, endpoint.caller("p"), lambda: None
        )

    asyncio.run(asyncio.wait_for(start(), 20))

    assert len(sent) == len(asked) == 2


def test_a_reply_that_depends_on_others_holds_no_thread():
    replies = []

    def answer(message):
        replies.append(Future())
        return replies[-1]

    async def act(stream, service):
        before = threading.active_count()
        endpoint = Endpoint(service, RAW, max_streams=200)
        streams = [Stream(endpoint) for _ in range(100)]
        for one in streams:
            one.ask(Snapshot("s"))
            while len(replies) < streams.index(one) + 1:
                await asyncio.sleep(0.001)
        threads = threading.active_count()
        for reply in replies:
            reply.set_result(Done())
        for one in streams:
            assert await one.receive() == Done()
            one.close()
            await one.task

        assert threads <= before + 2

    run(answer, act)


def test_who_goes_while_others_are_awaited_is_left_and_nobody_else():
    reply = Future()

    async def act(stream, service):
        stream.ask(Snapshot("s-1"))
        while len(service.callers) < 2:
            await asyncio.sleep(0.001)

        stream.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream.task

        assert service.left == ["s-1"]
        assert not reply.cancelled()  # others may wait for it as well

    run(lambda message: reply, act)


def test_a_stream_has_its_place_until_its_answer_is_there():
    begun, go_on = threading.Event(), threading.Event()

    def answer(message):
        begun.set()
        assert go_on.wait(20)
        return Done()

    async def act(stream, service):
        stream.ask(Snapshot("s-1"))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            stream.task.cancel()
            await asyncio.sleep(0.01)
        left, done = list(service.left), stream.task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await stream.task

        assert (left, done) == ([], False)
        assert service.left == ["s-1"]

    run(answer, act)


def test_who_goes_while_it_is_welcomed_is_left():
    begun, go_on = threading.Event(), threading.Event()

    def answer(message):
        begun.set()
        assert go_on.wait(20)
        return Welcome("late")

    async def act(stream, service):
        service.answer = answer
        stream.ask(links.hello(CONTRACT))
        await asyncio.to_thread(begun.wait)
        stream.task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await stream.task

        assert service.left == ["s-1", "late"]

    run(answer, act)

"""Those whom nobody has let in may not ask without a pause."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from keras_split.errors import RefusedError
from keras_split.protocol.messages import Done
from keras_split.server.grpc import pace
from tests import links
from tests.transports.scripted import Scripted

ONE, OTHER = "ipv4:10.0.0.2:4000", "ipv4:10.0.0.2:4001"


@pytest.fixture
def pauses(monkeypatch):
    """Those that were made; they end when told."""
    made = []

    async def sleep(seconds):
        made.append(seconds)
        await asyncio.Event().wait()

    monkeypatch.setattr(pace.asyncio, "sleep", sleep)
    return made


def test_who_asks_without_a_pause_waits(pauses):
    async def ask():
        subject = pace.Pace()
        for _ in range(pace.AT_ONCE):
            await subject.keep(ONE)
        assert not pauses
        slow = asyncio.ensure_future(subject.keep(ONE))
        await asyncio.wait([slow], timeout=0.01)
        assert pauses == [pace.PAUSE_S] and not slow.done()
        await subject.keep(OTHER)  # has a pace of its own
        slow.cancel()

    asyncio.run(ask())


def test_few_wait_and_others_are_refused(pauses):
    async def ask():
        subject = pace.Pace()
        waiting = [
            asyncio.ensure_future(subject.keep(ONE))
            for _ in range(pace.AT_ONCE + pace.MOST)
        ]
        await asyncio.wait(waiting, timeout=0.01)
        with pytest.raises(RefusedError, match="at most 10 calls a second"):
            await subject.keep(ONE)
        for call in waiting:
            call.cancel()  # their clients went away
        await asyncio.wait(waiting)
        again = asyncio.ensure_future(subject.keep(ONE))
        await asyncio.wait([again], timeout=0.01)
        assert not again.done()
        again.cancel()

    asyncio.run(ask())


def test_a_stranger_in_a_hurry_is_slowed_and_answered():
    server = links.listen(Scripted(lambda m: Done(), 1 << 20)).start()
    codes = []
    try:
        with grpc.insecure_channel(server.target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            calls = [
                stub.Check.future(health_pb2.HealthCheckRequest(), timeout=20)
                for _ in range(300)
            ]
            codes = [call.code() for call in calls]
            last = stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
    finally:
        server.stop(0)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
    assert codes.count(grpc.StatusCode.OK) >= pace.AT_ONCE
    # Who waited wakes with all others, and some lose their places to them.
    assert grpc.StatusCode.DEADLINE_EXCEEDED not in codes
    assert last.status == health_pb2.HealthCheckResponse.SERVING

import asyncio
import gc
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from keras_split.protocol.messages import Done
from keras_split.server.grpc import health
from keras_split.server.grpc import pace
from keras_split.server.observe.status_collector import resident_bytes
from tests import links
from tests.transports.scripted import Scripted

KINDS = health_pb2.HealthCheckResponse


@pytest.fixture
def stub():
    with links.listen(Scripted(lambda m: Done())).start() as running:
        with grpc.insecure_channel(running.target) as channel:
            yield health_pb2_grpc.HealthStub(channel)


def watch(stub, service=""):
    request = health_pb2.HealthCheckRequest(service=service)
    return stub.Watch(request, timeout=20)


def test_a_watch_of_an_unknown_service_is_told_so_and_ends(stub):
    assert [r.status for r in watch(stub, "x")] == [KINDS.SERVICE_UNKNOWN]


def test_no_name_that_is_watched_is_kept(stub, monkeypatch):
    monkeypatch.setattr(pace, "PAUSE_S", 0.01)

    def ask(count):
        for number in range(count):
            call = watch(stub, f"{number}" + "x" * (512 << 10))
            try:
                list(call)
            except grpc.RpcError:
                pass
            call.cancel()
        gc.collect()

    ask(60)  # until the memory for messages is there
    before = resident_bytes()
    ask(150)

    assert resident_bytes() - before < 40 << 20


def test_a_watch_has_an_end():
    service = health.Health([""], watch_s=0.1)
    service.enter_service()
    began = time.monotonic()

    async def watch():
        replies = service.watch(health_pb2.HealthCheckRequest(), None)
        return [reply.status async for reply in replies]

    assert asyncio.run(watch()) == [KINDS.SERVING]
    assert time.monotonic() - began < 5


def test_those_who_watch_hear_of_a_change():
    with links.listen(Scripted(lambda m: Done())).start() as running:
        with grpc.insecure_channel(running.target) as channel:
            call = watch(health_pb2_grpc.HealthStub(channel))
            first = next(call).status
            running._health.enter_graceful_shutdown()
            second = next(call).status
            call.cancel()

    assert (first, second) == (KINDS.SERVING, KINDS.NOT_SERVING)


def test_a_watch_whose_client_is_gone_ends_at_once(stub):
    calls = [watch(stub) for _ in range(3)]
    for call in calls:
        assert next(call).status == KINDS.SERVING
        call.cancel()

    assert next(watch(stub)).status == KINDS.SERVING

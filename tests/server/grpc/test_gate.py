import contextlib
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Snapshot
from keras_split.server.grpc import server as servers
from tests import links
from tests.transports.scripted import Scripted

CHECK = "/grpc.health.v1.Health/Check"
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def start(monkeypatch):
    with contextlib.ExitStack() as stack:

        def start(places=8, **limits):
            monkeypatch.setattr(servers, "_GUESTS", places)
            host = Scripted(lambda m: Done())
            server = links.listen(host, **limits)
            stack.callback(server.stop, 0)
            return server.start()

        yield start


def check(server):
    with grpc.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status


def test_a_request_that_does_not_come_ends_its_call(start):
    server = start(hello_timeout_s=0.3)

    with grpc.insecure_channel(server.target) as channel:
        call = channel.stream_stream(CHECK)(_never())
        with pytest.raises(grpc.RpcError) as info:
            next(call)

    assert info.value.code() is grpc.StatusCode.CANCELLED


def _never():
    """Requests of a client that waits and says nothing."""
    time.sleep(5)
    yield from ()


def test_guests_too_many_are_told_so_and_do_not_keep_training_away(start):
    server = start(places=2, max_streams=2)
    with contextlib.ExitStack() as stack:
        watches = []
        for _ in range(2):
            channel = stack.enter_context(grpc.insecure_channel(server.target))
            stub = health_pb2_grpc.HealthStub(channel)
            watches.append(stub.Watch(health_pb2.HealthCheckRequest()))
            assert next(watches[-1]).status == SERVING

        with pytest.raises(grpc.RpcError) as info:
            check(server)
        with links.wire(server.target) as wire:
            trained = wire.exchange(Snapshot("s"))
        for watch in watches:
            watch.cancel()

    assert info.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert trained == Done()


def test_training_does_not_keep_the_health_service_away(start):
    server = start(max_streams=1)

    with links.wire(server.target) as wire:
        wire.exchange(Snapshot("s"))

        assert check(server) == SERVING


def test_places_of_guests_are_given_back(start):
    server = start(places=1)
    answered = 0

    deadline = time.monotonic() + 20
    while answered < 10 and time.monotonic() < deadline:
        with contextlib.suppress(grpc.RpcError):
            answered += check(server) == SERVING

    assert answered == 10


def test_an_unknown_service_is_told_so_as_by_any_server(start):
    server = start()

    with grpc.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as info:
            stub.Check(health_pb2.HealthCheckRequest(service="x"), timeout=20)

    assert info.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_unknown_method_is_unimplemented(start):
    server = start()

    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary("/keras_split.v1.SplitTraining/Other")
        with pytest.raises(grpc.RpcError) as info:
            call(b"", timeout=20)

    assert info.value.code() is grpc.StatusCode.UNIMPLEMENTED

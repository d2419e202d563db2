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

        def start(places=8, max_message_bytes=1 << 20, **limits):
            monkeypatch.setattr(servers, "_GUESTS", places)
            host = Scripted(lambda m: Done(), max_message_bytes)
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


def test_those_who_watch_keep_neither_probes_nor_training_away(start):
    server = start(places=2, max_streams=2)
    with contextlib.ExitStack() as stack:
        watches = []
        for _ in range(40):
            channel = stack.enter_context(grpc.insecure_channel(server.target))
            stub = health_pb2_grpc.HealthStub(channel)
            watches.append(stub.Watch(health_pb2.HealthCheckRequest()))
            assert next(watches[-1]).status == SERVING

        began = time.monotonic()
        probed = check(server)
        took_s = time.monotonic() - began
        with links.wire(server.target) as wire:
            trained = wire.exchange(Snapshot("s"))
        there = [watch for watch in watches if watch.is_active()]
        for watch in watches:
            watch.cancel()

    assert probed == SERVING and took_s < 5  # of 20
    assert trained == Done()
    assert there == watches[-len(there) :] and 2 <= len(there) <= 8


def test_those_who_say_nothing_keep_no_probe_away(start):
    server = start(places=2)

    with grpc.insecure_channel(server.target) as channel:
        silent = [channel.stream_stream(CHECK)(_never()) for _ in range(30)]
        time.sleep(0.3)
        began = time.monotonic()
        probed = check(server)
        took_s = time.monotonic() - began
        for call in silent:
            call.cancel()

    assert probed == SERVING and took_s < 4  # of 5


@pytest.mark.parametrize("method", ["Check", "Watch"])
@pytest.mark.parametrize("nbytes", [5000, 2 << 20, 6 << 20])
def test_a_request_of_a_stranger_is_short(start, method, nbytes):
    server = start(max_message_bytes=1 << 29)
    request = health_pb2.HealthCheckRequest(service="x" * nbytes)

    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_stream(f"/grpc.health.v1.Health/{method}")
        with pytest.raises(grpc.RpcError) as info:
            list(call(request.SerializeToString(), timeout=20))

    assert info.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_how_long_a_message_may_be_says_nothing_of_the_model(start):
    texts = set()
    for longest in (1 << 16, 1 << 29):
        server = start(max_message_bytes=longest)
        with grpc.insecure_channel(server.target) as channel:
            with pytest.raises(grpc.RpcError) as info:
                channel.unary_unary(CHECK)(bytes(8 << 20), timeout=20)
        texts.add(info.value.details())

    assert len(texts) == 1


@pytest.mark.parametrize("method", ["Check", "Watch", "List"])
@pytest.mark.parametrize("sent", [[b"\xff" * 9], []])
def test_what_cannot_be_read_leaves_no_traceback(start, caplog, method, sent):
    server = start()

    with grpc.insecure_channel(server.target) as channel:
        call = channel.stream_stream(f"/grpc.health.v1.Health/{method}")
        for _ in range(3):
            with contextlib.suppress(grpc.RpcError):
                next(call(iter(sent), timeout=20))

    assert caplog.text == ""


def test_one_peer_causes_few_tracebacks_and_reads_none(start, caplog):
    server = start()

    def fail(caller):
        raise RuntimeError("a path of the server")

    server.endpoint.status = fail
    codes = set()
    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary("/keras_split.v1.SplitTraining/Status")
        for _ in range(50):
            with pytest.raises(grpc.RpcError) as info:
                call(b"", timeout=20)
            codes.add(info.value.code())
            assert "a path" not in info.value.details()

    assert codes == {grpc.StatusCode.INTERNAL}
    assert 0 < len(caplog.records) <= 10


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

import socket
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha import reflection_pb2_grpc

from keras_split.compression import codecs
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import split_pb2_grpc
from keras_split.server.grpc.server import Server
from tests import links
from tests.transports.scripted import Scripted

RAW = codecs.get("raw")
SERVICE = "keras_split.v1.SplitTraining"


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture
def running(server):
    before = server.half.weights()
    with server.serve(port=0) as running:
        yield running
    server.half.set_weights(before)


@pytest.fixture
def channel(running):
    with grpc.insecure_channel(running.target) as channel:
        yield channel


@pytest.fixture
def exchange(channel):
    """The unary service, as a client that cannot stream would use it."""
    stub = split_pb2_grpc.SplitTrainingStub(channel)

    def exchange(message):
        envelope, payload = convert.to_wire(message, RAW)
        envelope.payload = b"".join(payload)
        reply = stub.Exchange(envelope, timeout=60)
        return convert.from_wire(reply, reply.payload, RAW, 1 << 24)

    return exchange


def test_a_step_over_the_stream_is_the_step_in_one_process(server, running):
    before = server.half.weights()
    host = server.host()
    session = host.handle(links.hello(server.contract)).session
    expected = links.take_step(host.handle, session, server.contract)
    after = links.state(server)
    server.half.set_weights(before)

    with links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        received = links.take_step(wire.exchange, session, server.contract)

    assert links.same(links.state(server), after)
    for one, other in zip(received, expected, strict=True):
        assert links.same(links.parts(one.tensors), links.parts(other.tensors))


def test_the_unary_service_does_what_the_stream_does(server, running, exchange):
    before = server.half.weights()
    with links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        expected = links.take_step(wire.exchange, session, server.contract)
    after = links.state(server)
    server.half.set_weights(before)

    session = exchange(links.hello(server.contract)).session
    received = links.take_step(exchange, session, server.contract)
    done = exchange(Goodbye(session))

    assert links.same(links.state(server), after)
    for one, other in zip(received, expected, strict=True):
        assert links.same(links.parts(one.tensors), links.parts(other.tensors))
    assert exchange(Goodbye(session)).reason == "session"
    assert type(done).__name__ == "Done"


def test_a_unary_client_is_refused_like_any_other(server, exchange):
    refusal = exchange(Snapshot("s"))

    assert refusal.reason == "session"


@pytest.mark.parametrize("codec", codecs.names())
def test_payloads_over_a_mebibyte_travel_in_chunks(codec):
    _, server = links.halves(codec=codec, width=64)
    message_bytes = 100 * 7 * 7 * 64 * 4

    with server.serve(port=0) as running:
        with links.wire(running.target, codec) as wire:
            session = wire.exchange(links.hello(server.contract)).session
            smashed = links.smashed(server.contract, size=100)
            features = wire.exchange(Forward(session, 0, smashed))
            _, grads = links.take_step(
                lambda m: wire.exchange(m), session, server.contract
            )
    host = server.host()
    session = host.handle(links.hello(server.contract)).session
    again = host.handle(Infer(session, smashed))

    assert message_bytes > frames.CHUNK_BYTES
    assert features.tensors[0].shape[0] == 100
    assert again.tensors[0].shape == features.tensors[0].shape
    assert grads.tensors[0].shape == (8, 7, 7, 64)


def test_the_longest_message_goes_through_and_one_more_example_does_not(
    server,
):
    before = links.state(server)
    with server.serve(port=0, max_batch=90) as running:
        with links.wire(running.target) as wire:
            welcome = wire.exchange(links.hello(server.contract))
            fits = links.smashed(server.contract, size=90)
            too_long = links.smashed(
                server.contract, size=welcome.max_message_bytes // 784 + 1
            )

            with pytest.raises(RefusedError) as info:
                wire.exchange(Forward(welcome.session, 0, too_long))
            features = wire.exchange(Forward(welcome.session, 0, fits))

    limit = welcome.max_message_bytes
    sent = sum(tensor.nbytes for tensor in too_long)
    assert info.value.reason == "size"
    assert str(info.value) == (
        f"Expected a message of at most {limit:,} bytes. Received: {sent:,} "
        "bytes. Use a smaller batch, or raise the server's --max-batch."
    )
    assert features.tensors[0].shape[0] == 90
    assert links.same(links.state(server), before)


def test_a_message_far_over_the_limit_is_read_past_and_the_stream_goes_on(
    server,
):
    with server.serve(port=0, max_batch=1) as running:
        with links.wire(running.target) as wire:
            session = wire.exchange(links.hello(server.contract)).session
            huge = links.smashed(server.contract, size=5000)

            with pytest.raises(RefusedError, match="Received: 3,920,000"):
                wire.exchange(Forward(session, 0, huge))
            small = links.smashed(server.contract, size=1)
            features = wire.exchange(Forward(session, 0, small))

    assert features.step == 0


@pytest.mark.parametrize("service", ["", SERVICE])
def test_the_health_service_answers(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)

    reply = stub.Check(health_pb2.HealthCheckRequest(service=service))

    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_service(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    [reply] = stub.ServerReflectionInfo(iter([request]))

    names = {s.name for s in reply.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_reflection_knows_the_messages(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(
        file_containing_symbol=SERVICE
    )

    [reply] = stub.ServerReflectionInfo(iter([request]))

    described = b"".join(reply.file_descriptor_response.file_descriptor_proto)
    assert b"LabeledStep" in described


def test_a_session_is_left_when_its_stream_ends_and_can_be_resumed(
    server, running
):
    left = threading.Event()
    running.endpoint.service.events.left = lambda session: left.set()
    with links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        links.take_step(wire.exchange, session, server.contract)
        wire.exchange(Forward(session, 1, links.smashed(server.contract)))
    assert left.wait(20)

    with links.wire(running.target) as wire:
        again = Hello(server.contract, links.SGD, session=session, next_step=1)
        welcome = wire.exchange(again)

    assert (welcome.session, welcome.next_step) == (session, 1)


def test_a_stream_that_breaks_off_is_told_so_and_leaves_the_server_whole(
    server, running, channel
):
    before = links.state(server)
    stub = split_pb2_grpc.SplitTrainingStub(channel)
    envelope = pb.Envelope(goodbye=pb.Goodbye(), payload_bytes=100)

    [frame] = stub.Train(iter([pb.Frame(envelope=envelope)]), timeout=30)

    assert frame.envelope.refusal.reason == "truncated"
    assert frame.envelope.refusal.text == (
        "Expected a payload of 100 bytes. Received: 0 and the end of the "
        "stream."
    )
    assert links.same(links.state(server), before)
    with links.wire(running.target) as wire:
        assert isinstance(wire.exchange(links.hello(server.contract)), Welcome)


@pytest.mark.parametrize("garbage", [b"\xff" * 50, b"GET / HTTP/1.1", b"\x0a"])
def test_bytes_that_are_no_message_end_their_stream_alone(
    server, running, channel, garbage
):
    call = channel.stream_stream(f"/{SERVICE}/Train")

    [raw] = call(iter([garbage]), timeout=30)

    refusal = pb.Frame.FromString(raw).envelope.refusal
    assert refusal.reason == "unreadable"
    assert refusal.text == (
        f"Expected a Frame of protobuf. Received: {len(garbage)} bytes that "
        "are none. Look at the version of the stubs."
    )
    with links.wire(running.target) as wire:
        assert isinstance(wire.exchange(links.hello(server.contract)), Welcome)


def test_a_connection_that_speaks_no_http2_does_no_harm(server, running):
    with socket.create_connection(("127.0.0.1", running.port)) as other:
        other.sendall(b"hello?\r\n\r\n")

    with links.wire(running.target) as wire:
        assert isinstance(wire.exchange(links.hello(server.contract)), Welcome)


def test_an_envelope_damaged_anywhere_is_refused_or_answered(server, exchange):
    """Whatever arrives, there is a reply and the weights stay finite."""
    session = exchange(links.hello(server.contract)).session
    message = Infer(session, links.smashed(server.contract, size=1))
    envelope, payload = convert.to_wire(message, RAW)
    envelope.payload = b"".join(payload)
    whole = envelope.SerializeToString()
    rng = np.random.default_rng(0)
    before = links.state(server)

    replies = []
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 90), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            broken = pb.Envelope.FromString(bytes(damaged))
        except Exception:
            continue  # gRPC ends such a stream before we see it
        replies.append(exchange_raw(exchange, broken))

    assert len(replies) > 20
    assert None not in replies
    assert links.same(links.state(server), before)


def exchange_raw(exchange, envelope):
    """What kind of message the server answers an envelope with."""
    stub = exchange.__closure__[0].cell_contents
    return stub.Exchange(envelope, timeout=60).WhichOneof("message")


def test_a_port_in_use_is_named(running):
    with pytest.raises(TransportError) as info:
        Server(running.endpoint, port=running.port)

    assert str(info.value) == (
        f"Expected to listen on 127.0.0.1:{running.port}. Received: the "
        "address is in use or not of this machine. Choose another --port, or "
        "stop the server that has it."
    )


def test_an_address_of_another_machine_is_named(running):
    with pytest.raises(TransportError, match="not of this machine"):
        links.listen(
            running.endpoint.service, address="192.0.2.1", insecure=True
        )


def test_a_server_that_stopped_answers_no_more(server):
    running = server.serve(port=0)
    with links.wire(running.target, reply_timeout_s=10) as wire:
        session = wire.exchange(links.hello(server.contract)).session

        running.stop(0)

        with pytest.raises(TransportError, match="The server went away"):
            wire.exchange(Snapshot(session))


@pytest.mark.parametrize("address", ["::1", "[::1]"])
def test_an_address_of_the_sixth_version_is_listened_on(server, address):
    with server.serve(port=0, address=address) as running:
        with links.wire(running.target) as wire:
            welcome = wire.exchange(links.hello(server.contract))

    assert running.target == f"[::1]:{running.port}"
    assert isinstance(welcome, Welcome)


def test_a_port_can_be_had_again_after_a_stop(server):
    with server.serve(port=0) as running:
        port = running.port

    with server.serve(port=port) as again:
        assert again.port == port


def test_wait_returns_when_the_server_is_stopped(server):
    running = server.serve(port=0)
    waiter = threading.Thread(target=running.wait)
    waiter.start()

    running.stop(0)
    waiter.join(10)

    assert not waiter.is_alive()


def test_one_stream_more_than_allowed_is_refused_at_once(server):
    host = server.host()
    with links.listen(host, max_streams=1).start() as running:
        wires = [links.wire(running.target, reply_timeout_s=20)]
        opened = []
        with pytest.raises(RefusedError, match="RESOURCE_EXHAUSTED") as info:
            for _ in range(10):
                wires.append(links.wire(running.target, reply_timeout_s=20))
                wire = wires[-1].__enter__()
                opened.append(wire)
                wire.exchange(links.hello(server.contract))
        for wire in opened:
            wire.close()

    assert len(opened) == 2
    assert info.value.reason == "busy"


def test_a_stop_tells_the_health_service_then_drains_then_closes():
    order = []
    host = Scripted(lambda m: Done())
    running = links.listen(host).start()
    real = running._health.enter_graceful_shutdown, running._server.stop
    running._health.enter_graceful_shutdown = lambda: (
        order.append("not serving"),
        real[0](),
    )
    host.drain = lambda grace_s: order.append(f"drain {grace_s}")
    host.close_all = lambda: order.append("close sessions")

    class Stopping:
        def stop(self, grace_s):
            order.append("stop")
            return real[1](grace_s)

    running._server = Stopping()
    running.stop(3.0)

    assert order == ["not serving", "drain 3.0", "stop", "close sessions"]


def test_a_step_in_flight_ends_before_the_server_does(server):
    """Its client gets the reply, although the server was told to stop."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Scripted):
        def drain(self, grace_s):
            go_on.set()
            finished.wait(grace_s)

    finished = threading.Event()

    def answer(message):
        begun.set()
        go_on.wait(20)
        finished.set()
        return Done()

    running = links.listen(Slow(answer)).start()
    with links.wire(running.target, reply_timeout_s=20) as wire:
        stopper = threading.Thread(
            target=lambda: begun.wait() and running.stop(5)
        )
        stopper.start()

        reply = wire.exchange(Snapshot("s"))

    stopper.join()
    assert reply == Done()


def test_a_server_says_where_to_reach_it(server):
    with server.serve(port=0) as running:
        assert repr(running) == f"<Server grpc://{running.target}>"

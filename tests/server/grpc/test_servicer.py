import queue
import threading
import time

import grpc
import numpy as np
import pytest

from keras_split.compression import codecs
from keras_split.compression.tensors import CutTensor
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import split_pb2_grpc
from keras_split.server import watchdog
from keras_split.server.callbacks import label
from tests import links
from tests.golden.messages import CONTRACT
from tests.transports.scripted import Scripted

RAW = codecs.get("raw")
SERVICE = "keras_split.v1.SplitTraining"


def answer(message):
    """Welcomes whoever says hello; all else is done."""
    if type(message).__name__ == "Hello":
        return Welcome("session-1")
    return Done()


@pytest.fixture
def start():
    running = []

    def start(answer=answer, **options):
        host = Scripted(answer, options.pop("max_message_bytes", 1 << 20))
        running.append(links.listen(host, **options).start())
        return running[-1], host

    yield start
    for server in running:
        server.stop(0)


class Stream:
    """A stream whose client decides when each frame is sent."""

    def __init__(self, target, method="Train"):
        self.channel = grpc.insecure_channel(target)
        self.sent = queue.SimpleQueue()
        self.call = self.channel.stream_stream(f"/{SERVICE}/{method}")(
            iter(self.sent.get, None)
        )

    def send(self, message):
        for frame in frames.split(*convert.to_wire(message, RAW)):
            self.sent.put(frame)

    def receive(self):
        envelope = pb.Frame.FromString(next(self.call)).envelope
        return convert.from_wire(envelope, envelope.payload, RAW, 1 << 20)

    def close(self):
        self.sent.put(None)
        self.call.cancel()
        self.channel.close()


@pytest.fixture
def stream():
    opened = []

    def stream(server, *options):
        opened.append(Stream(server.target, *options))
        return opened[-1]

    yield stream
    for one in opened:
        one.close()


def announced(payload_bytes):
    """The first frame of a message that goes on."""
    forward = pb.Forward(session="session-1")
    return pb.Frame(
        envelope=pb.Envelope(forward=forward, payload_bytes=payload_bytes)
    ).SerializeToString()


def hello():
    return links.hello(CONTRACT)


def is_cancelled(call):
    with pytest.raises(grpc.RpcError) as info:
        next(call)
    return info.value.code() is grpc.StatusCode.CANCELLED


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


# -- clients that take their time ---------------------------------------------


def test_a_stream_that_says_no_hello_is_ended(start, stream):
    server, _ = start(hello_timeout_s=0.3)

    silent = stream(server)

    assert is_cancelled(silent.call)


def test_other_messages_are_no_hello(start, stream):
    server, _ = start(hello_timeout_s=1.0)
    chatty = stream(server)

    with pytest.raises(grpc.RpcError) as info:
        for _ in range(200):
            chatty.send(Snapshot("s"))
            chatty.receive()
            time.sleep(0.05)

    assert info.value.code() is grpc.StatusCode.CANCELLED


def test_a_client_that_said_hello_may_think(start, stream):
    server, _ = start(hello_timeout_s=1.0, message_timeout_s=1.0)
    slow = stream(server)
    slow.send(hello())
    slow.receive()

    time.sleep(1.3)
    slow.send(Snapshot("s"))

    assert slow.receive() == Done()


def test_a_server_may_take_its_time_to_answer(start, stream):
    def think(message):
        time.sleep(1.3)
        return answer(message)

    server, _ = start(think, hello_timeout_s=1.0, message_timeout_s=1.0)
    patient = stream(server)

    patient.send(hello())
    patient.send(Snapshot("s"))

    assert isinstance(patient.receive(), Welcome)
    assert patient.receive() == Done()


@pytest.mark.parametrize("trickle", [False, True])
def test_a_message_that_does_not_end_ends_its_stream(start, stream, trickle):
    server, host = start(message_timeout_s=0.5, max_message_bytes=1 << 30)
    loris = stream(server)
    loris.send(hello())
    loris.receive()

    loris.sent.put(announced(1 << 29))
    ended = threading.Event()

    def drip():
        while trickle and not ended.wait(0.05):
            loris.sent.put(pb.Frame(chunk=b"x").SerializeToString())

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert is_cancelled(loris.call)
    finally:
        ended.set()
        dripping.join()
    assert wait_for(lambda: host.left == ["session-1"])


def test_a_unary_message_that_does_not_come_ends_its_call(start, stream):
    server, _ = start(message_timeout_s=0.3)

    silent = stream(server, "Exchange")

    assert is_cancelled(silent.call)


def test_a_stream_that_is_silent_for_too_long_is_ended(start, stream):
    server, host = start(idle_timeout_s=0.4)
    idle = stream(server)
    idle.send(hello())
    idle.receive()

    assert is_cancelled(idle.call)
    assert wait_for(lambda: host.left == ["session-1"])


def test_a_client_that_does_not_take_its_reply_is_ended(start, monkeypatch):
    monkeypatch.setattr(watchdog, "_SLOWEST_BYTES_PER_S", 1e9)
    codes = np.zeros(64 << 20, "uint8")

    def flood(message):
        if isinstance(message, Snapshot):
            return Forward("s", 0, [CutTensor("t", codes.shape, codes)])
        return answer(message)

    server, host = start(flood, message_timeout_s=0.5)
    deaf = Stream(server.target, "Train")
    deaf.send(hello())
    deaf.receive()

    deaf.send(Snapshot("s"))  # and nobody reads

    assert wait_for(lambda: host.left == ["session-1"])
    deaf.close()


def test_streams_that_hang_do_not_keep_a_client_away(start, stream):
    server, _ = start(max_streams=2, hello_timeout_s=0.3)
    hanging = [stream(server) for _ in range(2)]
    for one in hanging:
        assert is_cancelled(one.call)

    def welcomed():
        with links.wire(server.target) as wire:
            try:
                return isinstance(wire.exchange(hello()), Welcome)
            except RefusedError:  # their places are not free yet
                return False

    assert wait_for(welcomed)


def test_a_half_closed_stream_is_left(start, stream):
    server, host = start()
    half = stream(server)
    half.send(hello())
    half.receive()

    half.sent.put(None)

    with pytest.raises(StopIteration):
        half.receive()
    assert wait_for(lambda: host.left == ["session-1"])


def test_a_stream_that_closes_without_a_word_ends_well(start, stream):
    server, host = start()
    half = stream(server)

    half.sent.put(None)

    assert list(half.call) == []
    assert host.left == []


# -- limits -------------------------------------------------------------------


def big(nbytes):
    tensor = CutTensor("t", (nbytes,), np.zeros(nbytes, "uint8"))
    return Forward("session-1", 0, [tensor])


def test_a_message_beyond_the_budget_is_refused_and_the_next_is_not(start):
    server, host = start(max_inflight_bytes=5 << 20, max_message_bytes=1 << 24)

    with links.wire(server.target) as wire:
        wire.exchange(hello())
        with pytest.raises(RefusedError) as info:
            wire.exchange(big(6 << 20))
        fits = wire.exchange(big(4 << 20))
        again = wire.exchange(big(4 << 20))

    assert info.value.reason == "memory"
    assert str(info.value) == (
        "Expected 5,242,880 bytes or less in flight from all clients "
        "together, and a quarter of it from one. Received: a message of "
        "6,291,456 more. Send it again later."
    )
    assert fits == again == Done()
    assert [reason for _, reason in host.events.refusals] == ["memory"]


def test_the_budget_is_shared_by_all_streams(start, stream):
    server, host = start(max_inflight_bytes=5 << 20, max_message_bytes=1 << 24)
    greedy = stream(server)
    greedy.send(hello())
    greedy.receive()
    greedy.sent.put(announced(1 << 24))
    for _ in range(3):
        chunk = pb.Frame(chunk=bytes(frames.CHUNK_BYTES))
        greedy.sent.put(chunk.SerializeToString())

    def refused():
        with links.wire(server.target) as wire:
            wire.exchange(hello())
            try:
                wire.exchange(big(3 << 20))
            except RefusedError as error:
                return error.reason == "memory"
            return False

    assert wait_for(refused)
    greedy.close()
    assert wait_for(lambda: not refused())


def test_the_budget_holds_for_unary_calls(start):
    server, host = start(max_inflight_bytes=1 << 20, max_message_bytes=1 << 24)
    envelope, payload = convert.to_wire(big(2 << 20), RAW)
    envelope.payload = b"".join(payload)

    with grpc.insecure_channel(server.target) as channel:
        stub = split_pb2_grpc.SplitTrainingStub(channel)
        refused = stub.Exchange(envelope, timeout=20).refusal
        done = stub.Exchange(pb.Envelope(goodbye=pb.Goodbye()), timeout=20)

    assert refused.reason == "memory"
    assert done.WhichOneof("message") == "done"


def test_messages_faster_than_the_rate_are_refused(start):
    server, host = start(messages_per_s=3)
    replies = []

    with links.wire(server.target) as wire:
        for _ in range(20):
            try:
                replies.append(wire.exchange(Snapshot("s")))
            except RefusedError as error:
                replies.append(error.reason)

    assert replies[:3] == [Done()] * 3
    assert "rate" in replies
    assert len(host.callers) == len([r for r in replies if r == Done()])
    assert {reason for _, reason in host.events.refusals} == {"rate"}


def test_hellos_are_rationed_for_each_host_over_all_its_streams(start):
    server, host = start(hello_burst=3, hellos_per_s=0)

    for _ in range(3):
        with links.wire(server.target) as wire:
            wire.exchange(hello())
    with links.wire(server.target) as wire:
        with pytest.raises(RefusedError) as info:
            wire.exchange(hello())
        done = wire.exchange(Snapshot("s"))

    assert info.value.reason == "rate"
    assert done == Done()


def test_unary_messages_are_rationed_too(start):
    server, host = start(messages_per_s=2)

    with grpc.insecure_channel(server.target) as channel:
        stub = split_pb2_grpc.SplitTrainingStub(channel)
        replies = [
            stub.Exchange(pb.Envelope(goodbye=pb.Goodbye()), timeout=20)
            for _ in range(12)
        ]

    kinds = [reply.WhichOneof("message") for reply in replies]
    assert kinds[:2] == ["done", "done"]
    assert "refusal" in kinds


# -- what cannot be read ------------------------------------------------------


def test_unary_bytes_that_are_no_message_are_refused_time_and_again(start):
    server, host = start(max_streams=2)

    with grpc.insecure_channel(server.target) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Exchange")
        replies = [call(b"\xff" * 50, timeout=20) for _ in range(100)]

    refusals = [pb.Envelope.FromString(raw).refusal for raw in replies]
    assert {r.reason for r in refusals} == {"unreadable"}
    assert not host.callers


def test_a_unary_call_without_a_message_is_refused(start, stream):
    server, _ = start()
    empty = stream(server, "Exchange")

    empty.sent.put(None)

    [raw] = empty.call
    assert pb.Envelope.FromString(raw).refusal.text == (
        "Expected a message. Received: an empty envelope."
    )


def test_an_error_of_ours_is_told_without_its_text(start, monkeypatch, caplog):
    server, host = start()

    def broken(*_):
        raise RuntimeError("a path of the server")

    monkeypatch.setattr(convert, "from_wire", broken)
    with grpc.insecure_channel(server.target) as channel:
        stub = split_pb2_grpc.SplitTrainingStub(channel)
        reply = stub.Exchange(pb.Envelope(goodbye=pb.Goodbye()), timeout=20)

    assert reply.refusal.reason == "internal"
    assert "RuntimeError" in reply.refusal.text
    assert "a path" not in reply.refusal.text
    assert "a path of the server" in caplog.text


# -- what is told -------------------------------------------------------------


def test_bytes_are_told_for_each_message_of_a_session(start):
    server, host = start(max_message_bytes=1 << 24)

    with links.wire(server.target) as wire:
        wire.exchange(hello())
        wire.exchange(big(3 << 20))
        with pytest.raises(RefusedError):
            host.answer = lambda m: Refusal("order", "no")
            wire.exchange(Goodbye("session-1"))
        sent, received = wire.uplink_bytes, wire.downlink_bytes

    assert [name for name, _, _ in host.events.traffic] == (
        [label("session-1")] * 2
    )
    up = sum(up for _, up, _ in host.events.traffic)
    down = sum(down for _, _, down in host.events.traffic)
    assert sent - 30 < up < sent
    assert 0 < down < received


def test_the_host_hears_where_a_message_came_from(start):
    server, host = start()

    with links.wire(server.target) as wire:
        wire.exchange(hello())

    assert host.callers[0].peer.startswith("ipv4:127.0.0.1:")
    assert host.callers[0].client == ""


def test_each_welcome_on_a_stream_is_left_once(start):
    server, host = start()

    with links.wire(server.target) as wire:
        wire.exchange(hello())
        wire.exchange(hello())

    assert wait_for(lambda: host.left == ["session-1"] * 2)


def test_a_status_that_nobody_keeps_is_unimplemented(start):
    server, _ = start()

    with grpc.insecure_channel(server.target) as channel:
        stub = split_pb2_grpc.SplitTrainingStub(channel)
        with pytest.raises(grpc.RpcError) as info:
            stub.Status(pb.StatusRequest(), timeout=20)

    assert info.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_no_place_is_lost_over_calls_that_end_in_any_way(start, stream):
    server, host = start(max_streams=2)

    for way in range(9):
        with links.wire(server.target) as wire:
            try:
                if way % 3 == 0:
                    wire.exchange(hello())
                elif way % 3 == 1:
                    host.answer = lambda m: Refusal("permission", "no")
                    wire.exchange(Snapshot("s"))
                else:
                    wire._stream.send(b"\x12\x01x")
            except (RefusedError, TransportError):
                pass
        host.answer = answer

    def welcomed():
        try:
            with links.wire(server.target) as one:
                with links.wire(server.target) as two:
                    one.exchange(hello())
                    return isinstance(two.exchange(hello()), Welcome)
        except RefusedError:
            return False

    assert wait_for(welcomed)

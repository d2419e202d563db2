import gc
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import grpc
import numpy as np
import pytest

from keras_split.compression import codecs
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Snapshot
from keras_split.server.grpc import loop
from keras_split.server.grpc.servicer import SERVICE
from keras_split.transports.grpc import transport as transports
from keras_split.transports.grpc.transport import GrpcTransport
from keras_split.transports.grpc.transport import Stream
from tests import links
from tests.transports.scripted import Scripted

TRAIN = f"/{SERVICE}/Train"
# Hooks run in the order opposite to that of their registration.
LEAVES = """
import atexit, sys, threading

def look():
    alive = [t.name for t in threading.enumerate()]
    print("reading" if "keras_split-reader" in alive else "quiet")

atexit.register(look)
import grpc
from keras_split.transports.grpc.transport import Stream

stream = Stream(grpc.insecure_channel(sys.argv[1]), sys.argv[2], (), 20)
look()
"""


@pytest.fixture
def start():
    """Starts servers that are stopped when the test is over."""
    running = []

    def start(answer):
        server = links.listen(Scripted(answer)).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop(0)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_replies_follow_their_messages(start):
    server = start(lambda m: Refusal("no", m.session))

    with links.wire(server.target) as transport:
        for session in ("a", "b", "c"):
            with pytest.raises(RefusedError, match=f"^{session}$"):
                transport.exchange(Snapshot(session))


def test_messages_are_posted_without_waiting_for_replies(start):
    answer = threading.Event()
    server = start(lambda m: answer.wait(20) and Refusal("no", m.session))
    replies = []

    with links.wire(server.target) as transport:
        for session in ("a", "b", "c"):
            transport.post(Snapshot(session))
        answer.set()
        for _ in range(2):
            with pytest.raises(RefusedError) as info:
                transport.collect()
            replies.append(str(info.value))
        with pytest.raises(RefusedError, match="^d$"):
            transport.exchange(Snapshot("d"))

    assert replies == ["a", "b"]


def test_bytes_on_the_wire_are_counted_in_each_direction(start):
    server = start(lambda m: Refusal("no", "x" * 1000))

    with links.wire(server.target) as transport:
        with pytest.raises(RefusedError):
            transport.exchange(Snapshot("s" * 10))

        assert 10 < transport.uplink_bytes < 40
        assert 1000 < transport.downlink_bytes < 1040


def test_a_server_that_is_not_there_is_waited_for_only_so_long():
    target = f"127.0.0.1:{free_port()}"
    began = time.monotonic()

    with pytest.raises(TransportError) as info:
        transports.GrpcTransport(
            target, codecs.get("raw"), connect_timeout_s=0.5
        )

    assert time.monotonic() - began < 10
    assert isinstance(info.value, ConnectionError)
    assert str(info.value) == (
        f"Expected a keras_split server at {target}. Received: no connection "
        "within 0.5 s. Start it with keras-split serve, and look at the host "
        "and the port."
    )


def test_a_server_that_starts_a_little_later_is_found(start):
    found = []
    port = free_port()

    def connect():
        with links.wire(f"127.0.0.1:{port}", connect_timeout_s=20) as transport:
            found.append(transport.exchange(Goodbye("s")))

    client = threading.Thread(target=connect)
    client.start()
    time.sleep(0.3)
    host = Scripted(lambda m: Done())
    with links.listen(host, port=port).start():
        client.join(20)

    assert found == [Done()]


def test_a_reply_that_does_not_come_is_waited_for_only_so_long(start):
    answer = threading.Event()
    server = start(lambda m: answer.wait(20) and Done())
    began = time.monotonic()

    with links.wire(server.target, reply_timeout_s=0.5) as transport:
        with pytest.raises(TransportError) as info:
            transport.exchange(Forward("s", 3, []))
    answer.set()

    assert time.monotonic() - began < 15
    assert str(info.value).startswith(
        f"Expected a reply from {server.target} to the Forward of step 3. "
        "Received: nothing after 0.5 s. The server went away or stalled; "
    )


def test_a_server_may_be_waited_for_without_end(start):
    server = start(lambda message: Done())
    for_ever = float("inf")

    transport = GrpcTransport(
        server.target,
        codecs.get("raw"),
        connect_timeout_s=for_ever,
        reply_timeout_s=for_ever,
    )

    assert transport.exchange(Goodbye("s")) == Done()
    transport.close()


def test_a_server_that_stops_in_mid_exchange_is_noticed_at_once(start):
    asked = threading.Event()
    gone = threading.Event()

    def stall(message):
        asked.set()
        gone.wait(20)
        return Done()

    server = start(stall)

    def stop():
        asked.wait(20)
        loop.run(server._server.stop(0))

    threading.Thread(target=stop).start()
    began = time.monotonic()

    with links.wire(server.target, reply_timeout_s=30) as transport:
        with pytest.raises(
            TransportError, match="The server went away"
        ) as info:
            transport.exchange(Snapshot("s"))
    gone.set()

    assert time.monotonic() - began < 10
    assert f"a reply from {server.target} to the Snapshot. " in str(info.value)


def test_a_port_where_something_else_listens_is_no_server():
    with socket.create_server(("127.0.0.1", 0)) as other:
        target = f"127.0.0.1:{other.getsockname()[1]}"

        with pytest.raises(TransportError, match="Expected a keras_split"):
            transports.GrpcTransport(
                target, codecs.get("raw"), connect_timeout_s=0.5
            )


def test_a_reply_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(transports, "REPLY_LIMIT_BYTES", 100)
    _, server = links.halves()

    with server.serve(port=0) as running, links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        smashed = links.smashed(server.contract)
        with pytest.raises(TransportError, match="at most 100 bytes") as info:
            wire.exchange(Forward(session, 0, smashed))

    assert "Use a smaller batch." in str(info.value)


def test_a_reply_of_more_than_its_batch_is_not_decoded():
    codec = codecs.get("zstd")
    contract = links.halves("int8", codec="zstd")[0].contract
    most = contract.reply_limit_bytes(2)
    huge = CutTensor("drop", (2, most), np.zeros((2, most), np.uint8), None)
    server = links.listen(Scripted(lambda m: Features(0, [huge], 0.0)), "zstd")
    smashed = links.smashed(contract, size=2)

    with server.start() as running:
        wire = GrpcTransport(
            running.target, codec, reply_limit_bytes=contract.reply_limit_bytes
        )
        with pytest.raises(ProtocolError, match="over the limit"):
            wire.exchange(Forward("s", 0, smashed))
        wire.close()


def test_a_payload_of_more_than_its_batch_is_not_kept():
    contract = links.halves()[0].contract
    codes = np.zeros((2, contract.reply_limit_bytes(2)), np.uint8)
    huge = CutTensor("drop", codes.shape, codes, None)
    server = links.listen(Scripted(lambda m: Features(0, [huge], 0.0)))
    smashed = links.smashed(contract, size=2)

    with server.start() as running:
        wire = GrpcTransport(
            running.target,
            codecs.get("raw"),
            reply_limit_bytes=contract.reply_limit_bytes,
        )
        with pytest.raises(TransportError, match="reply of at most"):
            wire.exchange(Forward("s", 0, smashed))
        wire.close()


def test_a_reply_that_is_not_understood_is_refused(start, monkeypatch):
    server = start(lambda m: Done())

    def garbled(*_):
        raise ProtocolError("Expected x. Received: y.")

    monkeypatch.setattr(transports.convert, "from_wire", garbled)
    with links.wire(server.target) as transport:
        with pytest.raises(ProtocolError, match="Expected x"):
            transport.exchange(Snapshot("s"))


def test_after_a_reply_that_did_not_come_it_gives_no_other(start):
    answer = threading.Event()
    server = start(lambda m: answer.wait(20) and Refusal("late", m.session))

    with links.wire(server.target, reply_timeout_s=0.5) as transport:
        with pytest.raises(TransportError, match="nothing after 0.5 s"):
            transport.exchange(Snapshot("first"))
        answer.set()
        with pytest.raises(TransportError) as info:
            transport.exchange(Snapshot("second"))

    assert str(info.value) == (
        f"Expected a connection to {server.target} that is whole. Received: "
        "one on which an exchange broke off. Open a new one."
    )


class Interrupted:
    """A queue in whose first wait somebody presses Ctrl-C."""

    def __init__(self, queue):
        self.queue = queue
        self.put = queue.put
        self.get = self.interrupt

    def interrupt(self, timeout):
        self.get = self.queue.get
        raise KeyboardInterrupt


def test_after_an_interrupt_no_reply_is_taken_for_that_of_the_next_message(
    start,
):
    server = start(lambda m: Refusal("reply", m.session))

    with links.wire(server.target) as transport:
        stream = transport._stream
        stream._arrived = Interrupted(stream._arrived)
        with pytest.raises(KeyboardInterrupt):
            transport.exchange(Snapshot("first"))

        with pytest.raises(TransportError, match="an exchange broke off"):
            transport.exchange(Snapshot("second"))


def test_a_message_that_cannot_be_sent_leaves_the_connection_whole(start):
    server = start(lambda m: Done())

    with links.wire(server.target) as transport:
        with pytest.raises(TypeError):
            transport.exchange(Snapshot(session=7))

        assert transport.exchange(Snapshot("s")) == Done()


# -- the stream under it ------------------------------------------------------


@pytest.fixture
def target():
    host = Scripted(lambda message: Refusal("no", "no"))
    with links.listen(host) as server:
        server.start()
        yield server.target


def readers():
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == "keras_split-reader"
    ]


def test_nothing_of_a_closed_stream_is_left(target):
    before = len(readers())
    stream = Stream(grpc.insecure_channel(target), TRAIN, (), 20)
    call = weakref.ref(stream._end.peek()[2][1])
    assert len(readers()) == before + 1

    stream.close()
    stream.close()

    assert len(readers()) == before
    gc.collect()
    assert call() is None


def test_the_thread_that_sends_is_gone_with_its_stream(target):
    stream = Stream(grpc.insecure_channel(target), TRAIN, (), 20)
    told = stream._end.peek()[2][4]
    thread = told.get(timeout=20)
    told.put(thread)
    assert thread.is_alive()

    stream.close()

    assert not thread.is_alive()


def test_a_stream_that_nobody_has_any_more_is_closed(target):
    before = len(readers())
    stream = Stream(grpc.insecure_channel(target), TRAIN, (), 20)
    assert len(readers()) == before + 1

    del stream
    gc.collect()

    assert len(readers()) == before


def test_how_it_broke_off_is_told(target):
    stream = Stream(grpc.insecure_channel(target), "/none/None", (), 20)

    with pytest.raises(grpc.RpcError) as info:
        next(iter(stream))

    assert info.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert info.value.details() == "Method not found!"
    stream.close()


def test_its_thread_is_gone_before_a_process_that_closes_nothing(target):
    result = subprocess.run(
        [sys.executable, "-c", LEAVES, target, TRAIN],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.stderr == ""
    assert result.stdout.split() == ["reading", "quiet"]


def test_a_forked_child_ends_and_leaves_its_parents_stream_alone():
    script = Path(__file__).with_name("forked.py")

    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60
    )

    assert result.stdout.split() == ["7", "after", "True"], result.stderr

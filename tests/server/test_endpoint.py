"""One set of rules, whatever carries the calls.

It is tried over gRPC's unary calls, over HTTP/1.1 and over the port for
browsers; streams over gRPC are in tests/server/grpc, an endpoint that nothing
carries in test_endpoint_alone.py.
"""

import contextlib
import functools
import json
import socket
import threading
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client.strategy import SplitStrategy
from keras_split.compression import codecs
from keras_split.compression.tensors import CutTensor
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.server.endpoint import Endpoint
from keras_split.server.grpc.server import Server
from tests import links
from tests.golden.messages import CONTRACT
from tests.server.http_adapter import HttpServer
from tests.server.http_adapter import HttpTransport
from tests.server.unary_transport import UnaryTransport
from tests.server.web_transport import WebListener
from tests.server.web_transport import WebTransport
from tests.transports.scripted import Scripted

RAW = codecs.get("raw")
LOSS = json.dumps(
    {"loss": ["sparse_categorical_crossentropy"], "loss_weights": [1.0]}
)
ALICE, BOB = "token-of-alice-0123", "token-of-bob-456789"
WAYS = {
    "grpc": (lambda endpoint: Server(endpoint, port=0), UnaryTransport),
    "http": (HttpServer, HttpTransport),
    "web": (WebListener, WebTransport),
}


@pytest.fixture(scope="module")
def model():
    return links.halves()[1]


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def listen(way):
    """Listens for an endpoint; returns how to connect to it."""
    with contextlib.ExitStack() as stack:

        def listen(endpoint):
            server, transport = WAYS[way]
            running = stack.enter_context(server(endpoint).start())

            def connect(token=None):
                made = transport(running.target, token=token)
                stack.callback(made.close)
                return made

            return connect

        yield listen


@pytest.fixture
def serve(model, listen):
    """Serves a model, whose weights are then what they were."""
    before = model.half.weights()

    def serve(**options):
        return listen(model.endpoint(**options))

    yield serve
    model.half.set_weights(before)


@pytest.fixture
def scripted(listen):
    """Serves what a script says."""

    def scripted(answer=lambda message: Done(), nbytes=1 << 20, **options):
        service = Scripted(answer, nbytes)
        return listen(Endpoint(service, RAW, **options)), service

    return scripted


def opened(transport, model):
    return transport.exchange(links.hello(model.contract)).session


# -- what is said -------------------------------------------------------------


def test_a_hello_is_welcomed_without_a_promise_of_early_replies(serve, model):
    welcome = serve()().exchange(links.hello(model.contract))

    assert isinstance(welcome, Welcome)
    assert welcome.next_step == 0
    assert not welcome.replies_early


def test_a_step_is_the_step_in_one_process(serve, model):
    before = model.half.weights()
    service = model.host()
    session = service.handle(links.hello(model.contract)).session
    expected = links.take_step(service.handle, session, model.contract)
    after = links.state(model)
    model.half.set_weights(before)

    transport = serve()()
    session = opened(transport, model)
    received = links.take_step(transport.exchange, session, model.contract)
    done = transport.exchange(Goodbye(session))

    assert done == Done()
    assert links.same(links.state(model), after)
    for one, other in zip(received, expected, strict=True):
        assert links.same(links.parts(one.tensors), links.parts(other.tensors))


def test_what_is_said_again_is_answered_and_not_done_again(serve, model):
    transport = serve()()
    session = opened(transport, model)
    forward = Forward(session, 0, links.smashed(model.contract))
    grad = links.features_grad(model.contract)
    backward = Backward(session, 0, grad, 0.1)

    features = [transport.exchange(forward) for _ in range(2)]
    grads = [transport.exchange(backward)]
    after = links.state(model)
    grads.append(transport.exchange(backward))

    assert links.same(links.state(model), after)
    for one, other in (features, grads):
        assert links.same(links.parts(one.tensors), links.parts(other.tensors))


def test_a_session_goes_on_over_another_connection(serve, model):
    connect = serve()
    first = connect()
    session = opened(first, model)
    links.take_step(first.exchange, session, model.contract)
    first.exchange(Forward(session, 1, links.smashed(model.contract)))
    first.close()

    second = connect()
    again = links.hello(model.contract, session=session, next_step=1)
    welcome = second.exchange(again)
    _, grads = links.take_step(second.exchange, session, model.contract, 1)

    assert (welcome.session, welcome.next_step) == (session, 1)
    assert grads.step == 1


def test_a_refusal_has_its_reason_and_the_session_goes_on(serve, model):
    transport = serve()()
    session = opened(transport, model)
    before = links.state(model)
    bad = [replace(links.smashed(model.contract)[0], shape=(8, 4, 7, 7))]

    with pytest.raises(RefusedError) as unknown:
        transport.exchange(Snapshot("s"))
    with pytest.raises(RefusedError) as wrong:
        transport.exchange(Forward(session, 0, bad))
    still = links.state(model)
    links.take_step(transport.exchange, session, model.contract)

    assert (unknown.value.reason, wrong.value.reason) == ("session", "shape")
    assert links.same(still, before)


@pytest.mark.parametrize("garbage", [b"\xff" * 50, b"GET / HTTP/1.1"])
def test_bytes_that_are_no_message_are_refused(scripted, garbage):
    connect, service = scripted(max_streams=2)
    transport = connect()

    replies = [transport.send(garbage) for _ in range(20)]
    good = transport.exchange(Snapshot("s"))

    refusals = [pb.Envelope.FromString(raw).refusal for raw in replies]
    assert {r.reason for r in refusals} == {"unreadable"}
    assert len(service.callers) == 1 and good == Done()


def test_no_message_at_all_is_refused(scripted):
    connect, _ = scripted()

    reply = connect().send(b"")

    assert pb.Envelope.FromString(reply).refusal.text == (
        "Expected a message. Received: an empty envelope."
    )


def test_tensors_over_the_limit_are_refused(serve, model):
    transport = serve(max_message_bytes=10_000)()
    session = opened(transport, model)
    large = links.smashed(model.contract, size=13)

    with pytest.raises(RefusedError) as info:
        transport.exchange(Forward(session, 0, large))
    fits = links.smashed(model.contract, size=12)
    features = transport.exchange(Forward(session, 0, fits))

    assert info.value.reason == "size"
    assert features.step == 0


def test_a_learning_rate_that_nobody_said_is_refused(serve, model):
    transport = serve()()
    session = opened(transport, model)
    transport.exchange(Forward(session, 0, links.smashed(model.contract)))
    unsaid = Backward(session, 0, links.features_grad(model.contract), 0.0)

    with pytest.raises(RefusedError) as info:
        transport.exchange(unsaid)
    transport.exchange(replace(unsaid, rate_said=True))

    assert info.value.reason == "learning-rate"


def test_a_labeled_step_is_the_step_in_one_process(listen):
    """Of a model that is cut once."""
    _, model = keras_split.compile(links.net(), "first")
    before = model.half.weights()
    hello = links.hello(model.contract, loss=LOSS)

    def step(answer):
        session = answer(hello).session
        return answer(
            LabeledStep(
                session,
                0,
                links.smashed(model.contract),
                [CutTensor("labels_0", (8,), np.arange(8) % 3)],
                [],
                0.1,
            )
        )

    expected = step(model.host().handle)
    after = links.state(model)
    model.half.set_weights(before)
    received = step(listen(model.endpoint())().exchange)

    assert received.loss == expected.loss
    assert links.same(
        links.parts(received.tensors), links.parts(expected.tensors)
    )
    assert links.same(links.state(model), after)


def test_an_inference_changes_nothing(serve, model):
    transport = serve()()
    session = opened(transport, model)
    before = links.state(model)
    infer = Infer(session, links.smashed(model.contract))

    one, other = transport.exchange(infer), transport.exchange(infer)

    assert links.same(links.parts(one.tensors), links.parts(other.tensors))
    assert links.same(links.state(model), before)


def test_a_snapshot_brings_the_weights_back(serve, model):
    transport = serve()()
    session = opened(transport, model)
    before = links.state(model)

    tag = transport.exchange(Snapshot(session)).tag
    links.take_step(transport.exchange, session, model.contract)
    moved = links.state(model)
    transport.exchange(Restore(session, tag, True))

    assert not links.same(moved, before)
    assert links.same(links.state(model), before)


# -- what is allowed ----------------------------------------------------------


def test_messages_faster_than_the_rate_are_refused(scripted):
    connect, service = scripted(messages_per_s=2)
    transport = connect()
    replies = []

    for _ in range(12):
        try:
            replies.append(transport.exchange(Snapshot("s")))
        except RefusedError as error:
            replies.append(error.reason)

    assert replies[:2] == [Done()] * 2
    assert "rate" in replies
    assert {reason for _, reason in service.events.refusals} == {"rate"}


def test_hellos_are_rationed_over_all_connections(scripted):
    connect, _ = scripted(
        lambda message: Welcome("session-1"), hello_burst=3, hellos_per_s=0
    )
    for _ in range(3):
        connect().exchange(links.hello(CONTRACT))

    with pytest.raises(RefusedError) as info:
        connect().exchange(links.hello(CONTRACT))

    assert info.value.reason == "rate"


def test_a_message_beyond_the_budget_is_refused_and_the_next_is_not(scripted):
    connect, _ = scripted(nbytes=1 << 24, max_inflight_bytes=1 << 20)
    transport = connect()
    tensor = CutTensor("t", (2 << 20,), np.zeros(2 << 20, "uint8"))

    with pytest.raises(RefusedError) as info:
        transport.exchange(Forward("session-1", 0, [tensor]))
    done = transport.exchange(Snapshot("s"))

    # HTTP says the length first: there it is refused before it is read.
    assert info.value.reason in ("memory", "busy")
    assert done == Done()


def test_one_call_more_than_allowed_is_told_so_at_once(scripted):
    begun, go_on = threading.Event(), threading.Event()

    def answer(message):
        begun.set()
        go_on.wait(20)
        return Done()

    connect, _ = scripted(answer, max_streams=1)
    replies = []
    first = threading.Thread(
        target=lambda: replies.append(connect().exchange(Snapshot("s")))
    )
    first.start()
    begun.wait(20)

    with pytest.raises(RefusedError) as info:
        connect().exchange(Snapshot("s"))
    go_on.set()
    first.join()

    assert info.value.reason == "busy"
    assert "fewer calls at a time" in str(info.value)
    assert replies == [Done()]


def test_who_has_no_token_is_not_let_in(serve, model, tmp_path):
    connect = serve(security=_tokens(tmp_path))

    for token in (None, "some-other-token-00"):
        with pytest.raises(RefusedError) as info:
            connect(token).exchange(links.hello(model.contract))
        assert info.value.reason == "unauthenticated"
        assert "some-other" not in str(info.value)

    welcome = connect(ALICE).exchange(links.hello(model.contract))
    assert isinstance(welcome, Welcome)


def test_another_client_cannot_go_on_with_a_session(serve, model, tmp_path):
    connect = serve(security=_tokens(tmp_path))
    alice, bob = connect(ALICE), connect(BOB)
    session = opened(alice, model)
    forward = Forward(session, 0, links.smashed(model.contract))

    with pytest.raises(RefusedError) as info:
        bob.exchange(forward)
    features = alice.exchange(forward)

    assert info.value.reason == "permission"
    assert features.step == 0


def _tokens(folder):
    path = folder / "tokens"
    path.write_text(f"alice {ALICE}\nbob {BOB}\n")
    path.chmod(0o600)
    return keras_split.server.Security(tokens=path)


def test_bytes_are_told_as_they_were_carried(scripted):
    connect, service = scripted()
    transport = connect()

    transport.exchange(Snapshot("s"))

    [(_, up, down)] = service.events.traffic
    assert (up, down) == (transport.uplink_bytes, transport.downlink_bytes)


def test_a_session_waits_from_its_welcome_on(scripted):
    """There is no stream whose end would tell."""
    connect, service = scripted(lambda message: Welcome("session-1"))

    connect().exchange(links.hello(CONTRACT))

    assert service.left == ["session-1"]
    assert service.callers[0].peer.startswith("ipv4:127.0.0.1:")


# -- a whole training ---------------------------------------------------------


def strategy(make):
    """Speaks over what `make` makes, anew after each loss."""
    retry = keras_split.Retry(first_s=0.01, longest_s=0.02)
    return SplitStrategy(transport=lambda *_: make(), retry=retry)


def trained(connect=None, quantization="int8"):
    """Losses, predictions and both halves' weights after a `fit`."""
    client, server = links.halves(quantization)
    way = None
    if connect is not None:
        way = strategy(connect(links.halves(quantization)[1], server))
    client.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        strategy=way,
    )
    x, y = links.batch(24)
    history = client.fit(
        *(x, y), batch_size=8, epochs=2, shuffle=False, verbose=0
    ).history
    predictions = client.predict(x, verbose=0)
    client.close()
    return history, [np.array(v) for v in client.variables], predictions


@functools.cache
def in_one_process():
    return trained()


@pytest.mark.slow
def test_a_fit_is_the_fit_in_one_process(listen):
    history, weights, predictions = trained(
        lambda far, _: listen(far.endpoint())
    )

    expected = in_one_process()

    assert history == expected[0]
    assert links.same(weights, expected[1])
    assert links.same([predictions], [expected[2]])


def test_a_fit_that_loses_replies_is_the_fit_that_does_not(listen):
    lost = []

    def losing(far, _):
        connect = listen(far.endpoint())

        def make():
            transport = connect()
            carry, count = transport.carry, iter(range(1, 1 << 20))

            def lossy(message):
                reply = carry(message)
                if next(count) % 5 == 0:
                    lost.append(type(message).__name__)
                    raise TransportError("Expected a reply. Received: none.")
                return reply

            transport.carry = lossy
            return transport

        return make

    history, weights, predictions = trained(losing)

    expected = in_one_process()
    assert {"Forward", "Backward"} <= set(lost)
    assert history == expected[0]
    assert links.same(weights, expected[1])


# -- HTTP alone ---------------------------------------------------------------


@pytest.fixture
def http():
    with contextlib.ExitStack() as stack:

        def start(**options):
            service = Scripted(lambda message: Done(), 1000)
            endpoint = Endpoint(service, RAW, **options)
            return stack.enter_context(HttpServer(endpoint).start())

        yield start


def test_a_message_that_does_not_arrive_ends_its_call(http):
    running = http(message_timeout_s=0.3)
    host, port = running.target.split(":")

    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        began = time.monotonic()
        while slow.recv(1 << 10):
            pass

    assert time.monotonic() - began < 15


def test_a_message_that_is_announced_too_long_is_not_read(http):
    running = http()
    longest = running.endpoint.longest_bytes

    with contextlib.closing(HttpTransport(running.target)) as transport:
        refused = transport.send(bytes(longest + 1))
        answered = transport.send(bytes(longest))

    assert longest == 1000 + frames.CHUNK_BYTES
    assert refused == Refusal(
        "size",
        "Expected a message of at most 1,000 bytes. Received: 1,049,577 "
        "bytes. Use a smaller batch, or raise the server's --max-batch.",
    )
    # It was read, and is all description.
    refusal = pb.Envelope.FromString(answered).refusal
    assert "65,536 bytes that describe a message" in refusal.text
    heard = running.endpoint.service.events.refusals
    assert [reason for _, reason in heard] == ["size", "size"]


def test_two_ways_lead_to_one_body(model):
    before = model.half.weights()
    endpoint = model.endpoint()
    with HttpServer(endpoint).start() as http:
        grpc = Server(endpoint, port=0).start()
        one, other = UnaryTransport(grpc.target), HttpTransport(http.target)
        session = opened(one, model)

        links.take_step(one.exchange, session, model.contract)
        links.take_step(other.exchange, session, model.contract, 1)
        welcome = one.exchange(links.hello(model.contract, session=session))
        one.close()
        other.close()
        grpc.stop(0)
    model.half.set_weights(before)

    assert welcome.next_step == 2

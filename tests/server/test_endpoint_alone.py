"""An endpoint that nothing carries: bytes go in, bytes come out."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import keras_split
from keras_split.compression import codecs
from keras_split.compression.tensors import CutTensor
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import status as wire_status
from keras_split.protocol.wire import unary
from keras_split.server import accounts
from keras_split.server import call
from keras_split.server import endpoint_stream
from keras_split.server.callbacks import Caller
from keras_split.server.endpoint import Endpoint
from tests import links
from tests.golden.messages import CONTRACT
from tests.transports.scripted import Scripted

RAW = codecs.get("raw")
ALICE, BOB = "token-of-alice-0123", "token-of-bob-456789"


def _tokens(folder):
    path = folder / "tokens"
    path.write_text(f"alice {ALICE}\nbob {BOB}\n")
    path.chmod(0o600)
    return keras_split.server.Security(tokens=path)


@pytest.fixture(scope="module")
def model():
    return links.halves()[1]


@pytest.fixture
def service():
    return Scripted(
        lambda m: Welcome("s-1") if type(m).__name__ == "Hello" else Done()
    )


def framed(*messages):
    for message in messages:
        yield from frames.split(*convert.to_wire(message, RAW))


def said(endpoint, requests, caller=None):
    """What a stream answers frames with, until it ends."""
    replies = []

    async def arriving():
        for raw in requests:
            yield raw

    async def send(raw):
        replies.append(raw)

    asyncio.run(
        endpoint.stream(
            arriving(), send, caller or endpoint.caller("p"), lambda: None
        )
    )
    return [
        convert.from_wire(envelope, payload, RAW, 1 << 20)
        for envelope, payload in frames.join(replies, 1 << 20)
    ]


def test_bytes_go_in_and_bytes_come_out(service):
    endpoint = Endpoint(service, RAW)
    caller = endpoint.caller("ipv4:10.0.0.2:40312", certificate="alice")

    raw = endpoint.answer(unary.encode(Snapshot("s"), RAW), caller)

    assert unary.decode(raw, RAW) == Done()
    assert service.callers == [caller]
    assert (caller.client, caller.peer) == ("alice", "ipv4:10.0.0.2:40312")


def test_a_name_is_that_of_the_token_where_tokens_are_asked_for(
    service, tmp_path
):
    endpoint = Endpoint(service, RAW, security=_tokens(tmp_path))

    caller = endpoint.caller("p", ALICE, certificate="mallory")
    with pytest.raises(RefusedError) as info:
        endpoint.caller("p", BOB + "x", certificate="alice")

    assert caller.client == "alice"
    assert (endpoint.knows(ALICE), endpoint.knows(None)) == (True, False)
    assert info.value.reason == "unauthenticated"
    [(refused, reason)] = service.events.refusals
    assert (refused.client, refused.peer, reason) == (
        *("", "p"),
        "unauthenticated",
    )


def test_a_stream_answers_one_after_the_other_and_then_leaves(service):
    endpoint = Endpoint(service, RAW)
    caller = endpoint.caller("p")
    requests = framed(links.hello(CONTRACT), Snapshot("s"), Snapshot("s"))

    replies = said(endpoint, requests, caller)

    assert replies == [Welcome("s-1"), Done(), Done()]
    assert service.left == ["s-1"]


def test_a_client_that_goes_away_ends_its_stream_quietly(service):
    endpoint = Endpoint(service, RAW)

    def requests():
        yield from framed(links.hello(CONTRACT))
        raise ConnectionResetError

    said(endpoint, requests())

    assert service.left == ["s-1"]
    assert service.events.refusals == []


def test_a_stream_that_cannot_be_followed_ends_with_a_refusal(service):
    endpoint = Endpoint(service, RAW)
    requests = [*framed(links.hello(CONTRACT)), b"\xff" * 50]

    welcome, refusal = said(endpoint, requests)

    assert isinstance(welcome, Welcome)
    assert refusal.reason == "unreadable"
    assert service.left == ["s-1"]


def test_a_stream_without_a_session_may_say_no_more_than_hello(service):
    endpoint = Endpoint(service, RAW)
    caller = endpoint.caller("p")
    tensor = CutTensor("a", (1, 1 << 16), np.zeros((1, 1 << 16), "float32"))
    long = Infer("s", [tensor])

    (refusal,) = said(endpoint, framed(Snapshot("s"), long), caller)[1:]
    after = said(endpoint, framed(links.hello(CONTRACT), long), caller)

    assert refusal.reason == "size"
    assert "Say hello first." in refusal.text
    assert after == [Welcome("s-1"), Done()]


@pytest.mark.parametrize("streams", [False, True])
def test_who_has_no_right_gets_no_reply(service, streams):
    endpoint = Endpoint(service, RAW)
    service.answer = lambda message: Refusal("permission", "not yours")
    caller = endpoint.caller("p")

    with pytest.raises(RefusedError, match="not yours") as info:
        if streams:
            said(endpoint, framed(Snapshot("s")), caller)
        else:
            endpoint.answer(unary.encode(Snapshot("s"), RAW), caller)

    assert info.value.reason == "permission"


def test_a_stream_has_a_place_until_it_ends(service):
    endpoint = Endpoint(service, RAW, max_streams=1)
    caller = endpoint.caller("p")

    def requests():
        yield from framed(links.hello(CONTRACT))
        with pytest.raises(RefusedError, match="fewer calls"):
            endpoint.answer(unary.encode(Snapshot("s"), RAW), caller)

    assert said(endpoint, requests(), caller) == [Welcome("s-1")]

    raw = endpoint.answer(unary.encode(Snapshot("s"), RAW), caller)
    assert unary.decode(raw, RAW) == Done()


def test_a_status_is_told_where_one_is_kept(service, model):
    with pytest.raises(RefusedError) as info:
        Endpoint(service, RAW).status(Caller())
    raw = model.endpoint().status(Caller())

    assert info.value.reason == "unimplemented"
    status = wire_status.from_wire(pb.StatusReply.FromString(raw))
    assert status.fingerprint == model.contract.fingerprint


def test_the_operator_sees_everything_and_trains_nothing(
    service, model, tmp_path
):
    mine = tmp_path / "mine"
    mine.write_text("a-token-of-the-operator")
    security = replace(_tokens(tmp_path), operator_token=mine)
    endpoint = model.endpoint(security=security)
    operator = endpoint.caller("p", "a-token-of-the-operator")
    alice = endpoint.caller("p", ALICE)
    hello = links.hello(CONTRACT)

    assert endpoint.knows("a-token-of-the-operator")
    assert endpoint.status(operator)
    with pytest.raises(RefusedError, match="the operator's token") as info:
        endpoint.status(alice)
    assert info.value.reason == "permission"
    for ask in (
        lambda: endpoint.answer(unary.encode(hello, RAW), operator),
        lambda: said(endpoint, framed(hello), operator),
    ):
        with pytest.raises(RefusedError, match="lets nobody train") as info:
            ask()
        assert info.value.reason == "permission"
    status = wire_status.from_wire(
        pb.StatusReply.FromString(endpoint.status(operator))
    )
    assert status.refusals == {"permission": 3}


def test_it_drains_and_closes_what_it_stands_before(service):
    with Endpoint(service, RAW).start() as endpoint:
        endpoint.drain(0)

    assert service.ended == ["drained", "closed"]


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (links.hello(CONTRACT), Welcome("s-1")),
        (Snapshot("t"), Refusal("session", "no such")),
    ],
)
def test_who_asks_without_end_for_what_brings_nothing_has_to_wait(
    message, reply, monkeypatch
):
    service = Scripted(lambda m: Done() if m == Snapshot("s") else reply)
    endpoint = Endpoint(service, RAW, hello_burst=2000)
    ann, ben = (endpoint.caller("p", certificate=c) for c in ("ann", "ben"))
    slept = []
    monkeypatch.setattr(call, "time", SimpleNamespace(sleep=slept.append))
    asked, raw = unary.encode(message, RAW), unary.encode(Snapshot("s"), RAW)

    endpoint.answer(raw, ben)
    for _ in range(round(accounts.FREE_S / accounts.CALL_S)):
        endpoint.answer(asked, ann)
    free = list(slept)
    for _ in range(200):
        endpoint.answer(asked, ann)
    waited = slept[-1]
    slept.clear()
    endpoint.answer(raw, ben)

    assert free == []
    assert waited == accounts.LONGEST_PAUSE_S
    assert slept == []


def test_what_cannot_be_read_counts_as_refused():
    service = Scripted(lambda m: Done())
    endpoint = Endpoint(service, RAW)
    ann = endpoint.caller("p", certificate="ann")

    reply = unary.decode(endpoint.answer(b"\xff", ann), RAW)

    assert isinstance(reply, Refusal)
    owed = service.accounts.of(ann)._owed()
    assert owed == pytest.approx(accounts.CALL_S, rel=0.2)


def test_a_stream_waits_too(monkeypatch):
    service = Scripted(lambda m: Done())
    endpoint = Endpoint(service, RAW)
    ann, ben = (endpoint.caller("p", certificate=c) for c in ("ann", "ben"))
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    own = SimpleNamespace(**vars(asyncio) | {"sleep": sleep})
    monkeypatch.setattr(endpoint_stream, "asyncio", own)
    service.accounts.of(ben)
    service.accounts.of(ann).in_vain(100.0)

    replies = said(endpoint, framed(Snapshot("s"), Snapshot("s")), ann)
    said(endpoint, framed(Snapshot("s")), ben)

    assert replies == [Done(), Done()]
    assert slept == [accounts.LONGEST_PAUSE_S] * 2

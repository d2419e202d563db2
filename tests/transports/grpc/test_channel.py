import time

import grpc
import pytest

from keras_split.client.retry import worth_another_try
from keras_split.errors import DataError
from keras_split.errors import TransportError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Done
from keras_split.protocol.reasons import METADATA_KEY
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import split_pb2_grpc
from keras_split.transports.grpc import diagnosis
from keras_split.transports.grpc.channel import metadata
from keras_split.transports.grpc.channel import open_channel
from keras_split.transports.grpc.channel import refusal
from tests import links
from tests.transports.scripted import Scripted


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("s3cr3t-of-alice-0\n")
    return path


@pytest.fixture
def running():
    host = Scripted(lambda m: Done())
    with links.listen(host).start() as running:
        yield running


def test_a_channel_is_open_when_it_is_returned(running):
    with open_channel(running.target) as channel:
        stub = split_pb2_grpc.SplitTrainingStub(channel)
        reply = stub.Exchange(
            pb.Envelope(goodbye=pb.Goodbye()), timeout=20, wait_for_ready=False
        )

    assert reply.WhichOneof("message") == "done"


@pytest.mark.parametrize("target", ["192.0.2.1:50051", "split.example:1"])
def test_no_token_travels_to_another_machine_for_all_to_read(
    target, token_file
):
    credentials = Credentials(token_file=token_file)

    with pytest.raises(DataError) as info:
        open_channel(target, credentials=credentials)

    assert str(info.value) == (
        f"Expected TLS on the way to {target}, for a token is sent there. "
        "Received: grpc://, which everybody between could read. Write "
        "grpcs:// and start the server with --tls-cert and --tls-key."
    )


def test_a_token_may_travel_inside_this_machine(running, token_file):
    credentials = Credentials(token_file=token_file)

    open_channel(running.target, credentials=credentials).close()


def test_metadata_carries_the_token(token_file):
    assert metadata(Credentials(token_file=token_file)) == (
        ("authorization", "Bearer s3cr3t-of-alice-0"),
    )
    assert metadata(Credentials()) == metadata(None) == ()


def test_wrong_certificates_are_not_waited_for(running, pki):
    began = time.monotonic()

    with pytest.raises(TransportError, match="does not speak TLS"):
        open_channel(
            running.target,
            secure=True,
            credentials=Credentials(pki.ca),
            timeout_s=60,
        )

    assert time.monotonic() - began < 30


def test_files_are_looked_at_before_anybody_is_called(pki):
    with pytest.raises(
        DataError, match=r"CA certificate in the file \S+nowhere"
    ):
        open_channel(
            "127.0.0.1:1", secure=True, credentials=Credentials("nowhere")
        )
    with pytest.raises(DataError, match="KEY_VALUES_MISMATCH"):
        open_channel(
            "127.0.0.1:1",
            secure=True,
            credentials=Credentials(pki.ca, pki.client, pki.server_key),
        )


class Failed(grpc.RpcError):
    def __init__(self, code, details="the server's words", reason=None):
        said = () if reason is None else ((METADATA_KEY, reason),)
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: said


@pytest.mark.parametrize(
    "code, reason",
    [
        (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        (grpc.StatusCode.PERMISSION_DENIED, "permission"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy"),
    ],
)
def test_a_call_that_was_not_taken_is_a_refusal(code, reason):
    error = refusal(Failed(code), "h:1")

    assert error.reason == reason
    assert str(error).startswith(
        f"Expected h:1 to take this client's call. Received: {code.name} "
        "(the server's words). "
    )


@pytest.mark.parametrize(
    "said, reason",
    [
        ({"reason": "busy"}, "busy"),
        ({"reason": "size"}, "size"),
        ({"reason": "made up"}, "busy"),
        ({"details": "Concurrent RPC limit exceeded!"}, "busy"),
        (
            {"details": "SERVER: Received message larger than max (9 vs. 4)"},
            "size",
        ),
    ],
)
def test_what_an_exhausted_resource_means_is_told_apart(said, reason):
    error = Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, **said)

    found = refusal(error, "h:1")

    assert found.reason == reason
    assert worth_another_try(found) == (reason == "busy")


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
def test_a_call_that_broke_is_none(code):
    assert refusal(Failed(code), "h:1") is None


# -- proxies ------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch):
    """Without any proxy, but for the given ones."""

    def environment(**given):
        for name in ("grpc_proxy", "https_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("no_grpc_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    return environment


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy"])
def test_a_proxy_that_is_asked_for_this_machine_is_named(
    running, environment, variable
):
    environment(**{variable: "http://ann:secret@127.0.0.1:9"})

    with pytest.raises(TransportError) as info:
        open_channel(running.target, timeout_s=0.5)

    assert str(info.value) == (
        f"Expected a keras_split server at {running.target}. Received: no "
        "connection within 0.5 s through the proxy '127.0.0.1:9', which "
        f"{variable} in the environment names. Set no_proxy=127.0.0.1 if the "
        "server is to be called directly; else see that it runs, and that "
        "the proxy lets one connect to it."
    )


def test_a_proxy_that_is_not_asked_is_not_named(running, environment):
    environment(http_proxy="http://127.0.0.1:9", no_proxy="x, 127.0.0.0/8")

    open_channel(running.target, timeout_s=5).close()


@pytest.mark.parametrize(
    "target, no_proxy, asked",
    [
        ("gpu.example:1", "", True),
        ("gpu.example:1", "other,.EXAMPLE", False),
        ("gpu.example:1", "example.org", True),
        ("10.0.0.2:1", "10.0.0.0/8", False),
        ("10.0.0.2:1", "11.0.0.0/8", True),
        ("[::1]:1", "::1", False),
    ],
)
def test_which_servers_a_proxy_is_asked_for(
    environment, target, no_proxy, asked
):
    environment(https_proxy="http://proxy:3128", no_proxy=no_proxy)

    assert (diagnosis.proxy_problem(target) is not None) == asked


def test_without_a_proxy_none_is_named(environment):
    environment(http_proxy="")

    assert diagnosis.proxy_problem("gpu.example:1") is None


def test_what_a_server_says_does_not_steer_the_terminal():
    class Answer(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.PERMISSION_DENIED

        def details(self):
            return "no\x1b]0;title\x07\r\n\x1b[2J" + "x" * 10_000

        def trailing_metadata(self):
            return ()

    text = str(refusal(Answer(), "host:1"))

    assert text.isprintable() and "no?]0;title?" in text
    assert len(text) < 3000

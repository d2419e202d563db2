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
    with pytest.raises(DataError, match="CA certificate in the file nowhere"):
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

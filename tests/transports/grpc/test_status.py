import socket
from concurrent import futures

import grpc
import pytest

from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.server.callbacks import label
from keras_split.transports.grpc.status import fetch
from tests import links


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture
def running(server):
    before = server.half.weights()
    with server.serve(port=0) as running:
        yield running
    server.half.set_weights(before)


def test_it_tells_what_a_session_did(server, running):
    with links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        for step in range(2):
            links.take_step(wire.exchange, session, server.contract, step)

        status = fetch(f"grpc://{running.target}")
        sent, received = wire.uplink_bytes, wire.downlink_bytes

    (row,) = status.sessions
    assert status.fingerprint == server.contract.fingerprint
    assert status.cut == tuple(server.contract.cut)
    assert (status.steps, row.steps) == (2, 2)
    assert row.label == label(session) and row.connected
    assert row.peer.startswith("ipv4:127.0.0.1:")
    assert row.uplink_bytes == pytest.approx(sent, rel=0.01)
    # The last reply is counted once it is on its way.
    assert received / 2 < row.downlink_bytes < received * 1.01
    assert not status.draining


def test_it_tells_no_name_with_which_a_session_could_be_taken(server, running):
    with links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session

        assert session not in repr(fetch(f"grpc://{running.target}"))


def test_it_counts_what_was_refused(server, running):
    with links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        late = Forward(session, 7, links.smashed(server.contract))
        for _ in range(3):
            with pytest.raises(RefusedError):
                wire.exchange(late)

        assert fetch(f"grpc://{running.target}").refusals == {"order": 3}


def test_a_session_that_said_goodbye_is_gone_and_its_steps_stay(
    server, running
):
    with links.wire(running.target) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        links.take_step(wire.exchange, session, server.contract)
        wire.exchange(Goodbye(session))

        status = fetch(f"grpc://{running.target}")

    assert status.sessions == ()
    assert status.steps == 1


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "http://h:1", "grpc://h", "grpc://:1", ""]
)
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(ValueError, match="Expected an address such as"):
        fetch(address)


def test_a_server_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    with pytest.raises(TransportError, match=f"127.0.0.1:{port}"):
        fetch(f"grpc://127.0.0.1:{port}", timeout_s=0.5)


def test_a_server_that_tells_nothing_is_an_error_that_says_so(server):
    with links.listen(server.host()).start() as mute:
        with pytest.raises(TransportError, match="UNIMPLEMENTED"):
            fetch(f"grpc://{mute.target}")


def test_a_token_travels_with_the_question(tmp_path):
    seen = []

    def status(request, context):
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")

    token = tmp_path / "token"
    token.write_text("letmein\n")
    stub = _stub(status)
    try:
        with pytest.raises(RefusedError, match="UNAUTHENTICATED") as caught:
            fetch(stub.address, credentials=Credentials(token_file=token))
    finally:
        stub.stop(0).wait()

    assert seen == ["Bearer letmein"]
    assert "letmein" not in str(caught.value)


def _stub(status):
    """A server with the one method."""
    made = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(status)
    name = "keras_split.v1.SplitTraining"
    made.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, {"Status": handler})]
    )
    made.address = f"grpc://127.0.0.1:{made.add_insecure_port('127.0.0.1:0')}"
    made.start()
    return made

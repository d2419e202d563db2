import contextlib
import logging
import shutil
import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha import reflection_pb2_grpc

from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import split_pb2_grpc
from keras_split.server import fresh_files
from keras_split.server.callbacks import ServerCallback
from keras_split.server.security import Security
from keras_split_cli import authority
from tests import links

ALICE, BOB = "token-of-alice-0123", "token-of-bob-456789"
SERVICE = "keras_split.v1.SplitTraining"


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture
def serve(server, pki):
    """Serves with what `Security` is given; `tls` for the usual files."""
    with contextlib.ExitStack() as stack:

        def serve(tls=False, **options):
            if tls:
                options = {
                    "tls_cert": pki.server,
                    "tls_key": pki.server_key,
                } | options
            return stack.enter_context(
                server.serve(
                    port=0,
                    listeners=options.pop("listeners", ()),
                    security=Security(**options),
                )
            )

        yield serve


@pytest.fixture
def tokens(tmp_path):
    """Who is let in, and a file with the token of each."""
    path = tmp_path / "tokens.txt"
    path.write_text(f"# phones\nalice {ALICE}\n\nbob {BOB}\n")
    path.chmod(0o600)
    for name, token in (("alice", ALICE), ("bob", BOB)):
        (tmp_path / name).write_text(token + "\n")
    return path


def secure(running, pki, **options):
    """A transport with TLS that knows the server's CA."""
    files = {"ca_file": pki.ca} | options
    return links.wire(
        running.target,
        secure=True,
        credentials=Credentials(**files),
        connect_timeout_s=3,
        reply_timeout_s=30,
    )


def plain(running, token_file=None):
    return links.wire(
        running.target,
        credentials=Credentials(token_file=token_file),
        connect_timeout_s=3,
        reply_timeout_s=30,
    )


def tells_nothing(text, server):
    """Whether a text says nothing about the model."""
    contract = server.contract
    secrets = [contract.fingerprint[:6], *contract.cut]
    secrets += [spec.name for spec in contract.smashed + contract.features]
    return not any(secret in text for secret in secrets)


# -- TLS ----------------------------------------------------------------------


def test_a_session_over_tls(server, serve, pki):
    running = serve(tls=True)

    with secure(running, pki) as wire:
        session = wire.exchange(links.hello(server.contract)).session
        features, _ = links.take_step(wire.exchange, session, server.contract)

    assert features.step == 0


def test_the_name_in_the_certificate_may_be_said_apart(
    server, serve, pki, tmp_path
):
    ca = authority.make_authority(1)
    write(tmp_path, "ca", ca)
    write(tmp_path, "own", authority.issue(ca, "s", 1, ("split.example",)))
    running = serve(
        tls_cert=tmp_path / "own.pem", tls_key=tmp_path / "own-key.pem"
    )

    with pytest.raises(TransportError, match="mismatch"):
        with secure(running, pki, ca_file=tmp_path / "ca.pem"):
            pass
    with secure(
        running,
        pki,
        ca_file=tmp_path / "ca.pem",
        server_name="split.example",
    ) as wire:
        welcome = wire.exchange(links.hello(server.contract))

    assert isinstance(welcome, Welcome)


def write(folder, name, pair):
    for file, content in authority.pem(name, pair).items():
        (folder / file).write_bytes(content)


def test_a_certificate_of_a_foreign_ca_is_not_trusted(serve, pki):
    running = serve(tls=True)

    with pytest.raises(TransportError) as info:
        with secure(running, pki, ca_file=pki.foreign.ca):
            pass

    assert str(info.value).startswith(
        f"Expected a keras_split server at {running.target}. Received: a "
        "certificate that cannot be trusted ("
    )
    assert "Give the certificate of the server's CA (--tls-ca)" in str(
        info.value
    )


def test_an_expired_certificate_is_not_trusted(serve, pki, tmp_path):
    ca = authority.make_authority(1)
    write(tmp_path, "ca", ca)
    write(tmp_path, "old", authority.issue(ca, "s", 0, ("127.0.0.1",)))
    running = serve(
        tls_cert=tmp_path / "old.pem", tls_key=tmp_path / "old-key.pem"
    )

    with pytest.raises(TransportError, match="certificate has expired"):
        with secure(running, pki, ca_file=tmp_path / "ca.pem"):
            pass


def test_plaintext_to_a_tls_port_is_refused_and_told_so(server, serve):
    running = serve(tls=True)

    with pytest.raises(TransportError) as info:
        with plain(running):
            pass

    assert str(info.value) == (
        f"Expected a keras_split server at {running.target}. Received: a "
        "server that speaks TLS. Write grpcs:// instead of grpc://, and give "
        "the certificate of its CA (--tls-ca)."
    )


def test_a_plaintext_call_to_a_tls_port_ends_as_unavailable(server, serve):
    running = serve(tls=True)

    with grpc.insecure_channel(running.target) as channel:
        with pytest.raises(grpc.RpcError) as info:
            call(channel)

    assert info.value.code() is grpc.StatusCode.UNAVAILABLE
    assert tells_nothing(info.value.details(), server)


def test_tls_to_a_plaintext_port_is_told_so(serve, pki):
    running = serve()

    with pytest.raises(TransportError) as info:
        with secure(running, pki):
            pass

    assert "Received: a server that does not speak TLS." in str(info.value)


def call(channel, **options):
    """One unary call, as a client in another language makes it."""
    stub = split_pb2_grpc.SplitTrainingStub(channel)
    envelope = pb.Envelope(goodbye=pb.Goodbye(session="s"))
    return stub.Exchange(envelope, timeout=20, **options)


# -- mutual TLS ---------------------------------------------------------------


def test_a_client_with_a_certificate_is_known_by_its_name(server, serve, pki):
    heard = Heard()
    running = serve(tls=True, client_ca=pki.ca, listeners=[heard])

    with secure(
        running, pki, cert_file=pki.client, key_file=pki.client_key
    ) as wire:
        wire.exchange(links.hello(server.contract))

    assert heard.clients == ["alice"]


class Heard(ServerCallback):
    def __init__(self):
        self.clients = []
        self.refusals = []

    def opened(self, session, caller):
        self.clients.append(caller.client)

    def refused(self, session, caller, reason):
        self.refusals.append(reason)


@pytest.mark.parametrize("with_certificate", [False, True])
def test_a_client_without_a_certificate_of_the_ca_gets_no_connection(
    server, serve, pki, with_certificate
):
    running = serve(tls=True, client_ca=pki.ca)
    shown = {}
    if with_certificate:
        shown = {
            "cert_file": pki.foreign.client,
            "key_file": pki.foreign.client_key,
        }

    with pytest.raises(TransportError) as info:
        with secure(running, pki, **shown):
            pass

    assert "Give one that the server's CA has signed" in str(info.value)
    assert tells_nothing(str(info.value), server)


def test_a_call_without_a_certificate_ends_as_unavailable(server, serve, pki):
    running = serve(tls=True, client_ca=pki.ca)
    trust = grpc.ssl_channel_credentials(pki.ca.read_bytes())

    with grpc.secure_channel(running.target, trust) as channel:
        with pytest.raises(grpc.RpcError) as info:
            call(channel)

    assert info.value.code() is grpc.StatusCode.UNAVAILABLE
    assert tells_nothing(info.value.details(), server)


# -- tokens -------------------------------------------------------------------


def test_a_client_with_a_token_is_known_by_its_name(server, serve, tokens):
    heard = Heard()
    running = serve(tokens=tokens, listeners=[heard])

    with plain(running, tokens.parent / "bob") as wire:
        wire.exchange(links.hello(server.contract))

    assert heard.clients == ["bob"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer ",
        "Bearer wrong-token-01234567",
        f"Bearer {ALICE}x",
        f"Basic {ALICE}",
        ALICE,
    ],
)
@pytest.mark.parametrize("method", ["Train", "Exchange", "Status", "Other"])
def test_without_a_known_token_no_method_answers(
    server, serve, tokens, authorization, method
):
    heard = Heard()
    running = serve(tokens=tokens, listeners=[heard])
    metadata = [("authorization", authorization)] if authorization else []

    with grpc.insecure_channel(running.target) as channel:
        asked = channel.stream_stream(f"/{SERVICE}/{method}")
        with pytest.raises(grpc.RpcError) as info:
            list(asked(iter([b""]), metadata=metadata, timeout=20))

    assert info.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert info.value.details() == (
        "Expected a token that this server knows. Received: another, or none."
    )
    assert heard.refusals == ["unauthenticated"]


def test_a_wrong_token_is_an_error_that_does_not_show_it(
    server, serve, tokens, tmp_path
):
    running = serve(tokens=tokens)
    (tmp_path / "wrong").write_text("some-other-token-00")

    with plain(running, tmp_path / "wrong") as wire:
        with pytest.raises(RefusedError) as info:
            wire.exchange(links.hello(server.contract))

    assert info.value.reason == "unauthenticated"
    assert "UNAUTHENTICATED" in str(info.value)
    assert "some-other" not in str(info.value)
    assert tells_nothing(str(info.value), server)


def test_reflection_asks_for_the_token(serve, tokens):
    running = serve(tokens=tokens)
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    with grpc.insecure_channel(running.target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        with pytest.raises(grpc.RpcError) as info:
            list(stub.ServerReflectionInfo(iter([request]), timeout=20))
        [reply] = stub.ServerReflectionInfo(
            iter([request]),
            metadata=[("authorization", f"Bearer {ALICE}")],
            timeout=20,
        )

    assert info.value.code() is grpc.StatusCode.UNAUTHENTICATED
    names = {s.name for s in reply.list_services_response.service}
    assert SERVICE in names


def test_another_client_cannot_go_on_with_a_session(server, serve, tokens):
    running = serve(tokens=tokens)
    before = links.state(server)

    with plain(running, tokens.parent / "alice") as wire:
        session = wire.exchange(links.hello(server.contract)).session
        stolen = [
            Forward(session, 0, links.smashed(server.contract)),
            Hello(server.contract, links.SGD, session=session),
            Goodbye(session),
        ]
        for message in stolen:
            with plain(running, tokens.parent / "bob") as other:
                with pytest.raises(RefusedError) as info:
                    other.exchange(message)
            assert info.value.reason == "permission"
            assert "PERMISSION_DENIED" in str(info.value)
            assert tells_nothing(str(info.value), server)
        kept = wire.exchange(Forward(session, 0, stolen[0].tensors))

    assert kept.step == 0
    assert links.same(links.state(server), before)


def test_a_unary_call_for_anothers_session_is_denied(server, serve, tokens):
    running = serve(tokens=tokens)

    with plain(running, tokens.parent / "alice") as wire:
        session = wire.exchange(links.hello(server.contract)).session
        with grpc.insecure_channel(running.target) as channel:
            stub = split_pb2_grpc.SplitTrainingStub(channel)
            with pytest.raises(grpc.RpcError) as info:
                stub.Exchange(
                    pb.Envelope(goodbye=pb.Goodbye(session=session)),
                    metadata=[("authorization", f"Bearer {BOB}")],
                    timeout=20,
                )

    assert info.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_tokens_stay_out_of_the_log(server, serve, tokens, caplog):
    caplog.set_level(logging.DEBUG)
    running = serve(tokens=tokens)

    with plain(running, tokens.parent / "alice") as wire:
        wire.exchange(links.hello(server.contract))
        with pytest.raises(RefusedError):
            wire.exchange(Goodbye("nobody"))

    assert ALICE not in caplog.text


# -- what others bring --------------------------------------------------------


@pytest.mark.parametrize("service", ["", SERVICE])
def test_the_stock_health_client_needs_no_token(serve, pki, tokens, service):
    running = serve(tls=True, tokens=tokens)
    trust = grpc.ssl_channel_credentials(pki.ca.read_bytes())

    with grpc.secure_channel(running.target, trust) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=service)
        reply = stub.Check(request, timeout=20)

    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_a_health_watch_hears_that_the_server_stops(serve):
    running = serve()
    with grpc.insecure_channel(running.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        first = next(watch).status

        running.stop()
        second = next(watch).status

    kinds = health_pb2.HealthCheckResponse
    assert (first, second) == (kinds.SERVING, kinds.NOT_SERVING)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
@pytest.mark.parametrize(
    "trusted, verdict",
    [
        (True, "Verify return code: 0 (ok)"),
        (False, "Verify return code: 21 (unable to verify the first cert"),
    ],
)
def test_openssl_shakes_hands(serve, pki, trusted, verdict):
    running = serve(tls=True)
    ca = pki.ca if trusted else pki.foreign.ca

    result = subprocess.run(
        ["openssl", "s_client", "-connect", running.target]
        + ["-alpn", "h2", "-CAfile", str(ca), "-verify_ip", "127.0.0.1"],
        input=b"",
        capture_output=True,
        timeout=30,
    )

    said = result.stdout.decode(errors="replace")
    assert verdict in said
    assert "ALPN protocol: h2" in said
    assert "TLSv1.3" in said


# -- where to listen ----------------------------------------------------------


def test_other_machines_are_not_served_without_tls(server):
    with pytest.raises(TransportError) as info:
        server.serve(port=0, address="0.0.0.0")

    assert str(info.value).startswith(
        "Expected TLS to listen on 0.0.0.0, which other machines can reach. "
        "Received: no certificate"
    )
    assert "--insecure" in str(info.value)


def test_insecure_serves_other_machines_and_warns(server, caplog):
    with server.serve(port=0, address="0.0.0.0", insecure=True):
        pass

    assert "listening on 0.0.0.0 without TLS" in caplog.text


def test_tls_serves_other_machines(serve, server, pki):
    security = Security(pki.server, pki.server_key)

    with server.serve(port=0, address="0.0.0.0", security=security) as running:
        target = f"127.0.0.1:{running.port}"
        with links.wire(
            target, secure=True, credentials=Credentials(pki.ca)
        ) as wire:
            welcome = wire.exchange(links.hello(server.contract))

    assert isinstance(welcome, Welcome)


# -- changed without a restart ------------------------------------------------


def test_a_token_that_is_taken_back_ends_its_stream_and_no_other(
    server, serve, tokens, monkeypatch
):
    monkeypatch.setattr(fresh_files, "_LOOK_EVERY_S", 0.1)
    heard = Heard()
    running = serve(tokens=tokens, listeners=[heard])

    with (
        plain(running, tokens.parent / "alice") as alice,
        plain(running, tokens.parent / "bob") as bob,
    ):
        for wire in (alice, bob):
            wire.exchange(links.hello(server.contract))
        tokens.write_text(f"bob {BOB}\n")

        with pytest.raises(grpc.RpcError) as info:
            next(iter(alice._stream))  # although it says nothing
        with pytest.raises(RefusedError, match="UNAUTHENTICATED"):
            with plain(running, tokens.parent / "alice") as again:
                again.exchange(links.hello(server.contract))
        welcome = bob.exchange(links.hello(server.contract))

    assert info.value.code() is grpc.StatusCode.CANCELLED
    assert isinstance(welcome, Welcome)
    assert heard.refusals == ["unauthenticated"] * 2


def test_a_new_token_for_a_name_ends_the_stream_of_the_old_one(
    server, serve, tokens
):
    running = serve(tokens=tokens)

    with plain(running, tokens.parent / "alice") as wire:
        wire.exchange(links.hello(server.contract))
        tokens.write_text("alice another-token-of-alice\n")
        running.reload()

        with pytest.raises(grpc.RpcError) as info:
            next(iter(wire._stream))  # although it says nothing

    assert info.value.code() is grpc.StatusCode.CANCELLED


def test_a_renewed_certificate_is_shown_and_connections_go_on(
    server, serve, pki, tmp_path, monkeypatch
):
    monkeypatch.setattr(fresh_files, "_LOOK_EVERY_S", 0.0)
    old, new = authority.make_authority(1), authority.make_authority(1)
    write(tmp_path, "ca", old)
    write(tmp_path, "own", authority.issue(old, "s", 1, ("127.0.0.1",)))
    running = serve(
        tls_cert=tmp_path / "own.pem", tls_key=tmp_path / "own-key.pem"
    )
    contract = server.contract

    with secure(running, pki, ca_file=tmp_path / "ca.pem") as before:
        before.exchange(links.hello(contract))
        write(tmp_path, "new-ca", new)
        write(tmp_path, "own", authority.issue(new, "s", 1, ("127.0.0.1",)))

        with secure(running, pki, ca_file=tmp_path / "new-ca.pem") as after:
            welcomes = [
                w.exchange(links.hello(contract)) for w in (before, after)
            ]
        with pytest.raises(TransportError, match="cannot be trusted"):
            with secure(running, pki, ca_file=tmp_path / "ca.pem"):
                pass

    assert all(isinstance(welcome, Welcome) for welcome in welcomes)


def test_a_certificate_without_its_key_changes_nothing(
    server, serve, pki, tmp_path, caplog
):
    for name in ("server", "server-key"):
        shutil.copy(pki.folder / f"{name}.pem", tmp_path / f"{name}.pem")
    running = serve(
        tls_cert=tmp_path / "server.pem", tls_key=tmp_path / "server-key.pem"
    )
    shutil.copy(pki.foreign.server, tmp_path / "server.pem")

    running.reload()
    with secure(running, pki) as wire:
        welcome = wire.exchange(links.hello(server.contract))

    assert isinstance(welcome, Welcome)
    assert "the certificates stay as they were: Expected PEM" in caplog.text

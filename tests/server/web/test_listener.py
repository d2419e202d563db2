"""What is slow, large or encrypted on the port for browsers."""

import contextlib
import http.client
import shutil
import socket
import ssl
import threading
import time

import pytest

from keras_split.errors import TransportError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Infer
from keras_split.server.security import Security
from keras_split.server.web import calls
from keras_split.server.web import connection
from keras_split.server.web import listener
from keras_split.server.web.server import WebServer
from keras_split.transports import encode
from tests.server.web.browsers import ALICE
from tests.server.web.browsers import RAW
from tests.server.web.browsers import Browser
from tests.server.web.browsers import endpoint

BYE = Goodbye("mine")
HEAD = (
    f"POST {calls.EXCHANGE} HTTP/1.1\r\nHost: x\r\n"
    f"Authorization: Bearer {ALICE}\r\nContent-Type: {calls.KIND}\r\n"
)


@pytest.fixture
def serve(tmp_path):
    """Starts servers, and stops them in the end."""
    with contextlib.ExitStack() as stack:

        def start(name="127.0.0.1", **options):
            made = endpoint(tmp_path, **options)
            stack.callback(made.close)
            return WebServer(made, name=name).start()

        yield start


def dial(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def closes(dialed):
    """Seconds until the other side has closed, and what it said."""
    began, said = time.monotonic(), b""
    with contextlib.suppress(ConnectionError):
        while piece := dialed.recv(1 << 16):
            said += piece
    return time.monotonic() - began, said


@pytest.mark.parametrize("start", [b"", b"GET / HT", HEAD.encode()])
def test_a_head_that_does_not_come_is_not_awaited(start, serve, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    web = serve()
    with dial(web.port) as slow:
        slow.sendall(start)
        seconds, said = closes(slow)

    assert (seconds < 5, said) == (True, b"")
    assert Browser(web.port, ALICE).exchange(BYE) == Done()


def test_bytes_now_and_then_do_not_help(serve, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    web = serve()
    began = time.monotonic()
    with dial(web.port) as slow, pytest.raises(ConnectionError):
        slow.sendall(b"GET / HTTP/1.1\r\n")
        while time.monotonic() - began < 20:
            slow.sendall(b"a: b\r\n")
            time.sleep(0.05)

    assert time.monotonic() - began < 5


def test_a_head_that_is_long_is_refused(serve):
    with dial(serve().port) as dialed:
        dialed.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000)
        _, said = closes(dialed)

    assert said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"")


def test_a_body_that_does_not_come_is_told_so(serve):
    web = serve(message_timeout_s=0.3)
    with dial(web.port) as slow:
        slow.sendall(f"{HEAD}Content-Length: 100\r\n\r\nabc".encode())
        seconds, said = closes(slow)

    assert seconds < 5
    assert said.startswith(b"HTTP/1.1 408") and b"deadline_exceeded" in said
    assert web.endpoint.service.callers == []


@pytest.mark.parametrize("token", ["another-token-0123456", ALICE])
def test_nothing_of_a_body_is_read_before_it_is_known_whose_it_is(token, serve):
    """And how long it is: the reply comes first, and little was taken in."""
    web = serve()
    length = 1 << 30
    head = HEAD.replace(ALICE, token)
    with dial(web.port) as dialed:
        dialed.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        reply = http.client.HTTPResponse(dialed)
        reply.begin()
        status = reply.status
        reply.close()

    assert status == (413 if token == ALICE else 401)


def test_a_body_is_read_as_fast_as_it_is_wanted(serve):
    """A call that waits does not have its client's next one read."""
    web = serve()
    raw = encode(Infer("mine", []), RAW)
    with dial(web.port) as dialed:
        dialed.sendall(f"{HEAD}Content-Length: {len(raw)}\r\n\r\n".encode())
        dialed.sendall(raw)
        assert web.endpoint.service.asked.wait(10)
        dialed.settimeout(1.0)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += dialed.send(bytes(1 << 20))
        web.endpoint.service.answer.set()

    assert sent < 32 << 20


def test_who_goes_away_is_noticed_while_a_reply_is_computed(serve):
    web = serve(max_streams=1)
    raw = encode(Infer("mine", []), RAW)
    with dial(web.port) as dialed:
        dialed.sendall(f"{HEAD}Content-Length: {len(raw)}\r\n\r\n".encode())
        dialed.sendall(raw)
        assert web.endpoint.service.asked.wait(10)
    busy = Browser(web.port, ALICE).exchange(BYE)
    web.endpoint.service.answer.set()
    until = time.monotonic() + 10
    while (reply := Browser(web.port, ALICE).exchange(BYE)) != Done():
        assert time.monotonic() < until
        time.sleep(0.02)

    assert busy == (503, "unavailable", "busy")
    assert reply == Done()


def test_strangers_cannot_crowd_out(serve, monkeypatch):
    """Those that say nothing end each other; who is let in stays."""
    monkeypatch.setattr(listener, "_PLACES", 8)
    web = serve()
    answer = []
    waiting = threading.Thread(
        target=lambda: answer.append(
            Browser(web.port, ALICE).exchange(Infer("mine", []))
        )
    )
    waiting.start()
    assert web.endpoint.service.asked.wait(10)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(dial(web.port)) for _ in range(40)]
        good = Browser(web.port, ALICE).exchange(BYE)
        ended = closes(silent[0])
        web.endpoint.service.answer.set()
        waiting.join(20)

    assert (good, answer) == (Done(), [Done()])
    assert ended[0] < 5


def test_a_connection_serves_many_calls(serve):
    web = serve()
    raw = encode(BYE, RAW)
    kept = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    headers = {"authorization": f"Bearer {ALICE}", "content-type": calls.KIND}
    for _ in range(3):
        kept.request("POST", calls.EXCHANGE, raw, headers)
        assert kept.getresponse().read()
        socket_used = kept.sock
    kept.close()

    assert socket_used is not None


def test_it_ends_with_its_endpoint(tmp_path):
    made = endpoint(tmp_path)
    web = WebServer(made).start()
    made.close()

    with pytest.raises(OSError):
        dial(web.port)


def test_a_port_that_is_taken_is_told(serve, tmp_path):
    web = serve()
    other = endpoint(tmp_path)

    with pytest.raises(TransportError, match="for browsers.*Choose another"):
        WebServer(other, web.port)
    other.close()


def test_beyond_this_machine_it_wants_tls(tmp_path):
    made = endpoint(tmp_path, address="0.0.0.0")

    with pytest.raises(TransportError, match="Expected TLS"):
        WebServer(made)
    made.close()


def test_tls_with_the_certificates_of_the_other_port(serve, pki, tmp_path):
    for name in ("server.pem", "server-key.pem"):
        shutil.copy(pki.folder / name, tmp_path / name)
    security = Security(tmp_path / "server.pem", tmp_path / "server-key.pem")
    web = serve("localhost", security=security)
    browser = Browser(web.port, ca=pki.ca)

    assert browser.exchange(BYE) == Done()
    assert web.url("abc") == f"https://localhost:{web.port}/#join=abc"
    with pytest.raises(ssl.SSLError):
        Browser(web.port, ca=pki.foreign.ca).exchange(BYE)
    with dial(web.port) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert closes(plain)[1] == b""
    # Another certificate, and nobody says so but the files.
    for name in ("server.pem", "server-key.pem"):
        shutil.copy(pki.foreign.folder / name, tmp_path / name)
    web.reload()
    assert Browser(web.port, ca=pki.foreign.ca).exchange(BYE) == Done()


def test_a_handshake_that_does_not_come_is_not_awaited(serve, pki, monkeypatch):
    monkeypatch.setattr(listener, "_HANDSHAKE_S", 0.3)
    web = serve("localhost", security=Security(pki.server, pki.server_key))
    with dial(web.port) as slow:
        slow.sendall(b"\x16\x03\x01")

        assert closes(slow)[0] < 5


def test_a_client_is_who_its_certificate_says(serve, pki):
    security = Security(pki.server, pki.server_key, pki.ca)
    web = serve("localhost", security=security)
    context = ssl.create_default_context(cafile=str(pki.ca))
    stranger = Browser(web.port, ca=pki.ca)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        stranger.exchange(BYE)
    context.load_cert_chain(str(pki.client), str(pki.client_key))
    alice = Browser(web.port, ca=pki.ca)
    alice._tls = context

    assert alice.exchange(BYE) == Done()
    assert web.endpoint.service.callers[0].client == "alice"

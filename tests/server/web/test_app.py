"""Who gets what from the port for browsers, and with which status."""

import gzip
import json
import threading

import pytest

from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Infer
from keras_split.server.web import calls
from keras_split.server.web.files import ClientFiles
from keras_split.server.web.server import WebServer
from tests.server.web.browsers import ALICE
from tests.server.web.browsers import Browser
from tests.server.web.browsers import endpoint

BYE = Goodbye("mine")
CLIENT = ClientFiles(b"a flatbuffer", b'{"format": 1}')


@pytest.fixture
def web(tmp_path):
    """One that asks for tokens, with a page, a client and an operator."""
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<p>the page")
    (page / "dashboard.html").write_text("<p>the dashboard")
    (page / "assets" / "main-1a2b.js").write_text("go()")
    (page / "assets" / "main-1a2b.js.gz").write_bytes(gzip.compress(b"go()"))
    ended = endpoint(tmp_path)
    with WebServer(ended, client=CLIENT, page=page).start() as server:
        yield server
    ended.close()


@pytest.fixture
def alice(web):
    return Browser(web.port, ALICE)


@pytest.fixture
def stranger(web):
    return Browser(web.port)


@pytest.fixture
def operator(web, tmp_path):
    return Browser(web.port, (tmp_path / "operator").read_text().strip())


def test_a_message_is_answered(alice, web):
    assert alice.exchange(BYE) == Done()
    [caller] = web.endpoint.service.callers
    assert (caller.client, caller.peer[:15]) == ("alice", "ipv4:127.0.0.1:")


def test_one_that_waits_for_others_is_answered_later(alice):
    assert alice.exchange(Goodbye("later")) == Done()


@pytest.mark.parametrize("token", ["another-token-0123456", "", ALICE[:-1]])
def test_other_tokens_are_refused(token, web):
    refused = Browser(web.port, token).exchange(BYE)

    assert refused == (401, "unauthenticated", "unauthenticated")
    assert web.endpoint.service.events.reasons == ["unauthenticated"]


def test_what_is_another_clients_is_refused(alice):
    refused = alice.exchange(Goodbye("other"))

    assert refused == (403, "permission_denied", "permission")


def test_of_what_nobody_expected_the_caller_learns_the_kind(alice, caplog):
    status, code, _ = alice.exchange(Goodbye("broken"))

    assert (status, code) == (500, "internal")
    assert "a secret" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", calls.EXCHANGE, {"content_type": "application/json"}, 415),
        ("POST", calls.EXCHANGE, {"content_type": "application/grpc"}, 415),
        ("POST", calls.EXCHANGE, {"content_type": "text/plain"}, 415),
        ("POST", calls.EXCHANGE, {}, 415),
        (
            *("POST", calls.EXCHANGE),
            *({"content_type": calls.KIND, "content_encoding": "gzip"}, 415),
        ),
        ("GET", calls.EXCHANGE, {}, 405),
        ("OPTIONS", calls.EXCHANGE, {"origin": "https://a.example"}, 403),
        ("OPTIONS", calls.EXCHANGE, {}, 405),
        ("PUT", "/", {}, 405),
        ("DELETE", "/client.json", {}, 405),
        ("GET", "/join", {}, 405),
        ("GET", "/assets", {}, 404),
        ("GET", "/../tokens", {}, 404),
        ("GET", "/assets/%2e%2e/%2e%2e/tokens", {}, 404),
        ("GET", "//etc/passwd", {}, 404),
        ("POST", "/keras_split.v1.SplitTraining/Train", {}, 404),
    ],
)
def test_what_is_no_request_of_ours_is_told_so(
    method, path, headers, status, alice
):
    received, found, body = alice.ask(method, path, b"{}", **headers)

    assert received == status
    assert "Expected" in json.loads(body)["message"]
    assert "access-control-allow-origin" not in found


def test_headers_are_bytes_that_need_not_be_text(alice):
    name = "l\xd7cal".encode("latin-1")

    assert alice.exchange(BYE, host=name, user_agent=name) == Done()


@pytest.mark.parametrize(
    "name", ["connect_timeout_ms", "connect_protocol_version"]
)
def test_what_connect_does_not_know_is_refused(name, alice):
    refused = alice.exchange(BYE, **{name: b"1\xd7"})

    assert refused == (400, "invalid_argument", None)


def test_a_deadline_of_the_client_ends_its_call(alice, web):
    threading.Timer(0.3, web.endpoint.service.answer.set).start()

    refused = alice.exchange(Infer("mine", []), connect_timeout_ms=100)

    assert refused == (504, "deadline_exceeded", None)


def chunks(*pieces):
    parts = [b"%x\r\n%b\r\n" % (len(each), each) for each in pieces]
    return b"".join([*parts, b"0\r\n\r\n"])


def test_a_body_without_a_length_is_refused(alice):
    status, _, _ = alice.ask(
        *("POST", calls.EXCHANGE, iter([chunks(b"a", b"b")])),
        content_type=calls.KIND,
        transfer_encoding="chunked",
    )

    assert status == 411


@pytest.mark.parametrize(
    ("path", "kind"),
    [(calls.EXCHANGE, calls.KIND), ("/join", "application/json")],
)
def test_a_length_beside_chunks_is_none(path, kind, alice):
    """They count, so a stranger could send as many as fit the memory."""
    body = chunks(*[b" " * 60_000] * 10, b"{}")

    status, _, _ = alice.ask(
        *("POST", path, body),
        content_type=kind,
        content_length=2,
        transfer_encoding="chunked",
    )

    assert status == 411


@pytest.mark.parametrize("origin", ["https://a.example", "null", ""])
@pytest.mark.parametrize("path", ["/", "/client.json", "/join"])
def test_other_sites_get_nothing(origin, path, alice):
    status, found, _ = alice.get(path, origin=origin)

    assert status == 403
    assert found["cross-origin-resource-policy"] == "same-origin"


def test_the_servers_own_page_may_ask(alice):
    origin = f"http://127.0.0.1:{alice.port}"

    assert alice.exchange(BYE, origin=origin) == Done()
    assert alice.get("/", origin=origin)[0] == 200


def test_messages_that_are_none_are_told_so(alice):
    for raw in (b"x", b"\xff" * 100, b""):
        assert alice.exchange(raw).reason in ("unreadable", "protocol")


def test_a_message_that_is_too_long_is_refused_unread(alice, web):
    refused = alice.exchange(bytes(web.endpoint.longest_bytes + 1))

    assert refused == (413, "resource_exhausted", "size")
    assert web.endpoint.service.callers == []


def test_the_page_is_everybodys_and_the_client_is_not(stranger, alice):
    assert stranger.get("/")[2] == b"<p>the page"
    assert stranger.get("/dashboard")[2] == b"<p>the dashboard"
    assert stranger.get("/assets/main-1a2b.js")[2] == b"go()"
    assert stranger.get("/client.tflite")[0] == 401
    assert stranger.get("/client.json")[0] == 401
    assert alice.get("/client.tflite")[2] == CLIENT.tflite
    assert alice.get("/client.json")[2] == CLIENT.about


def test_nothing_is_loaded_from_elsewhere_or_framed(stranger):
    for path in ("/", "/nothing-here"):
        found = stranger.get(path)[1]

        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy and "http" not in policy
        assert found["cross-origin-opener-policy"] == "same-origin"
        assert found["cross-origin-embedder-policy"] == "require-corp"
        assert found["x-content-type-options"] == "nosniff"


def test_a_browser_keeps_what_has_a_hash_and_asks_for_the_rest(stranger):
    assert (
        "immutable" in stranger.get("/assets/main-1a2b.js")[1]["cache-control"]
    )
    _, found, _ = stranger.get("/")
    status, again, body = stranger.get("/", if_none_match=found["etag"])

    assert found["cache-control"] == "no-cache"
    assert (status, body, again["etag"]) == (304, b"", found["etag"])


def test_what_was_packed_goes_so_to_who_takes_it(stranger):
    path = "/assets/main-1a2b.js"
    _, packed, body = stranger.get(path, accept_encoding="br, gzip")
    _, whole, _ = stranger.get(path, accept_encoding="br, gzip;q=0")

    assert (packed["content-encoding"], gzip.decompress(body)) == (
        "gzip",
        b"go()",
    )
    assert "content-encoding" not in whole
    assert packed["vary"] == whole["vary"] == "accept-encoding"
    assert stranger.get(path + ".gz")[0] == 404


def test_a_code_joins_one_phone(operator, stranger, web):
    _, invitation = operator.post("/invite", {})
    status, joined = stranger.post("/join", {"code": invitation["code"]})
    again, _ = stranger.post("/join", {"code": invitation["code"]})
    phone = Browser(web.port, joined["token"])

    assert invitation["url"] == web.url(invitation["code"])
    assert (status, joined["name"], again) == (200, "web-1", 410)
    assert phone.exchange(BYE) == Done()
    assert phone.get("/client.tflite")[0] == 200


def test_codes_of_nobody_are_refused_and_told(stranger, web):
    for config in ({"code": "guessed"}, {}, {"code": ["x"]}):
        assert stranger.post("/join", config)[0] == 401

    assert web.endpoint.service.events.reasons == ["unauthenticated"] * 3


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 4000, b"\xff"])
def test_what_is_no_object_is_refused(body, stranger):
    status, _, _ = stranger.ask(
        "POST", "/join", body, content_type="application/json"
    )

    assert status == 400


def test_a_phone_is_no_operator(alice, stranger):
    status_call = (calls.STATUS, b"")
    for path, body in (("/invite", b"{}"), ("/revoke", b"{}"), status_call):
        kind = calls.KIND if path == calls.STATUS else "application/json"
        assert alice.ask("POST", path, body, content_type=kind)[0] == 403
        assert stranger.ask("POST", path, body, content_type=kind)[0] == 401


def test_the_operator_is_no_phone(operator):
    assert operator.exchange(BYE) == (403, "permission_denied", "permission")
    assert operator.get("/client.tflite")[0] == 403


def test_a_token_is_taken_back(operator, stranger, web):
    code = web.invitations.make()
    _, joined = stranger.post("/join", {"code": code})
    phone = Browser(web.port, joined["token"])

    taken, _ = operator.post("/revoke", {"name": "web-1"})
    twice, _ = operator.post("/revoke", {"name": "web-1"})
    _, other = stranger.post("/join", {"code": web.invitations.make()})

    assert (taken, twice) == (200, 404)
    assert phone.exchange(BYE) == (401, "unauthenticated", "unauthenticated")
    assert other["name"] == "web-2"


def test_who_is_no_client_of_the_file_is_not_taken_back(operator):
    assert operator.post("/revoke", {"name": "alice"})[0] == 404


def test_a_status_that_nobody_keeps_is_told_so(operator):
    status, found, body = operator.ask(
        "POST", calls.STATUS, b"", content_type=calls.KIND
    )

    assert (status, json.loads(body)["code"]) == (501, "unimplemented")
    assert found["keras-split-reason"] == "unimplemented"


def test_where_nobody_is_asked_all_of_this_machine_come_in(tmp_path):
    ended = endpoint(tmp_path, asks=False)
    with WebServer(ended, client=CLIENT, page=tmp_path / "none") as web:
        browser = Browser(web.start().port)

        assert browser.exchange(BYE) == Done()
        assert browser.get("/client.json")[2] == CLIENT.about
        assert browser.post("/join", {"code": "x"})[0] == 501
        assert browser.post("/invite", {})[0] == 501
        missing = browser.get("/")
        # A site whose name its owner lets point here.
        named = browser.get("/client.json", host="a.example")
        posted = browser.exchange(BYE, host="a.example:80")
        local = browser.get("/client.json", host=f"localhost:{web.port}")
    ended.close()

    assert missing[0] == 404 and b"make web" in missing[2]
    assert (named[0], posted[0], local[0]) == (421, 421, 200)

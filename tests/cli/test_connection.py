"""What `--server` may be."""

import click
import pytest

from keras_split import transports
from keras_split.transports import route as routes
from keras_split_cli.connection import Connection

NOTHING = {
    "tls": False,
    "tls_ca": None,
    "tls_cert": None,
    "tls_key": None,
    "token_file": None,
}


@pytest.fixture
def scheme(monkeypatch):
    monkeypatch.setattr(routes, "_SCHEMES", dict(routes._SCHEMES))
    transports.register("pipe", lambda route, contract: None)


@pytest.mark.parametrize(
    "server, address",
    [
        ("host:1", "grpc://host:1"),
        ("grpc://host:1", "grpc://host:1"),
        ("grpcs://[::1]:1", "grpcs://[::1]:1"),
        ("pipe:///tmp/x", "pipe:///tmp/x"),
        (None, None),
    ],
)
def test_it_is_a_host_and_a_port_or_an_address(scheme, server, address):
    assert Connection.take(server, dict(NOTHING)).address == address


@pytest.mark.parametrize("option", ["tls", "tls_ca"])
def test_what_tls_needs_makes_it_tls(option):
    taken = Connection.take("host:1", NOTHING | {option: "x"})

    assert taken.address == "grpcs://host:1"


@pytest.mark.parametrize(
    "server", ["127.0.0.1", "here", "grpcs://host.example", "[::1]"]
)
def test_who_leaves_out_the_port_is_told_so(server):
    with pytest.raises(click.BadParameter) as info:
        Connection.take(server, dict(NOTHING))

    text = info.value.message
    assert text.startswith("Expected HOST:PORT, or grpcs://HOST:PORT for TLS.")
    assert f"{server!r}, without a port. Write {server}:50051, if" in text


@pytest.mark.parametrize(
    "server", ["http://h:1", "http://h", "host:", "h:x", ":1", "grpc://", ""]
)
def test_anything_else_is_a_wrong_call(scheme, server):
    with pytest.raises(click.BadParameter, match="grpc, grpcs, pipe"):
        Connection.take(server, dict(NOTHING))


def test_another_scheme_knows_nothing_of_tls(scheme):
    with pytest.raises(click.BadParameter, match="Leave --tls out"):
        Connection.take("pipe:///tmp/x", NOTHING | {"tls": True})

import pytest

from keras_split.transports.address import Address
from keras_split.transports.address import is_loopback
from keras_split.transports.address import peer_host


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
)
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.0", "::", "[::]", "10.0.0.2", "example.org", "localhost.x.org"],
)
def test_every_other_address_is_not_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "peer, host",
    [
        ("ipv4:10.0.0.2:1234", "10.0.0.2"),
        ("ipv6:[2001:db8::1]:1234", "2001:db8::1"),
        ("ipv6:%5B::1%5D:1234", "::1"),
        ("unix:/run/split", "unix:/run/split"),
    ],
)
def test_the_host_of_a_peer(peer, host):
    assert peer_host(peer) == host


@pytest.mark.parametrize(
    "text, scheme, target, host, port",
    [
        ("grpc://a.example:1", "grpc", "a.example:1", "a.example", 1),
        ("grpcs://[::1]:2", "grpcs", "[::1]:2", "::1", 2),
        ("pipe:///tmp/x", "pipe", "/tmp/x", "", 0),
        ("ray://head", "ray", "head", "", 0),
        ("a://b://c", "a", "b://c", "", 0),
    ],
)
def test_an_address_is_taken_apart_and_put_together(
    text, scheme, target, host, port
):
    address = Address.parse(text)

    assert (address.scheme, address.target) == (scheme, target)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


def test_an_address_without_a_scheme_gets_the_usual_one_if_there_is_one():
    assert str(Address.parse("host:1", "grpc")) == "grpc://host:1"
    with pytest.raises(ValueError, match="Received: 'host:1'"):
        Address.parse("host:1")


@pytest.mark.parametrize("text", ["grpc://", "://a:1", "", None])
def test_half_an_address_is_none(text):
    with pytest.raises(ValueError, match="Expected an address such as"):
        Address.parse(text)


@pytest.mark.parametrize("target", ["host", "host:", ":1", "host:http", "h:²"])
def test_a_host_and_a_port_can_be_asked_for(target):
    with pytest.raises(ValueError, match="Expected an address such as"):
        Address("grpc", target).check_port()


def test_where_a_target_is_no_host_it_is_not_known_to_be_here():
    assert Address("grpc", "localhost:1").is_loopback
    assert not Address("pipe", "/tmp/x").is_loopback

import pytest

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

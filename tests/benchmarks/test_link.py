"""The emulated link: nothing is lost, nothing is faster than the line."""

import socket
import threading
import time

import numpy as np
import pytest

from benchmarks._link import PROFILES
from benchmarks._link import Link
from benchmarks._link import Profile


@pytest.fixture
def echo():
    """The address of a server that sends back what it gets, to the end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(peer):
        with peer:
            while data := peer.recv(1 << 16):
                peer.sendall(data)

    def accept():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(peer,)).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connect(link):
    host, port = link.address.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def there_and_back(peer, data):
    """What comes back, and the seconds until all of it is here."""
    began = time.monotonic()
    sender = threading.Thread(target=peer.sendall, args=(data,))
    sender.start()
    back = bytearray()
    while len(back) < len(data):
        back += peer.recv(1 << 16)
    sender.join()
    return bytes(back), time.monotonic() - began


def noise(nbytes):
    return np.random.default_rng(0).bytes(nbytes)


@pytest.mark.parametrize(
    "profile",
    [
        Profile(),
        Profile(80, 40, rtt_ms=2),
        Profile(200, 200, rtt_ms=4, jitter_ms=3, loss=0.02, stall_ms=5),
    ],
)
def test_bytes_arrive_as_they_were_and_are_counted(echo, profile):
    sent = noise(300_000)

    with Link(echo, profile) as link, connect(link) as peer:
        back, _ = there_and_back(peer, sent)

    assert back == sent
    assert link.uplink_bytes == link.downlink_bytes == len(sent)


def test_nothing_is_faster_than_the_line(echo):
    profile = Profile(8, 16, rtt_ms=20)
    sent = noise(100_000)

    with Link(echo, profile) as link, connect(link) as peer:
        _, seconds = there_and_back(peer, sent)

    # Both ways overlap; the slower one and the delay cannot be hidden.
    assert seconds >= 0.1 + 0.02


def test_a_round_trip_takes_the_delay_both_ways(echo):
    with Link(echo, Profile(rtt_ms=40)) as link, connect(link) as peer:
        _, seconds = there_and_back(peer, b"?")

    assert seconds >= 0.04


def test_connections_share_the_line(echo):
    sent = noise(50_000)
    with Link(echo, Profile(8, None)) as link:
        peers = [connect(link), connect(link)]
        began = time.monotonic()
        threads = [
            threading.Thread(target=there_and_back, args=(peer, sent))
            for peer in peers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
        for peer in peers:
            peer.close()

    assert seconds >= 0.1


def test_what_follows_a_lost_segment_waits(echo):
    profile = Profile(loss=1.0, stall_ms=30)
    with Link(echo, profile) as link, connect(link) as peer:
        _, seconds = there_and_back(peer, b"?")

    assert seconds >= 2 * 0.03


def test_a_profile_can_change_while_connected(echo):
    with Link(echo) as link, connect(link) as peer:
        there_and_back(peer, b"?")
        link.profile = Profile(rtt_ms=40)
        _, seconds = there_and_back(peer, b"?")

    assert seconds >= 0.04


def test_a_slow_line_is_felt_by_who_sends(echo):
    """A sender that asks whether there is room is told no."""
    with Link(echo, Profile(1, 1)) as link, connect(link) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        peer.setblocking(False)
        taken = 0
        with pytest.raises(BlockingIOError):
            while taken < 1 << 26:
                taken += peer.send(bytes(1 << 16))

    assert taken < 1 << 22


def test_the_end_of_one_side_reaches_the_other(echo):
    with Link(echo, Profile(rtt_ms=2)) as link, connect(link) as peer:
        peer.sendall(b"last words")
        peer.shutdown(socket.SHUT_WR)
        heard = b""
        while data := peer.recv(1 << 16):
            heard += data

    assert heard == b"last words"


def test_a_server_that_is_not_there_ends_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = f"127.0.0.1:{free.getsockname()[1]}"

    with Link(target) as link, connect(link) as peer:
        assert peer.recv(1) == b""


def test_profiles_say_what_they_are():
    assert PROFILES["4g"].describe() == "10 / 30 Mbit/s, 50 ms"
    assert Profile(20, 20, rtt_ms=30).describe() == "20 Mbit/s, 30 ms"
    assert Profile().describe() == "any Mbit/s, 0 ms"

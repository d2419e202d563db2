"""A phone's link on loopback: a TCP proxy with rate, delay, jitter, loss.

Both directions work at once and share nothing; connections share the line of
a direction, chunk by chunk. Time on the line is kept by a clock of bytes, not
by sleeping: who wakes up late does not make the line slower.
"""

import queue
import random
import socket
import threading
import time
from dataclasses import dataclass
from dataclasses import field
from typing import Any

# TCP's segments on Ethernet, of which each may be lost.
SEGMENT_BYTES = 1460
# A chunk is what a line carries in this time, so that messages of two
# connections take turns about as often as their packets would.
CHUNK_S = 2e-3
LARGEST_CHUNK = 1 << 16
# What waits before the line, as in the buffers of a phone's modem.
BUFFER_BYTES = 1 << 17


@dataclass(frozen=True)
class Profile:
    """What a link is like. Rates are of TCP payload.

    Attributes:
        uplink_mbit: 10^6 bits a second from client to server; None for no
            limit.
        downlink_mbit: The same from server to client.
        rtt_ms: Round trip without load; half of it each way.
        jitter_ms: Up to so much is added to the delay of a chunk. Order is
            kept, as TCP keeps it.
        loss: Part of the segments that are lost. What follows a lost one waits
            for `stall_ms`, as for a retransmission time-out; the line itself
            goes on.
        stall_ms: How long; 200 ms is the least that Linux waits.
    """

    uplink_mbit: float | None = None
    downlink_mbit: float | None = None
    rtt_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    stall_ms: float = 200.0

    def describe(self) -> str:
        """Rates and round trip, for tables."""
        rates = [
            "any" if rate is None else f"{rate:g}"
            for rate in (self.uplink_mbit, self.downlink_mbit)
        ]
        text = " / ".join(dict.fromkeys(rates))
        return f"{text} Mbit/s, {self.rtt_ms:g} ms"


# Round numbers for what such links are like on an ordinary day. Ours, not
# anybody's measurement.
PROFILES = {
    "wifi": Profile(100, 100, rtt_ms=5, jitter_ms=1),
    "5g": Profile(50, 200, rtt_ms=20, jitter_ms=3),
    "4g": Profile(10, 30, rtt_ms=50, jitter_ms=8, loss=1e-4),
    "3g": Profile(1.5, 4, rtt_ms=120, jitter_ms=20, loss=5e-4),
}


@dataclass
class _Line:
    """One direction: a clock that says when a chunk has passed."""

    rng: random.Random
    lock: threading.Lock = field(default_factory=threading.Lock)
    free_at: float = 0.0
    carried: int = 0

    def carry(
        self, nbytes: int, rate: float | None, profile: Profile
    ) -> tuple[float, float]:
        """When the line is free again, and when the chunk arrives."""
        with self.lock:
            self.carried += nbytes
            now = time.monotonic()
            seconds = 0.0 if rate is None else nbytes * 8e-6 / rate
            self.free_at = max(now, self.free_at) + seconds
            delay = profile.rtt_ms / 2
            delay += self.rng.uniform(0, profile.jitter_ms)
            if profile.loss:
                segments = -(-nbytes // SEGMENT_BYTES)
                if self.rng.random() > (1 - profile.loss) ** segments:
                    delay += profile.stall_ms
            return self.free_at, self.free_at + delay / 1000


class Link:
    """Stands between a client and a server as a link would; counts bytes.

    Without a profile it only counts.

    Args:
        target: `"host:port"` of the server.
        profile: What the link is like; may be set anew at any time.
        seed: Of jitter and loss.

    Attributes:
        address: `"host:port"` for the client.
        profile: What the link is like now.
    """

    def __init__(
        self, target: str, profile: Profile | None = None, *, seed: int = 0
    ) -> None:
        host, _, port = target.rpartition(":")
        self.profile = profile or Profile()
        self._target = (host, int(port))
        self._lines = [
            _Line(random.Random(2 * seed)),
            _Line(random.Random(2 * seed + 1)),
        ]
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        _bound(self._listener)  # what it accepts inherits that
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uplink_bytes(self) -> int:
        """From client to server, as TCP payload."""
        return self._lines[0].carried

    @property
    def downlink_bytes(self) -> int:
        """From server to client."""
        return self._lines[1].carried

    def close(self) -> None:
        """Accepts no more connections and ends those that are open."""
        _shut(self._listener, socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        for one in list(self._open):
            _shut(one, socket.SHUT_RDWR)

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._connect, args=(client,), daemon=True
            ).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            _bound(server)
            try:
                server.connect(self._target)
            except OSError:  # it is not there
                return
            for one in (client, server):
                # A chunk is what the line makes of it, no larger.
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {client, server}
            threads = [
                thread
                for number, ends in enumerate(
                    [(client, server), (server, client)]
                )
                for thread in _Pump(self, number, *ends).start()
            ]
            for thread in threads:
                thread.join()
            self._open -= {client, server}


class _Pump:
    """One direction of one connection: a thread reads, another delivers."""

    def __init__(
        self,
        link: Link,
        number: int,
        source: socket.socket,
        sink: socket.socket,
    ) -> None:
        self._link = link
        self._number = number
        self._source = source
        self._sink = sink
        self._line = link._lines[number]
        # Chunks on their way, with the time of arrival; no bytes: the end.
        self._flying: queue.SimpleQueue[tuple[float, bytes]]
        self._flying = queue.SimpleQueue()

    def start(self) -> list[threading.Thread]:
        """Starts both threads."""
        threads = [
            threading.Thread(target=run, daemon=True)
            for run in (self._read, self._deliver)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _read(self) -> None:
        try:
            while data := self._source.recv(self._chunk()):
                profile = self._link.profile
                rate = self._rate(profile)
                free_at, arrives = self._line.carry(len(data), rate, profile)
                self._flying.put((arrives, data))
                if rate is not None:
                    ahead_s = BUFFER_BYTES * 8e-6 / rate
                    _sleep_until(free_at - ahead_s)
        except OSError:
            pass
        self._flying.put((0.0, b""))

    def _deliver(self) -> None:
        try:
            while True:
                arrives, data = self._flying.get()
                if not data:
                    break
                _sleep_until(arrives)
                self._sink.sendall(data)
            _shut(self._sink, socket.SHUT_WR)
        except OSError:
            _shut(self._source, socket.SHUT_RDWR)

    def _rate(self, profile: Profile) -> float | None:
        return (profile.uplink_mbit, profile.downlink_mbit)[self._number]

    def _chunk(self) -> int:
        rate = self._rate(self._link.profile)
        if rate is None:
            return LARGEST_CHUNK
        fits = int(rate * 125_000 * CHUNK_S)
        return min(max(fits, SEGMENT_BYTES), LARGEST_CHUNK)


def _bound(one: socket.socket) -> None:
    """Has a sender feel that the line is slow, not fill the kernel first."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)


def _sleep_until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)


def _shut(one: socket.socket, how: int) -> None:
    try:
        one.shutdown(how)
    except OSError:
        pass
